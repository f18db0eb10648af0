//! What a job did.

use std::time::Duration;

use firsttouch_topology::NodeId;

use crate::PriorityReport;

/// What a job did, and where.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobReport {
    /// Units in the job's range.
    pub size: usize,
    /// Units in the chunks that completed: all of them, unless the report is part of an error.
    pub completed: usize,
    /// Chunks that completed: all of them, unless the report is part of an error.
    pub chunks: usize,
    /// Chunks run by a thread local to the chunk's node.
    ///
    /// Local means that the CPU, when it took the chunk, was among the
    /// [local CPUs](firsttouch_topology::Node::local_cpus) of the node.
    pub local_chunks: usize,
    /// Threads that ran at least one chunk, the caller included.
    pub threads: usize,
    /// Helpers that took a chunk on a CPU that they were not pinned to.
    ///
    /// None, unless the kernel moved them: all CPUs of such a helper went
    /// offline, or were taken from the process.
    pub moved_helpers: usize,
    /// What became of the helpers' priority; `None` where the job asked for none.
    pub priority: Option<PriorityReport>,
    /// From the call to the end of the last chunk's thread.
    pub elapsed: Duration,
    /// One row for each node that had a part, in the order of their first parts; a single row for [`Location::Anywhere`](crate::Location::Anywhere).
    pub nodes: Vec<NodeReport>,
}

/// What a job did with one node's part.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeReport {
    /// The node; `None` for a range that lives nowhere in particular.
    pub node: Option<NodeId>,
    /// Units in the node's part.
    pub size: usize,
    /// Units in the chunks of the part that completed.
    pub completed: usize,
    /// Chunks of the part that completed.
    pub chunks: usize,
    /// Chunks of the part run by a thread local to the node.
    pub local_chunks: usize,
    /// Threads that ran at least one chunk of the part, from whichever node.
    pub threads: usize,
    /// From the job's start to the end of the part's last chunk.
    pub elapsed: Duration,
}
