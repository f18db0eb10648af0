//! Where the range of a job or loop lives.

pub(crate) mod parts;

use std::ops::Range;

use firsttouch_topology::NodeId;

/// Where the range of a job or loop lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// One range for all: any thread takes any chunk, and every chunk counts as local. (the default)
    #[default]
    Anywhere,
    /// One part per node, as ktask's `ktask_run_numa`: each node's threads start with their own part.
    ///
    /// The parts lie inside of the job's range and together cover it; empty
    /// ones are skipped, and a node may have several.
    PerNode(Vec<(NodeId, Range<usize>)>),
    /// Split over the pool's nodes, one part each, in proportion to their helpers, or equally where the pool has none.
    ///
    /// A range worth fewer threads than the pool has nodes uses as many
    /// nodes as it is worth threads, the caller's own and those nearest to it.
    Spread,
}
