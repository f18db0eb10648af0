//! One piece of a job's range.

use std::ops::Range;

use firsttouch_topology::{CpuId, NodeId};

/// One piece of a job's range, and who runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chunk {
    /// The piece that it is of, or is a part of, by its place in what [`Job::over`](crate::Job::over) was given; `None` in a job over a range.
    pub piece: Option<usize>,
    /// Where it starts, in the job's units; in a job over pieces, in units of the piece.
    pub start: usize,
    /// Where it ends: the first unit past it.
    pub end: usize,
    /// The node whose part it is; `None` for [`Location::Anywhere`](crate::Location::Anywhere), or a piece that lives nowhere in particular.
    pub node: Option<NodeId>,
    /// The CPU the thread was on when it took the chunk.
    pub cpu: CpuId,
    /// The node of that CPU; `None` where no node names it.
    pub cpu_node: Option<NodeId>,
    /// Whether the chunk's node is local to that CPU; true for a chunk that lives nowhere in particular.
    pub local: bool,
}

impl Chunk {
    /// Returns the range, in the job's units.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}
