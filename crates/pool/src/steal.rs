//! Who may take which job, and in which order thieves look: own node first, then the others by distance.

use firsttouch_topology::{CpuId, NodeId, Topology};

/// Whose helpers may run the tasks that are queued on a node.
///
/// Set for a pool ([`PoolBuilder::steal`](crate::PoolBuilder::steal)) or for a scope
/// ([`ScopeOptions::steal`](crate::ScopeOptions::steal)). It binds and is no hint: a helper that may
/// not run a task never does, also where it is idle and all that may are busy. Whatever a task queues
/// in turn (the halves of a [`join`](crate::Pool::join), tasks of a scope, [`spawn`](crate::Pool::spawn))
/// is run by no more helpers than may run the task itself.
///
/// It does not hold back calls that name nodes themselves, such as [`run`](crate::Pool::run) and
/// [`broadcast`](crate::Pool::broadcast), nor does it move a caller from outside: that runs its own
/// closures where it is, and counts as on the node that it was on when its outermost call began.
///
/// Within what is allowed, nearer helpers come first, and a node's work goes to another's helpers only
/// while that node does not keep up: while it has no helper that looks for work, or no CPU for one.
///
/// The order of the variants is that of what they allow: `Steal::Node < Steal::Anywhere`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Steal {
    /// That node's helpers only.
    Node,
    /// Also the helpers of the nodes nearest to it.
    ///
    /// Of the pool's other nodes, these are all at the least [distance](Topology::distance) from it.
    /// Where all are equally far, this is as `Anywhere`. What a task queues that was taken to another node is
    /// run there only, for that node's neighbours may be far from the task's own.
    Near,
    /// All helpers, those of nearer nodes first. (the default)
    #[default]
    Anywhere,
}

impl Steal {
    pub(crate) const ALL: [Self; 3] = [Self::Node, Self::Near, Self::Anywhere];

    #[inline]
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// What a job queues under that was taken to another node.
    ///
    /// The nodes near to that one may be far from the job's own, so there only its helpers are sure to be among
    /// those that may run the job.
    pub(crate) fn off_its_node(self) -> Self {
        if self == Self::Near { Self::Node } else { self }
    }

    /// Visits what lets helpers at `least` take a job, up to `widest`.
    pub(crate) fn between(least: Self, widest: Self) -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter().filter(move |steal| (least..=widest).contains(steal))
    }
}

/// One of the pool's nodes as another, or itself, sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// The node's place in the pool.
    pub(crate) place: usize,
    /// What a job needs, at the least, for the thief's helpers to take it from the victim.
    pub(crate) least: Steal,
}

/// For each of a pool's nodes, returns those whose helpers may run its jobs: itself, then by distance from it.
///
/// Nothing in the pool may be taken by more than `widest` allows.
pub(crate) fn thieves(
    nodes: &[NodeId],
    distance: impl Fn(NodeId, NodeId) -> u32,
    widest: Steal,
) -> Vec<Box<[Neighbour]>> {
    let of = |own: usize| {
        let far = |place: usize| distance(nodes[own], nodes[place]);
        let others = (0..nodes.len()).filter(|&place| place != own);
        let nearest = others.map(far).min();
        let neighbour = |place: usize| {
            let least = match place {
                _ if place == own => Steal::Node,
                _ if Some(far(place)) == nearest => Steal::Near,
                _ => Steal::Anywhere,
            };
            Neighbour { place, least }
        };
        let mut all: Vec<_> = (0..nodes.len()).map(neighbour).collect();
        all.retain(|neighbour| neighbour.least <= widest);
        all.sort_by_key(|&Neighbour { place, .. }| (place != own, far(place)));
        all.into()
    };
    (0..nodes.len()).map(of).collect()
}

/// For each of a pool's nodes, returns those whose jobs its helpers may run: itself, then by distance from it.
///
/// Distances need not be the same both ways: what is near is for the victim to say.
pub(crate) fn victims(
    nodes: &[NodeId],
    distance: impl Fn(NodeId, NodeId) -> u32,
    thieves: &[Box<[Neighbour]>],
) -> Vec<Box<[Neighbour]>> {
    let of = |own: usize| {
        let victim = |place: usize| {
            let thief = thieves[place].iter().find(|thief| thief.place == own)?;
            Some(Neighbour { place, least: thief.least })
        };
        let mut all: Vec<_> = (0..nodes.len()).filter_map(victim).collect();
        all.sort_by_key(|&Neighbour { place, .. }| {
            (place != own, distance(nodes[own], nodes[place]))
        });
        all.into()
    };
    (0..nodes.len()).map(of).collect()
}

