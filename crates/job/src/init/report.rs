//! What a page initialisation did.

use std::time::Duration;

use firsttouch_memory::{PageSize, Residency};

use crate::NodeReport;

/// What a page initialisation did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InitReport {
    /// Bytes initialised: the region's length.
    pub bytes: usize,
    /// Of these, the bytes whose pages came with their contents ([`Stores::Provided`](crate::Stores::Provided)); the kernel cleared the others.
    pub provided: usize,
    /// The region's page size, as granted.
    pub page_size: PageSize,
    /// Chunks run.
    pub chunks: usize,
    /// Chunks run by a thread local to the node that they were meant for; all of them where they were meant for none.
    pub local_chunks: usize,
    /// Threads that ran at least one chunk, the caller included.
    pub threads: usize,
    /// Helpers that took a chunk on a CPU that they were not pinned to; see [`JobReport`](crate::JobReport::moved_helpers).
    pub moved_helpers: usize,
    /// From the call to the end of the last chunk's thread, policies included; the reading back is not.
    pub elapsed: Duration,
    /// One row for each node that got a part, sizes in bytes.
    pub nodes: Vec<NodeReport>,
    /// What placed the pages.
    pub policy: PolicyUse,
    /// Where the pages lie; `None` where reading back is off, or refused by the kernel.
    pub pages: Option<InitPages>,
}

impl InitReport {
    /// Returns the rate at which memory was initialised, in bytes per second.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64()
    }
}

/// What placed the pages of an initialised region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyUse {
    /// Nothing: only one node can be used.
    NotNeeded,
    /// Policies of the region's ranges; they stay, and place pages that are touched later too.
    Range,
    /// The policy of each thread while it ran a chunk.
    Thread,
    /// First touch alone: the kernel refused a policy. Pages lie where the thread that touched them was.
    ///
    /// Policies that the region had before are gone, as are those of other ranges.
    Refused,
}

/// What the kernel says after a page initialisation, in base pages.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InitPages {
    /// Pages on each node, and the sizes they are mapped by.
    pub residency: Residency,
    /// Pages that lie on the node the placement meant.
    ///
    /// Where the placement means no node in particular, all that are present;
    /// where the kernel interleaves page by page, no more than a node's even
    /// share counts.
    pub placed: u64,
    /// Pages that are local to the CPU that initialised them; none of those whose thread moved away meanwhile.
    pub local: u64,
}

impl InitPages {
    /// Returns all pages of the region, those included that the kernel names no node for.
    ///
    /// Just initialised, all pages have a place. But pages that the kernel has
    /// swapped out meanwhile count as not present, and on kernels around 6.1
    /// also those that automatic NUMA balancing is watching.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.residency.present() + self.residency.not_present()
    }

    /// Returns the share of pages that lie where the placement meant, from 0 to 1, of those that the kernel names a node for.
    #[must_use]
    pub fn placed_share(&self) -> f64 {
        self.share(self.placed)
    }

    /// Returns the share of pages that are local to the CPU that initialised them, from 0 to 1, of those that the kernel names a node for.
    #[must_use]
    pub fn local_share(&self) -> f64 {
        self.share(self.local)
    }

    fn share(&self, part: u64) -> f64 {
        match self.residency.present() {
            0 => 0.0,
            present => part as f64 / present as f64,
        }
    }
}
