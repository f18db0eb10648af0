//! An owned mapping: how each kind of page is mapped, and how it is given back.

mod shared;

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags};

use crate::backing::Backing;
use crate::page_size::{
    huge_page_pools, huge_page_sizes, transparent_huge_page_bytes,
    transparent_huge_pages_come_unasked,
};
use crate::{HugePageSize, MemoryError, PageSize, sys};

/// Where a mapping is and what it is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Invariant: a multiple of `page_bytes`, with the provenance of the whole mapping.
    pub(crate) base: NonNull<u8>,
    /// The bytes asked for.
    pub(crate) len: usize,
    /// The bytes mapped. Invariant: a multiple of `page_bytes`, at least `len`, at most `isize::MAX`.
    pub(crate) mapped: usize,
    /// The page size granted.
    pub(crate) page_size: PageSize,
    /// The granted page size in bytes. Invariant: a multiple of the base page.
    pub(crate) page_bytes: usize,
    /// What the pages are pages of.
    pub(crate) backing: Backing,
}

impl Extent {
    /// Panics where a range does not lie in the region.
    #[track_caller]
    pub(crate) fn check(&self, range: &Range<usize>) {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "the range {range:?} is not within the region's {} bytes; pass a range that starts \
             before it ends and ends at region.len() or before",
            self.len
        );
    }

    /// Widens a range of the region to whole pages of `page_bytes`, which divides the mapping's.
    pub(crate) fn widened(&self, range: &Range<usize>, page_bytes: usize) -> Range<usize> {
        if range.is_empty() {
            return range.start..range.start;
        }
        range.start - range.start % page_bytes..range.end.next_multiple_of(page_bytes)
    }

    /// Returns the whole pages of a range that starts and ends on them, or at the region's end.
    #[track_caller]
    pub(crate) fn whole_pages(
        &self,
        call: &'static str,
        range: &Range<usize>,
    ) -> Result<Range<usize>, MemoryError> {
        self.check(range);
        let page_bytes = self.page_bytes;
        let on_page = |offset: usize| offset % page_bytes == 0 || offset == self.len;
        if on_page(range.start) && on_page(range.end) {
            Ok(self.widened(range, page_bytes))
        } else {
            Err(MemoryError::Misaligned { call, range: range.clone(), page_bytes })
        }
    }

    /// Returns the address of a byte of the mapping.
    pub(crate) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset <= self.mapped, "callers check their ranges");
        // SAFETY: the offset is within the mapping, or at its end, as just checked.
        unsafe { self.base.add(offset) }
    }
}

/// What a page table maps of base pages of 4 KiB; larger ones have longer tables.
///
/// Longer regions of base pages start at a multiple of it, so that threads which
/// are given multiples of it share no page table, whose lock they would pass round.
const PAGE_TABLE: usize = 2 << 20;

/// An owned mapping; unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) extent: Extent,
    /// The file whose descriptor the extent has, where it has one.
    file: Option<OwnedFd>,
}

impl Mapping {
    /// Maps `len` bytes, rounded up to whole pages of the page size.
    ///
    /// `reserve` says whether the kernel is to count base and transparent
    /// pages against what it can promise; hugetlb pages are always reserved.
    pub(crate) fn new(len: usize, page_size: PageSize, reserve: bool) -> Result<Self, MemoryError> {
        let base_flags = if reserve { MapFlags::empty() } else { MapFlags::NORESERVE };
        let mapping = match page_size {
            PageSize::Base => Self::base(len, base_flags),
            PageSize::Transparent => Self::transparent(len, base_flags),
            PageSize::Huge(size) => Self::huge(len, size),
        }?;
        tracing::debug!(
            base = ?mapping.extent.base,
            len,
            mapped = mapping.extent.mapped,
            %page_size,
            "mapped a region"
        );
        Ok(mapping)
    }

