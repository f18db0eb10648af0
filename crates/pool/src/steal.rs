//! Victim order: own node first, then the others by distance.

use firsttouch_topology::{CpuId, NodeId, Topology};

/// Returns the places of a pool's nodes in the order in which one of them looks for work: itself, then by distance, then by number.
///
/// `nodes` are the pool's nodes; `by_distance` are all nodes of the machine
/// as [`Topology::nodes_by_distance`] gives them for the node itself.
pub(crate) fn victim_order(nodes: &[NodeId], by_distance: &[NodeId]) -> Box<[usize]> {
    let place = |id: &NodeId| nodes.iter().position(|node| node == id);
    by_distance.iter().filter_map(place).collect()
}

/// Returns, for every node of the machine, the place of the pool's node that is nearest to it.
fn nearest(topology: &Topology, nodes: &[NodeId]) -> Vec<(NodeId, usize)> {
    let all = topology.nodes().iter().map(firsttouch_topology::Node::id);
    all.filter_map(|id| {
        let order = victim_order(nodes, &topology.nodes_by_distance(id));
        Some((id, *order.first()?))
    })
    .collect()
}

/// For every CPU number, returns the place of the pool's node that is nearest to it.
///
/// It is the first where no node names the CPU.
pub(crate) fn nearest_by_cpu(topology: &Topology, nodes: &[NodeId]) -> Box<[u32]> {
    let nearest = nearest(topology, nodes);
    let numbers = topology.cpus().iter().map(|cpu| cpu.id.os_index());
    let place = |cpu: u32| {
        let node = topology.node_of_cpu(CpuId::new(cpu))?;
        nearest.iter().find(|(id, _)| *id == node).map(|&(_, place)| place as u32)
    };
    (0..=numbers.max().unwrap_or(0)).map(|cpu| place(cpu).unwrap_or(0)).collect()
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn ids(ids: &[u32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    #[test]
    fn a_node_tries_itself_first_and_then_others_by_distance() {
        let nodes = ids(&[0, 1, 2, 3]);
        assert_eq!(*victim_order(&nodes, &ids(&[2, 3, 0, 1])), [2, 3, 0, 1]);
        assert_eq!(*victim_order(&nodes, &ids(&[0, 1, 2, 3])), [0, 1, 2, 3]);
    }

    #[test]
    fn nodes_without_helpers_are_no_victims_and_numbers_may_have_gaps() {
        let nodes = ids(&[0, 8, 250]);
        assert_eq!(*victim_order(&nodes, &ids(&[8, 4, 250, 5, 0])), [1, 2, 0]);
        assert!(victim_order(&[], &ids(&[8, 4])).is_empty());
    }

    #[test]
    fn every_node_of_the_machine_has_a_nearest_node_in_the_pool() {
        let topology = Topology::synthetic("node:4 core:1 pu:1").expect("it is in the grammar");
        let nearest = nearest(&topology, &ids(&[1, 3]));
        let place = |id| nearest.iter().find(|(node, _)| *node == NodeId::new(id)).map(|n| n.1);
        assert_eq!((place(1), place(3)), (Some(0), Some(1)));
        assert!(place(0).is_some() && place(2).is_some());
        assert_eq!(place(4), None);
    }

    #[test]
    fn a_rotation_visits_every_victim_once_wherever_it_starts() {
        for len in 0..6 {
            for start in 0..20 {
                let visited: Vec<_> = rotated(len, start).collect();
                assert_eq!(visited.len(), len);
                assert_eq!(visited.first().copied(), start.checked_rem(len));
                assert_eq!(visited.into_iter().collect::<HashSet<_>>(), (0..len).collect());
            }
        }
    }

    #[test]
    fn rotations_start_at_every_victim_in_time() {
        let mut rotation = Rotation::new(3);
        let starts: HashSet<_> = (0..200).map(|_| rotation.next() % 7).collect();
        assert_eq!(starts.len(), 7);
    }
}
