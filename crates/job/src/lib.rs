//! Jobs over ranges, split by node and run by each node's helpers.
//!
//! Skeleton: signatures only.
#![allow(missing_docs, clippy::todo, unused, missing_debug_implementations)]

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

use firsttouch_memory::{PageSize, Pod, Region, Residency};
use firsttouch_pool::Pool;
use firsttouch_topology::{CpuId, NodeId, NodeSet};

#[derive(Debug, thiserror::Error)]
#[error("skeleton")]
#[non_exhaustive]
pub struct JobError;

/// Whether a thread whose own node has no chunk left takes another node's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Steal {
    /// Only a node's own threads run its chunks (the nearest node's, for a node without helpers); the job waits for one to come.
    Never,
    /// Nearest node first.
    #[default]
    Anywhere,
}

/// Where a job's range lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// One range for all: any thread takes any chunk.
    #[default]
    Anywhere,
    /// One part per node, as ktask's `ktask_run_numa`.
    PerNode(Vec<(NodeId, Range<usize>)>),
    /// Split over the pool's nodes in proportion to their helpers.
    Spread,
}

#[must_use]
#[derive(Clone, Debug)]
pub struct Job;
impl Job {
    pub fn new(start: usize, size: usize) -> Self {
        todo!()
    }
    pub fn align(self, align: usize) -> Self {
        todo!()
    }
    pub fn min_chunk(self, min_chunk: usize) -> Self {
        todo!()
    }
    /// The caller included. Default: the pool's helpers.
    pub fn max_threads(self, n: NonZeroUsize) -> Self {
        todo!()
    }
    /// At most this many threads on each node.
    pub fn max_threads_per_node(self, n: NonZeroUsize) -> Self {
        todo!()
    }
    pub fn location(self, location: Location) -> Self {
        todo!()
    }
    pub fn steal(self, steal: Steal) -> Self {
        todo!()
    }
    pub fn run(self, pool: &Pool, f: impl Fn(&Chunk) + Sync) -> Result<JobReport, JobError> {
        todo!()
    }
}

/// One piece of a job's range, and who runs it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Chunk {
    pub start: usize,
    pub end: usize,
    /// The node whose part it is; None for Location::Anywhere.
    pub node: Option<NodeId>,
    /// The CPU the thread was on when it took the chunk, and that CPU's node.
    pub cpu: CpuId,
    pub cpu_node: Option<NodeId>,
}

#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobReport {
    pub size: usize,
    pub chunks: usize,
    /// Chunks run by a thread local to the chunk's node.
    pub local_chunks: usize,
    /// Threads that ran at least one chunk, the caller included.
    pub threads: usize,
    pub elapsed: Duration,
    /// One row per part.
    pub nodes: Vec<NodeReport>,
}

#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeReport {
    pub node: Option<NodeId>,
    pub size: usize,
    pub chunks: usize,
    pub local_chunks: usize,
    pub threads: usize,
    /// From the job's start to the end of the node's last chunk.
    pub elapsed: Duration,
}

/// Where PageInit puts a region's pages.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Placement {
    /// One contiguous block per node, in proportion to the helpers that serve it. (the default)
    #[default]
    Blocked,
    /// One contiguous block per node, in proportion to the nodes' memory.
    BlockedByMemory,
    /// Blocks of this many bytes, a multiple of the page size, node after node.
    Interleaved { block: usize },
    /// As Blocked, over these nodes only.
    Nodes(NodeSet),
}

/// Initialises a region: every page touched first on the node where the placement puts it.
#[must_use]
pub struct PageInit<'r>(std::marker::PhantomData<&'r mut ()>);
impl<'r> PageInit<'r> {
    pub fn new(region: &'r mut Region) -> Self {
        todo!()
    }
    pub fn placement(self, placement: Placement) -> Self {
        todo!()
    }
    pub fn max_threads(self, n: NonZeroUsize) -> Self {
        todo!()
    }
    pub fn max_threads_per_node(self, n: NonZeroUsize) -> Self {
        todo!()
    }
    pub fn min_chunk(self, bytes: usize) -> Self {
        todo!()
    }
    /// Default: Steal::Never.
    pub fn steal(self, steal: Steal) -> Self {
        todo!()
    }
    /// Whether the report reads back where the pages lie (default: yes; outside of the reported time).
    pub fn read_back(self, read_back: bool) -> Self {
        todo!()
    }
    pub fn zero(self, pool: &Pool) -> Result<InitReport, JobError> {
        todo!()
    }
    pub fn fill<T: Pod>(self, pool: &Pool, element: T) -> Result<InitReport, JobError> {
        todo!()
    }
    /// `f` gets the index of the first element and the elements.
    pub fn fill_with<T: Pod>(
        self,
        pool: &Pool,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<InitReport, JobError> {
        todo!()
    }
}

#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InitReport {
    pub bytes: usize,
    pub page_size: PageSize,
    pub chunks: usize,
    pub local_chunks: usize,
    pub threads: usize,
    pub elapsed: Duration,
    pub nodes: Vec<NodeReport>,
    /// None where read_back is off.
    pub pages: Option<InitPages>,
}

/// What the kernel says after a page init, in base pages.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InitPages {
    pub residency: Residency,
    /// Pages that lie on the node the placement meant.
    pub placed: u64,
    /// Pages that are local to the CPU that initialised them.
    pub local: u64,
}
