//! Where the range of a job or loop lives, and who may run which part of it.

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
    /// Split over the pool's nodes, one part each, in proportion to their helpers.
    ///
    /// A range worth fewer threads than the pool has nodes uses as many
    /// nodes as it is worth threads, the caller's own and those nearest to it.
    Spread,
}

/// Whether a thread whose own node has no chunk left takes another node's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Steal {
    /// Only a node's own threads run its chunks; the job waits for one to come.
    ///
    /// A node without helpers is served by the nearest node that has some. The
    /// caller runs chunks of the node it is on, and returns when every part
    /// is done: where a part needs a helper and all that could take it are
    /// busy with other work, that is a wait.
    ///
    /// Where the job has fewer threads than parts, the nearest thread runs
    /// what would have none, and the report counts that as not local.
    Never,
    /// Nearest node first; the caller never waits for a helper that has not started. (the default)
    #[default]
    Anywhere,
}
