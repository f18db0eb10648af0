//! How a region is asked for.

use crate::mapping::Mapping;
use crate::{MemoryError, PageSize, Policy, Region};

/// Says what a region is to be; made by [`Region::builder`].
#[must_use]
#[derive(Clone, Debug)]
pub struct RegionBuilder {
    len: usize,
    page_size: PageSize,
    fallbacks: Vec<PageSize>,
    policy: Policy,
    reserve: bool,
    shared: bool,
}

impl RegionBuilder {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            len,
            page_size: PageSize::Base,
            fallbacks: Vec::new(),
            policy: Policy::Default,
            reserve: true,
            shared: false,
        }
    }

    /// Asks for a page size; default: [`PageSize::Base`].
    pub fn page_size(self, size: PageSize) -> Self {
        Self { page_size: size, ..self }
    }

    /// Allows another page size where the one asked for cannot be had; default: none.
    ///
    /// Called more than once, it adds to the list, which is tried in order.
    /// [`Region::page_size`] tells which one it came to be.
    pub fn or_page_size(mut self, fallback: PageSize) -> Self {
        self.fallbacks.push(fallback);
        self
    }

    /// Sets the NUMA policy of the whole region; default: [`Policy::Default`].
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Lets the region be larger than what the kernel can promise; default: it reserves.
    ///
    /// By default the kernel counts the region against what it can promise
    /// (`vm.overcommit_memory`), so that one that can never fit is an error
    /// when it is built rather than a process killed when it is touched. A
    /// region of which only few pages will ever be touched wants
    /// `MAP_NORESERVE`, which this asks for. Hugetlb pages are reserved in any
    /// case: an access beyond what the pool holds would be killed by SIGBUS.
    ///
    /// [Shared](Self::shared) memory is compared with what the kernel can
    /// promise when it is built, and not counted: the kernel counts each page
    /// as it is touched.
    pub fn no_reserve(self) -> Self {
        Self { reserve: false, ..self }
    }

    /// Makes the region shared memory, which child processes see and other processes can map; default: private.
    ///
    /// It is a file in memory (`memfd_create`) that is sealed against getting
    /// shorter, so that no access to it can be killed by SIGBUS for that:
    /// [`Region::file`]. Where such files are refused, as some filters do, the
    /// region has no file and child processes alone share it.
    ///
    /// A page that the kernel has no room for when it is touched is an error of
    /// [`Region::populate`]. A plain access waits for the out-of-memory killer,
    /// or is killed by SIGBUS where the kernel promises no more than it has
    /// (`vm.overcommit_memory` is 2). A region that was populated has its room.
    ///
    /// Policies hold for all who map it. Transparent huge pages need the
    /// administrator's consent, `advise` in
    /// `/sys/kernel/mm/transparent_hugepage/shmem_enabled`.
    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Maps the region.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::ZeroLength`] and [`MemoryError::TooLong`] for the length.
    /// - [`MemoryError::NoTransparentHugePages`],
    ///   [`MemoryError::NoHugePagesOfSize`] or [`MemoryError::HugePagesShort`]
    ///   where neither the page size asked for nor any that was allowed can be
    ///   had; the error is about the one asked for.
    /// - What [`Region::set_policy`] returns, for the policy.
    /// - [`MemoryError::Call`] where the kernel has no room.
    pub fn build(self) -> Result<Region, MemoryError> {
        if self.len == 0 {
            return Err(MemoryError::ZeroLength);
        }
        let refusal = match self.build_of(self.page_size) {
            Err(refusal) if refusal.is_page_size_unavailable() => refusal,
            result => return result,
        };
        for &fallback in &self.fallbacks {
            tracing::debug!(%refusal, %fallback, "falling back to another page size");
            match self.build_of(fallback) {
                Err(error) if error.is_page_size_unavailable() => {
                    tracing::debug!(%error, "the fallback cannot be had either");
                }
                result => return result,
            }
        }
        Err(refusal)
    }

    /// Maps the region with one page size.
    fn build_of(&self, page_size: PageSize) -> Result<Region, MemoryError> {
        let map = if self.shared { Mapping::shared } else { Mapping::new };
        let mapping = map(self.len, page_size, self.reserve)?;
        let mut region = Region::new(mapping, self.page_size);
        if self.policy != Policy::Default {
            region.set_policy(0..self.len, &self.policy)?;
        }
        Ok(region)
    }
}
