//! Which helper goes where.

use firsttouch_topology::{CpuId, CpuSet, Node, NodeId, NodeSet, Topology};

use super::{Count, HelperPer, PoolBuilder};
use crate::error::PoolError;
use crate::front::MAX_SEARCHING;
use crate::pin::{Pin, Place};
use crate::spread::{cores, one_per_core_first, spread};

/// `PID_MAX_LIMIT` of 64-bit kernels: no kernel runs more threads.
const MAX_HELPERS: usize = 4 << 20;

/// The pool's nodes, and how many helpers each gets.
#[derive(Debug)]
pub(super) struct Plan {
    /// Ascending by number.
    pub(super) nodes: Vec<PlannedNode>,
}

/// One node as it is planned.
#[derive(Debug)]
pub(super) struct PlannedNode {
    pub(super) node: NodeId,
    /// The CPUs that its helpers may use. Invariant: not empty.
    cpus: CpuSet,
    helpers: usize,
    /// For how many threads it has CPUs, or cores where one is for a helper.
    pub(super) capacity: usize,
}

/// Where one helper is to go.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) node: NodeId,
    pub(super) place: Place,
    /// Where it is the first of its node.
    pub(super) first_of: Option<NodeSize>,
    /// How many nodes the pool has.
    pub(super) nodes: usize,
}

/// What the pool has on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeSize {
    pub(super) helpers: usize,
    /// How many threads it has CPUs for.
    pub(super) capacity: usize,
    pub(super) cpus: CpuSet,
}

impl Plan {
    /// Decides how many helpers each node gets.
    pub(super) fn new(builder: &PoolBuilder, topology: &Topology) -> Result<Self, PoolError> {
        let nodes = usable_cpus(builder, topology)?;
        let units: Vec<_> = nodes
            .iter()
            .map(|(_, cpus)| match builder.helper_per {
                HelperPer::Cpu => cpus.len(),
                HelperPer::Core => cores(topology, cpus),
            })
            .collect();
        // How many threads the process may run at once on each node.
        let parallelism = topology.allowed().parallelism().get();
        let capacities = spread(parallelism.min(units.iter().sum()), &units);
        let counts = match builder.count {
            Count::ByCpus => capacities.iter().map(|&cpus| cpus.min(MAX_SEARCHING)).collect(),
            Count::InAll(helpers) => spread(checked(helpers.get())?, &units),
            Count::PerNode(helpers) => vec![helpers.get(); nodes.len()],
            Count::None => vec![0; nodes.len()],
        };
        // Before anything is planned for each, which could take all memory.
        checked(counts.iter().fold(0, |all: usize, &count| all.saturating_add(count)))?;
        if let Some((&(node, _), &wanted)) =
            nodes.iter().zip(&counts).find(|&(_, &count)| count > MAX_SEARCHING)
        {
            return Err(PoolError::TooManyOnNode { node, wanted, max: MAX_SEARCHING });
        }
        let nodes = nodes.into_iter().zip(counts).zip(capacities);
        let planned =
            |(((node, cpus), helpers), capacity)| PlannedNode { node, cpus, helpers, capacity };
        Ok(Self { nodes: nodes.map(planned).collect() })
    }

    /// All helpers.
    pub(super) fn helpers(&self) -> usize {
        self.nodes.iter().map(|node| node.helpers).sum()
    }

    /// Leaves so many of the helpers, each node its share.
    pub(super) fn reduce_to(&mut self, helpers: usize) {
        let wanted: Vec<_> = self.nodes.iter().map(|node| node.helpers).collect();
        let counts = spread(helpers.min(self.helpers()), &wanted);
        for (node, count) in self.nodes.iter_mut().zip(counts) {
            node.helpers = count;
        }
    }

    /// Says for each helper where it is to go; those of one node are neighbours.
    pub(super) fn assignments(&self, topology: &Topology, pin: Pin) -> Vec<Assignment> {
        let used = self.nodes.iter().filter(|node| node.helpers > 0).count();
        let mut assignments = Vec::with_capacity(self.helpers());
        for &PlannedNode { node, ref cpus, helpers, capacity } in &self.nodes {
            let singly: Vec<CpuId> = one_per_core_first(topology, cpus);
            let places = singly.into_iter().cycle().map(|cpu| match pin {
                Pin::Node => Place::Node(node, cpus.clone()),
                Pin::Cpu => Place::Cpu(cpu),
                Pin::None => Place::Anywhere,
            });
            let of_node = places.take(helpers).enumerate().map(|(index, place)| Assignment {
                node,
                place,
                first_of: (index == 0).then(|| NodeSize { helpers, capacity, cpus: cpus.clone() }),
                nodes: used,
            });
            assignments.extend(of_node);
        }
        assignments
    }
}

