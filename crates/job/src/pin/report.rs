//! What a pinning did.

use std::time::Duration;

use firsttouch_memory::{PageSize, Residency};

use crate::{InitReport, JobReport, NodeReport, PolicyUse};

/// What a pinning did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PinReport {
    /// Bytes pinned: the region's length.
    pub bytes: usize,
    /// Bytes that count as locked (`VmLck`): whole pages, but none of hugetlb pages, which are never paged out.
    pub locked: usize,
    /// The region's page size, as granted.
    pub page_size: PageSize,
    /// Chunks run.
    pub chunks: usize,
    /// Chunks run by a thread local to the node that they were meant for; all of them where they were meant for none.
    pub local_chunks: usize,
    /// Threads that ran at least one chunk, the caller included.
    pub threads: usize,
    /// Helpers that took a chunk on a CPU that they were not pinned to; see [`JobReport::moved_helpers`].
    pub moved_helpers: usize,
    /// From the call to the end of the last chunk's thread; the reading back is not in it.
    pub elapsed: Duration,
    /// One row for each node that got a part, sizes in bytes.
    pub nodes: Vec<NodeReport>,
    /// What placed the pages; `None` where the region had been touched before, and kept what it had.
    pub policy: Option<PolicyUse>,
    /// Where the pages lie; `None` where reading back is off, or refused by the kernel.
    pub residency: Option<Residency>,
}

impl PinReport {
    pub(super) fn new(report: JobReport, bytes: usize, page_size: PageSize) -> Self {
        Self {
            bytes,
            locked: 0,
            page_size,
            chunks: report.chunks,
            local_chunks: report.local_chunks,
            threads: report.threads,
            moved_helpers: report.moved_helpers,
            elapsed: report.elapsed,
            nodes: report.nodes,
            policy: None,
            residency: None,
        }
    }
}

impl From<InitReport> for PinReport {
    fn from(report: InitReport) -> Self {
        Self {
            bytes: report.bytes,
            locked: 0,
            page_size: report.page_size,
            chunks: report.chunks,
            local_chunks: report.local_chunks,
            threads: report.threads,
            moved_helpers: report.moved_helpers,
            elapsed: report.elapsed,
            nodes: report.nodes,
            policy: Some(report.policy),
            residency: None,
        }
    }
}