    fn base(len: usize, flags: MapFlags) -> Result<Self, MemoryError> {
        let page_bytes = sys::page_bytes();
        let mapped = whole_pages(len, page_bytes)?;
        let map = |longer| sys::map_anonymous(longer, flags);
        let base = if mapped < 2 * PAGE_TABLE {
            map(mapped).map_err(map_error)?
        } else {
            aligned(len, mapped, PAGE_TABLE.max(page_bytes), map)?
        };
        let mapping = Self::private(base, len, mapped, PageSize::Base, page_bytes);
        match mapping.advise(Advice::LinuxNoHugepage) {
            Ok(()) => {}
            // At the limit on mappings the kernel has no room for a mapping of its own advice.
            Err(error) if transparent_huge_pages_come_unasked() => {
                return Err(MemoryError::from_call("madvise(MADV_NOHUGEPAGE)", None, error));
            }
            // A kernel without transparent huge pages does not know the advice, nor need it.
            Err(error) => tracing::debug!(%error, "transparent huge pages are not switched off"),
        }
        Ok(mapping)
    }

    fn transparent(len: usize, flags: MapFlags) -> Result<Self, MemoryError> {
        let page_bytes = transparent_huge_page_bytes()?;
        let mapped = whole_pages(len, page_bytes)?;
        let map = |longer| sys::map_anonymous(longer, flags);
        let base = aligned(len, mapped, page_bytes, map)?;
        let mapping = Self::private(base, len, mapped, PageSize::Transparent, page_bytes);
        mapping.advise(Advice::LinuxHugepage).map_err(|error| {
            MemoryError::NoTransparentHugePages {
                reason: format!("the kernel rejects MADV_HUGEPAGE ({error})"),
            }
        })?;
        Ok(mapping)
    }

    fn huge(len: usize, size: HugePageSize) -> Result<Self, MemoryError> {
        reject_huge_size(size)?;
        let page_bytes = size.bytes();
        let mapped = whole_pages(len, page_bytes)?;
        let flags = sys::huge_page_flags(page_bytes.trailing_zeros());
        let base = sys::map_anonymous(mapped, flags)
            .map_err(|source| huge_map_error(size, mapped, source))?;
        Ok(Self::private(base, len, mapped, PageSize::Huge(size), page_bytes))
    }

    fn private(
        base: NonNull<u8>,
        len: usize,
        mapped: usize,
        page_size: PageSize,
        page_bytes: usize,
    ) -> Self {
        let backing = Backing::Private;
        Self { extent: Extent { base, len, mapped, page_size, page_bytes, backing }, file: None }
    }

    /// The file of the mapping, where it has one.
    pub(crate) fn file(&self) -> Option<&OwnedFd> {
        self.file.as_ref()
    }