/// Returns the places of a pool's nodes in the order in which one of them looks for work: itself, then by distance, then by number.
///
/// `nodes` are the pool's nodes; `by_distance` are all nodes of the machine
/// as [`Topology::nodes_by_distance`] gives them for the node itself.
fn victim_order(nodes: &[NodeId], by_distance: &[NodeId]) -> Box<[usize]> {
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

/// For every CPU number, returns the place of the pool's node that is nearest to it.
///
/// It is the first where no node names the CPU.
pub(crate) fn nearest_by_cpu(topology: &Topology, nearest: &[(NodeId, usize)]) -> Box<[u32]> {
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

/// Tries `0..len` once each until one gives something: first those that are close, then the others, each beginning
/// at a place that `start` chooses; returns also whether it was a close one.
///
/// Whether one is close may change on the way: it may be left out then, or tried twice.
pub(crate) fn close_first<R>(
    len: usize,
    start: usize,
    is_close: impl Fn(usize) -> bool,
    mut take: impl FnMut(usize) -> Option<R>,
) -> Option<(R, bool)> {
    [true, false].into_iter().find_map(|close| {
        let mut tried = rotated(len, start).filter(|&place| is_close(place) == close);
        Some((tried.find_map(&mut take)?, close))
    })
}

/// For every CPU number, returns which last-level cache it has, as a number.
pub(crate) fn cache_by_cpu(topology: &Topology) -> Box<[u16]> {
    let last = topology.cpus().last().map_or(0, |cpu| cpu.id.os_index());
    let mut caches = vec![0; last as usize + 1];
    for (number, group) in topology.last_level_cache_groups().iter().enumerate() {
        for cpu in group {
            // Where a machine has more caches than numbers, some look as one.
            caches[cpu.os_index() as usize] = number as u16;
        }
    }
    caches.into()
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

    /// Four nodes in a ring, but for the last two, which lie far from each other in one direction.
    fn ring(from: NodeId, to: NodeId) -> u32 {
        match (from.os_index(), to.os_index()) {
            (from, to) if from == to => 10,
            (2, 3) => 30,
            (from, to) if (from + 2) % 4 == to => 30,
            _ => 20,
        }
    }

    fn places(neighbours: &[Neighbour]) -> Vec<(usize, Steal)> {
        neighbours.iter().map(|neighbour| (neighbour.place, neighbour.least)).collect()
    }

    #[test]
    fn near_nodes_are_those_at_the_least_remote_distance_as_the_victim_sees_it() {
        use Steal::{Anywhere, Near, Node};
        let nodes = ids(&[0, 1, 2, 3]);
        let thieves = thieves(&nodes, ring, Steal::Anywhere);
        assert_eq!(places(&thieves[0]), [(0, Node), (1, Near), (3, Near), (2, Anywhere)]);
        assert_eq!(places(&thieves[2]), [(2, Node), (1, Near), (0, Anywhere), (3, Anywhere)]);
        let victims = victims(&nodes, ring, &thieves);
        assert_eq!(places(&victims[0]), [(0, Node), (1, Near), (3, Near), (2, Anywhere)]);
        assert_eq!(
            places(&victims[3]),
            [(3, Node), (0, Near), (2, Anywhere), (1, Anywhere)],
            "node 2 lies near node 3, and does not count it as near"
        );
    }

    #[test]
    fn a_pools_own_restriction_leaves_no_victims_beyond_it() {
        let nodes = ids(&[0, 1, 2, 3]);
        for (widest, expected) in [(Steal::Node, 1), (Steal::Near, 3), (Steal::Anywhere, 4)] {
            let thieves = thieves(&nodes, ring, widest);
            assert_eq!(thieves[0].len(), expected);
            assert_eq!(victims(&nodes, ring, &thieves)[0].len(), expected);
        }
        let alone = thieves(&ids(&[7]), ring, Steal::Anywhere);
        assert_eq!(places(&alone[0]), [(0, Steal::Node)]);
    }

    #[test]
    fn close_victims_come_first_and_all_are_tried_once() {
        for start in 0..12 {
            let mut tried = Vec::new();
            let none = close_first(
                6,
                start,
                |place| place % 2 == 1,
                |place| {
                    tried.push(place);
                    None::<()>
                },
            );
            assert_eq!(none, None);
            assert!(tried[..3].iter().all(|place| place % 2 == 1), "{tried:?}");
            assert_eq!(tried.iter().collect::<HashSet<_>>().len(), 6);
            assert_eq!(tried.len(), 6);
            assert_eq!(tried[0], [1, 1, 3, 3, 5, 5][start % 6], "it begins where start says");
        }
        assert_eq!(close_first(3, 0, |place| place == 2, Some), Some((2, true)));
        assert_eq!(close_first(3, 1, |_| false, Some), Some((1, false)));
    }

    #[test]
    fn cpus_are_told_apart_by_their_last_level_cache() {
        let topology =
            Topology::synthetic("node:2 l3:2 core:2 pu:1").expect("it is in the grammar");
        let caches = cache_by_cpu(&topology);
        assert_eq!(*caches, [0, 0, 1, 1, 2, 2, 3, 3]);
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
