//! Where a region's pages are to go: which node gets which bytes.

use std::ops::Range;

use firsttouch_topology::{NodeId, NodeSet};

use crate::JobError;
use crate::init::interleave::Interleave;
use crate::job::sites::Sites;
use crate::location::parts::{self, Share};

/// Where [`PageInit`](crate::PageInit) puts a region's pages.
///
/// Nodes are those that have memory and that this process may use. A part
/// starts and ends on a page of the region; a region of fewer pages than nodes
/// leaves some nodes without any.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Placement {
    /// One contiguous block per node, in proportion to the helpers that serve it. (the default)
    ///
    /// The same for each where the pool [has none](firsttouch_pool::PoolBuilder::current_thread).
    /// The nodes are those of the pool that have memory, and those nearest to
    /// its nodes without. Helpers on a node without memory are local to none:
    /// they take part where a node has no local helper, or where the job may
    /// steal ([`Steal::Anywhere`](crate::Steal::Anywhere)). The kernel leaves
    /// such CPUs out of its own page initialisation too.
    #[default]
    Blocked,
    /// One contiguous block per node, in proportion to the nodes' memory.
    ///
    /// All nodes take part, those without CPUs included. A node whose memory
    /// is not known gets none, unless it is known of no node: then all get the
    /// same.
    BlockedByMemory,
    /// Blocks of this many bytes, a multiple of the region's page size, node after node over the nodes of [`Placement::Blocked`].
    ///
    /// The first block goes to the node with the lowest number. Blocks of one
    /// page are left to the kernel's own interleaving where a policy can be
    /// set, which may begin with another node; the chunks then belong to no
    /// node.
    Interleaved {
        /// Bytes per block.
        block: usize,
    },
    /// As Blocked, over these nodes only; nodes that no helper is local to are served by the nearest ones.
    Nodes(NodeSet),
}

/// What a placement does to nodes that run out of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Binding {
    /// Pages that no longer fit go to the nearest node with room; the report counts them. (the default)
    #[default]
    Preferred,
    /// Pages go where they are meant to, or nowhere.
    ///
    /// The kernel answers a bound node that is exhausted with its OOM killer,
    /// and one without huge pages with SIGBUS. So the nodes' free memory is
    /// read before, and too little is an error; cached files, which the kernel
    /// could drop, and what it [keeps for itself](firsttouch_topology::Node::memory_reserved)
    /// do not count as free. A program that takes memory on the same node
    /// meanwhile can still bring the OOM killer about.
    Bind,
}

/// A placement worked out for one region and pool.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// What each node gets, in the job's units.
    pub(crate) shares: Vec<Share>,
    /// Which bytes the job's units are; `None` where they are the region's bytes themselves.
    pub(crate) interleave: Option<Interleave>,
    /// The blocks that the kernel itself spreads over the nodes, for a region that lives nowhere in particular.
    pub(crate) even: Option<Interleave>,
}

impl Layout {
    /// Shares whose units are the region's bytes.
    fn plain(shares: Vec<Share>) -> Self {
        Self { shares, interleave: None, even: None }
    }

    /// The region as one share that lives nowhere in particular.
    pub(crate) fn anywhere(len: usize) -> Self {
        Self::plain(parts::anywhere(0..len))
    }

    /// One block for each node, in proportion to its weight.
    fn blocked(len: usize, page_bytes: usize, weights: &[(NodeId, u128)]) -> Self {
        let numbers: Vec<u128> = weights.iter().map(|&(_, weight)| weight).collect();
        let pieces = parts::in_proportion(0..len, page_bytes, &numbers);
        let nodes = weights.iter().map(|&(node, _)| node);
        Self::plain(parts::by_node(nodes.zip(pieces)))
    }

    /// Visits the region's byte ranges that a range of one share's units stands for, in order.
    pub(crate) fn bytes(
        &self,
        node: Option<NodeId>,
        units: Range<usize>,
    ) -> impl Iterator<Item = Range<usize>> + '_ {
        let (mapped, plain) = match (&self.interleave, node) {
            (Some(interleave), Some(node)) => (Some(interleave.bytes(node, units)), None),
            _ => (None, Some(units)),
        };
        mapped.into_iter().flatten().chain(plain)
    }

    /// Bytes of each node's share.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (NodeId, usize)> + '_ {
        self.shares.iter().filter_map(|share| Some((share.node?, share.size())))
    }
}

/// The nodes a placement uses, with what each is to get of the region.
pub(crate) fn lay_out(
    placement: &Placement,
    len: usize,
    page_bytes: usize,
    sites: &Sites<'_>,
    max_per_node: usize,
) -> Result<Layout, JobError> {
    let usable = sites.usable();
    if let Placement::Interleaved { block } = *placement {
        if block == 0 || block % page_bytes != 0 {
            return Err(JobError::Block { block, page_bytes });
        }
    }
    if let Placement::Nodes(nodes) = placement {
        let usable = usable.clone();
        if nodes.is_empty() {
            return Err(JobError::NoNodes { usable });
        }
        if let Some(node) = nodes.difference(&usable).first() {
            return Err(JobError::NodeWithoutMemory { node, usable });
        }
    }
    if usable.is_empty() {
        // Nothing says which nodes could be used, so none is chosen.
        return Ok(Layout::anywhere(len));
    }
    Ok(match placement {
        Placement::Blocked => {
            let weights = by_helpers(sites, &pool_nodes(sites), max_per_node);
            Layout::blocked(len, page_bytes, &weights)
        }
        Placement::Nodes(nodes) => {
            Layout::blocked(len, page_bytes, &by_helpers(sites, nodes, max_per_node))
        }
        Placement::BlockedByMemory => {
            let memory = |node| sites.topology().node(node)?.memory_total();
            let weight = |node| (node, memory(node).unwrap_or(0).into());
            Layout::blocked(len, page_bytes, &usable.iter().map(weight).collect::<Vec<_>>())
        }
        &Placement::Interleaved { block } => {
            let nodes: Vec<NodeId> = pool_nodes(sites).iter().collect();
            if nodes.len() == 1 {
                return Ok(Layout::plain(parts::by_node([(nodes[0], 0..len)])));
            }
            let interleave = Interleave::new(len, block, nodes);
            let shares = parts::by_node(interleave.shares());
            Layout { interleave: Some(interleave), ..Layout::plain(shares) }
        }
    })
}

/// The nodes with memory that the pool's helpers are on, or nearest to.
fn pool_nodes(sites: &Sites<'_>) -> NodeSet {
    sites.nodes().filter_map(|node| sites.nearest_usable(node)).collect()
}

/// Weighs nodes by the helpers that serve them; a helper that serves several counts in parts.
fn by_helpers(sites: &Sites<'_>, nodes: &NodeSet, max_per_node: usize) -> Vec<(NodeId, u128)> {
    /// Divides evenly by all likely numbers of nodes that a helper serves.
    const WHOLE: u128 = 720_720;
    let nodes: Vec<(NodeId, Vec<usize>)> =
        nodes.iter().map(|node| (node, sites.serving(node).0)).collect();
    let counts = sites.helper_counts();
    let served = |site: usize| nodes.iter().filter(|(_, serving)| serving.contains(&site)).count();
    let weight = |site: &usize| {
        let helpers = counts[*site].min(max_per_node);
        helpers as u128 * WHOLE / served(*site) as u128
    };
    nodes.iter().map(|(node, serving)| (*node, serving.iter().map(weight).sum())).collect()
}

#[cfg(all(test, not(loom)))]
mod tests;