    /// Gives advice that changes no content over the whole mapping.
    fn advise(&self, advice: Advice) -> std::io::Result<()> {
        // SAFETY: [owned] by this value; [content] stays, as callers pass page size advice.
        unsafe { sys::advise(self.extent.base, self.extent.mapped, advice) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let Extent { base, mapped, .. } = self.extent;
        // SAFETY: [owned] by this value; [unused] whatever borrowed the region is gone.
        match unsafe { sys::unmap(base, mapped) } {
            Ok(()) => tracing::debug!(?base, mapped, "unmapped a region"),
            Err(error) => tracing::warn!(%error, ?base, mapped, "a region stays mapped"),
        }
    }
}

/// Maps more than `mapped` bytes, and keeps as many from the first multiple of `page_bytes`.
///
/// `map` maps so many bytes at addresses that the kernel picks. `len` is what
/// was asked for, for the error.
fn aligned(
    len: usize,
    mapped: usize,
    page_bytes: usize,
    map: impl Fn(usize) -> io::Result<NonNull<u8>>,
) -> Result<NonNull<u8>, MemoryError> {
    let longer = mapped
        .checked_add(page_bytes - sys::page_bytes())
        .filter(|&longer| isize::try_from(longer).is_ok())
        .ok_or(MemoryError::TooLong { len })?;
    let start = map(longer).map_err(map_error)?;
    let address = start.addr().get();
    let head = address.next_multiple_of(page_bytes) - address;
    // SAFETY: the mapping is longer than what is kept by all that the start can be off.
    let base = unsafe { start.add(head) };
    // SAFETY: `mapped` bytes after the new base are within the mapping too.
    let end = unsafe { base.add(mapped) };
    for (unaligned, len) in [(start, head), (end, longer - head - mapped)] {
        if len != 0 {
            // SAFETY: [owned] it was mapped above; [unused] nobody has its address yet.
            let unmapped = unsafe { sys::unmap(unaligned, len) };
            if let Err(error) = unmapped {
                tracing::warn!(%error, len, "an unaligned edge of a region stays mapped");
            }
        }
    }
    Ok(base)
}

fn map_error(source: io::Error) -> MemoryError {
    MemoryError::from_call("mmap", None, source)
}

/// Says why `mapped` bytes of hugetlb pages could not be mapped.
fn huge_map_error(size: HugePageSize, mapped: usize, source: io::Error) -> MemoryError {
    match source.raw_os_error() {
        Some(libc::ENOMEM) => {
            let (free, pools) = huge_page_pools(size);
            let needed = (mapped / size.bytes()) as u64;
            MemoryError::HugePagesShort { size, needed, free, pools, source }
        }
        Some(libc::EINVAL | libc::ENODEV | libc::ENOENT | libc::ENOSYS) => {
            let available = huge_page_sizes().unwrap_or_default();
            MemoryError::NoHugePagesOfSize { size, available }
        }
        _ => map_error(source),
    }
}

/// Refuses a hugetlb page size that the kernel is known not to have.
fn reject_huge_size(size: HugePageSize) -> Result<(), MemoryError> {
    let available = huge_page_sizes();
    if cannot_be_had(size, available.as_deref()) {
        let available = available.unwrap_or_default();
        return Err(MemoryError::NoHugePagesOfSize { size, available });
    }
    Ok(())
}

/// Returns whether the kernel has no hugetlb pages of a size; `available` are those that it lists.
///
/// Where it lists none, the mapping shows it, but for pages of 1 byte: their
/// flags are those of the kernel's default size, which would be granted.
fn cannot_be_had(size: HugePageSize, available: Option<&[HugePageSize]>) -> bool {
    size.bytes() <= sys::page_bytes() || available.is_some_and(|sizes| !sizes.contains(&size))
}

/// Rounds a length up to whole pages, within what a slice can have.
fn whole_pages(len: usize, page_bytes: usize) -> Result<usize, MemoryError> {
    len.checked_next_multiple_of(page_bytes)
        .filter(|&mapped| isize::try_from(mapped).is_ok())
        .ok_or(MemoryError::TooLong { len })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_page_is_larger_than_a_base_page_even_where_nothing_lists_sizes() {
        let size = |bytes| HugePageSize::new(bytes).expect("it is a power of two");
        for bytes in [1, 128, sys::page_bytes()] {
            assert!(cannot_be_had(size(bytes), None), "{bytes}");
            assert!(cannot_be_had(size(bytes), Some(&[size(bytes)])), "{bytes}");
        }
        assert!(!cannot_be_had(HugePageSize::GIB_1, None));
        assert!(!cannot_be_had(HugePageSize::GIB_1, Some(&[HugePageSize::GIB_1])));
        assert!(cannot_be_had(HugePageSize::GIB_1, Some(&[])));
    }

    #[test]
    fn lengths_near_the_maximum_do_not_overflow() {
        assert!(whole_pages(usize::MAX, 4096).is_err());
        assert!(whole_pages(isize::MAX as usize, 4096).is_err());
        assert_eq!(whole_pages(1, 4096).ok(), Some(4096));
        assert_eq!(whole_pages(8192, 4096).ok(), Some(8192));
    }
}
