//! What a migration did.

use std::time::Duration;

use firsttouch_memory::{Migrated, PageSize, Residency};

use crate::{NodeReport, PolicyUse};

/// What a migration did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// Bytes of the region.
    pub bytes: usize,
    /// The region's page size, as granted.
    pub page_size: PageSize,
    /// What came of the region's pages, in base pages: each is counted once.
    pub pages: Migrated,
    /// Chunks run.
    pub chunks: usize,
    /// Chunks run by a thread local to the node that their pages go to.
    pub local_chunks: usize,
    /// Threads that ran at least one chunk, the caller included.
    pub threads: usize,
    /// Helpers that took a chunk on a CPU that they were not pinned to; see [`JobReport::moved_helpers`](crate::JobReport::moved_helpers).
    pub moved_helpers: usize,
    /// From the call to the end of the last chunk's thread, policies included; the reading back is not.
    pub elapsed: Duration,
    /// One row for each node that got a part.
    pub nodes: Vec<NodeMigration>,
    /// What places pages that are touched later.
    pub policy: PolicyUse,
    /// Where the pages lie; `None` where reading back is off, or refused by the kernel.
    pub residency: Option<Residency>,
}

/// What a migration did with the pages that were to go to one node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeMigration {
    /// The node, its part in bytes, and who moved it.
    pub row: NodeReport,
    /// What came of the part's pages, in base pages.
    pub pages: Migrated,
}
