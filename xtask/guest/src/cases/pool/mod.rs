//! Pools: where helpers run, what they take, and where their memory lies.

mod confinement;
mod offline;
mod pinning;
mod restricted;
mod stealing;
mod storage;

use std::collections::BTreeSet;

use firsttouch::{Helper, NodeId, Pool};
use firsttouch_guest::machine::Machine;

pub(super) use confinement::CASES as CONFINEMENT;
pub(super) use offline::CASES as OFFLINE;
pub(super) use pinning::CASES as PINNING;
pub(super) use restricted::CASES as RESTRICTED;
pub(super) use stealing::CASES as STEALING;
pub(super) use storage::CASES as STORAGE;

/// Returns a node's number as the machine file has it.
fn number(node: NodeId) -> usize {
    node.os_index() as usize
}

/// Returns the CPUs of a node that are online after boot.
fn cpus_of(machine: &Machine, node: NodeId) -> BTreeSet<u32> {
    machine.seen().online_cpus_of(number(node)).collect()
}

/// Returns the nodes that have helpers, ascending.
fn nodes_of(pool: &Pool) -> Vec<NodeId> {
    pool.nodes().map(|(node, _)| node).collect()
}

/// Visits the helpers of one node.
fn helpers_of(pool: &Pool, node: NodeId) -> impl Iterator<Item = &Helper> {
    pool.helpers().iter().filter(move |helper| helper.node == node)
}