/// Returns a number of helpers that some kernel could run.
fn checked(wanted: usize) -> Result<usize, PoolError> {
    match wanted {
        ..=MAX_HELPERS => Ok(wanted),
        _ => Err(PoolError::TooManyHelpers { wanted, max: MAX_HELPERS }),
    }
}

/// Returns the nodes that have CPUs for helpers, and these CPUs.
fn usable_cpus(
    builder: &PoolBuilder,
    topology: &Topology,
) -> Result<Vec<(NodeId, CpuSet)>, PoolError> {
    let present: NodeSet = topology.nodes().iter().map(Node::id).collect();
    let chosen_nodes = builder.nodes.as_ref().unwrap_or(&present);
    let absent = chosen_nodes.difference(&present);
    if !absent.is_empty() {
        return Err(PoolError::NoSuchNode { absent, present });
    }
    let online = topology.online_cpus();
    let chosen_cpus = builder.cpus.as_ref().unwrap_or(online);
    let absent = chosen_cpus.difference(online);
    if !absent.is_empty() {
        return Err(PoolError::NoSuchCpu { absent, online: online.clone() });
    }
    let mut nodes = cpus_by_node(topology);
    nodes.retain(|(node, _)| chosen_nodes.contains(*node));
    let chosen = nodes.iter().fold(CpuSet::new(), |all, (_, cpus)| all.union(cpus));
    let chosen = chosen.intersection(chosen_cpus);
    let allowed = topology.allowed().cpus();
    let usable = chosen.intersection(allowed);
    if usable.is_empty() {
        return Err(PoolError::NoCpus { allowed: allowed.clone(), chosen });
    }
    for (_, cpus) in &mut nodes {
        *cpus = cpus.intersection(&usable);
    }
    nodes.retain(|(_, cpus)| !cpus.is_empty());
    Ok(nodes)
}

/// Returns every node with its CPUs; CPUs that no node names go to the first node that has CPUs, else to the first.
fn cpus_by_node(topology: &Topology) -> Vec<(NodeId, CpuSet)> {
    let mut nodes: Vec<_> =
        topology.nodes().iter().map(|node| (node.id(), node.cpus().clone())).collect();
    let named = nodes.iter().fold(CpuSet::new(), |all, (_, cpus)| all.union(cpus));
    let homeless = topology.online_cpus().difference(&named);
    let first = nodes.iter().position(|(_, cpus)| !cpus.is_empty()).unwrap_or(0);
    if let (false, Some((node, cpus))) = (homeless.is_empty(), nodes.get_mut(first)) {
        tracing::warn!(
            cpus = %homeless,
            node = node.os_index(),
            "no node names these CPUs; their helpers work for this node"
        );
        *cpus = cpus.union(&homeless);
    }
    nodes
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn plan(description: &str, builder: &PoolBuilder) -> Plan {
        let topology = Topology::synthetic(description).expect("the description is in the grammar");
        Plan::new(builder, &topology).expect("the machine has CPUs")
    }

    fn counts(plan: &Plan) -> Vec<usize> {
        plan.nodes.iter().map(|node| node.helpers).collect()
    }

    #[test]
    fn fewer_helpers_are_taken_from_all_nodes() {
        let three = std::num::NonZeroUsize::new(3).expect("three is not zero");
        let mut plan = plan("node:4 core:4 pu:1", &PoolBuilder::new().helpers_per_node(three));
        assert_eq!(counts(&plan), [3, 3, 3, 3]);
        plan.reduce_to(7);
        assert_eq!(counts(&plan), [2, 2, 2, 1]);
        plan.reduce_to(2);
        assert_eq!(counts(&plan), [1, 1, 0, 0]);
        plan.reduce_to(9);
        assert_eq!(counts(&plan), [1, 1, 0, 0], "it gives none back");
    }

    #[test]
    fn a_node_left_without_helpers_is_none_of_the_pools_nodes() {
        let topology = Topology::synthetic("node:3 core:2 pu:1").expect("it is in the grammar");
        let mut plan = Plan::new(&PoolBuilder::new(), &topology).expect("the machine has CPUs");
        plan.reduce_to(2);
        let assignments = plan.assignments(&topology, Pin::None);
        let seen: Vec<_> = assignments.iter().map(|a| (a.node.os_index(), a.nodes)).collect();
        assert_eq!(seen, [(0, 2), (1, 2)]);
        let first_of = |node: u32| {
            let cpus = [2 * node, 2 * node + 1].into_iter().map(CpuId::new).collect();
            Some(NodeSize { helpers: 1, capacity: 2, cpus })
        };
        assert!(assignments.iter().all(|one| one.first_of == first_of(one.node.os_index())));
    }
}
