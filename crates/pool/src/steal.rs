//! Victim order: own node first, then the others by distance.

use firsttouch_topology::{NodeId, Topology};

/// Returns the places of a pool's nodes in the order in which one of them looks for work: itself, then by distance, then by number.
///
/// `nodes` are the pool's nodes; `by_distance` are all nodes of the machine
/// as [`Topology::nodes_by_distance`] gives them for the node itself.
pub(crate) fn victim_order(nodes: &[NodeId], by_distance: &[NodeId]) -> Box<[usize]> {
    let place = |id: &NodeId| nodes.iter().position(|node| node == id);
    by_distance.iter().filter_map(place).collect()
}

/// Returns, for every node of the machine, the place of the pool's node that is nearest to it.
pub(crate) fn nearest(topology: &Topology, nodes: &[NodeId]) -> Vec<(NodeId, usize)> {
    let all = topology.nodes().iter().map(firsttouch_topology::Node::id);
    all.filter_map(|id| {
        let order = victim_order(nodes, &topology.nodes_by_distance(id));
        Some((id, *order.first()?))
    })
    .collect()
}

/// Visits `0..len` once each, beginning at a place that `start` chooses.
///
/// Thieves that begin at different places do not all try the same victim.
pub(crate) fn rotated(len: usize, start: usize) -> impl Iterator<Item = usize> {
    let start = start.checked_rem(len).unwrap_or(0);
    (start..len).chain(0..start)
}

/// A small generator of numbers that need not be good, only different.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation(u32);

impl Rotation {
    pub(crate) fn new(seed: usize) -> Self {
        // An odd multiplier keeps seeds apart; xorshift must not start at zero.
        Self((seed as u32).wrapping_mul(0x9e37_79b9) | 1)
    }

    pub(crate) fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize
    }
}
