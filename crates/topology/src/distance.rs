//! Relative distances between nodes.

use crate::NodeId;

/// The firmware's table of relative distances between nodes (ACPI SLIT).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistanceMatrix {
    /// Invariant: ascending, no number twice.
    pub(crate) nodes: Vec<NodeId>,
    /// Invariant: `nodes.len()` squared values, row by row; 10 on the diagonal and no less elsewhere.
    pub(crate) values: Vec<u32>,
}

impl DistanceMatrix {
    /// Returns the nodes that the rows and columns stand for, in order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Returns the values row by row: from each node to every node.
    #[must_use]
    pub fn values(&self) -> &[u32] {
        &self.values
    }

    /// Returns the relative distance from one node to another; local is 10.
    ///
    /// Firmware reports it; it ranks nodes, it is no latency. It need not be
    /// the same both ways.
    #[must_use]
    pub fn get(&self, from: NodeId, to: NodeId) -> Option<u32> {
        let index = |node| self.nodes.binary_search(&node).ok();
        self.values.get(index(from)? * self.nodes.len() + index(to)?).copied()
    }
}
