//! What a release did.

use std::time::Duration;

use firsttouch_memory::PageSize;

use crate::{JobReport, NodeReport};

/// What a release did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReleaseReport {
    /// Bytes unmapped: the region's length.
    pub bytes: usize,
    /// The region's page size.
    pub page_size: PageSize,
    /// Bytes whose pages the kernel took back only with the mapping, on the calling thread.
    pub kept: usize,
    /// Chunks run; none where the region had no page.
    pub chunks: usize,
    /// Chunks run by a thread local to the node that their pages lie on; all of them where that is not known.
    pub local_chunks: usize,
    /// Threads that ran at least one chunk, the caller included.
    pub threads: usize,
    /// From the call to when the region was unmapped.
    pub elapsed: Duration,
    /// One row for each node that had a part, sizes in bytes.
    pub nodes: Vec<NodeReport>,
}

impl ReleaseReport {
    pub(super) fn new(
        bytes: usize,
        page_size: PageSize,
        kept: usize,
        elapsed: Duration,
        ran: Option<JobReport>,
    ) -> Self {
        let (chunks, local_chunks, threads, nodes) = ran.map_or_else(
            || (0, 0, 1, Vec::new()),
            |ran| (ran.chunks, ran.local_chunks, ran.threads, ran.nodes),
        );
        Self { bytes, page_size, kept, chunks, local_chunks, threads, elapsed, nodes }
    }
}
