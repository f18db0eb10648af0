//! Nodes, their local CPUs, and the distances between them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::discover::{DistancePart, NodePart};
use crate::{CpuSet, DistanceMatrix, Node, NodeId, Oddity};

/// Sorts nodes, keeps each number once, and keeps each CPU in one node.
pub(super) fn nodes(
    parts: Vec<NodePart>,
    online: &CpuSet,
    oddities: &mut Vec<Oddity>,
) -> Vec<NodePart> {
    let mut sorted = BTreeMap::new();
    for part in parts {
        match sorted.entry(part.id) {
            Entry::Vacant(entry) => {
                entry.insert(part);
            }
            Entry::Occupied(entry) => {
                let what = format!("node {} is described twice", entry.key());
                Oddity::note(oddities, what, "the first counts");
            }
        }
    }
    let mut taken = CpuSet::new();
    let mut kept = Vec::with_capacity(sorted.len());
    for mut part in sorted.into_values() {
        part.cpus = part.cpus.intersection(online);
        // The kernel gives each CPU one node, so a second node that claims it
        // is a contradiction; hwloc leaves such a node out, and so does this.
        if part.cpus.intersects(&taken) {
            let shared = part.cpus.intersection(&taken);
            let what = format!("node {} claims CPUs {shared} of earlier nodes", part.id);
            Oddity::note(oddities, what, "the node is left out");
            continue;
        }
        taken = taken.union(&part.cpus);
        part.huge_page_pools.sort_by_key(|pool| pool.page_bytes);
        part.huge_page_pools.dedup_by_key(|pool| pool.page_bytes);
        kept.push(part);
    }
    if kept.is_empty() {
        kept.push(NodePart::new(NodeId::new(0), online.clone()));
        Oddity::note(oddities, "no node is described", "all CPUs belong to one node 0");
        return kept;
    }
    let homeless = online.difference(&taken);
    if !homeless.is_empty() {
        let what = format!("CPUs {homeless} belong to no node");
        Oddity::note(oddities, what, "they are used for no node in particular");
    }
    kept
}

/// Takes the described distances over the nodes that were kept, if they make sense.
pub(super) fn distances(
    part: DistancePart,
    nodes: &[NodePart],
    oddities: &mut Vec<Oddity>,
) -> Option<DistanceMatrix> {
    // One node's distance to itself says nothing.
    if nodes.len() < 2 {
        return None;
    }
    match check_distances(&part, nodes) {
        Ok(matrix) => Some(matrix),
        Err(what) => {
            Oddity::note(oddities, what, "nodes are 10 from themselves and 20 from each other");
            None
        }
    }
}

/// Checks a table as the kernel checks the firmware's: 10 on the diagonal and nothing below it.
///
/// A remote 10 is let through: the kernel's emulated nodes (`numa=fake`) have it.
fn check_distances(part: &DistancePart, nodes: &[NodePart]) -> Result<DistanceMatrix, String> {
    let index_of = |id: NodeId| {
        let index = part.nodes.iter().position(|&node| node == id);
        index.ok_or_else(|| format!("the distance table lacks node {id}"))
    };
    let indices = nodes.iter().map(|node| index_of(node.id)).collect::<Result<Vec<_>, _>>()?;
    let mut values = Vec::with_capacity(nodes.len() * nodes.len());
    for (node, &row) in nodes.iter().zip(&indices) {
        let row_values = part.rows.get(row).map_or(&[][..], Vec::as_slice);
        if row_values.len() != part.nodes.len() {
            let (found, wanted) = (row_values.len(), part.nodes.len());
            let id = node.id;
            return Err(format!(
                "node {id} gives {found} distances where there are {wanted} nodes"
            ));
        }
        for (to, &column) in nodes.iter().zip(&indices) {
            let value = row_values[column];
            let sensible = if row == column { value == 10 } else { value >= 10 };
            if !sensible {
                let (from, to) = (node.id, to.id);
                return Err(format!("the distance from node {from} to node {to} reads {value}"));
            }
            values.push(value);
        }
    }
    Ok(DistanceMatrix { nodes: nodes.iter().map(|node| node.id).collect(), values })
}

/// Finds each node's local CPUs.
pub(super) fn local_cpus(
    parts: Vec<NodePart>,
    online: &CpuSet,
    distances: Option<&DistanceMatrix>,
    oddities: &mut Vec<Oddity>,
) -> Vec<Node> {
    let owners: Vec<(NodeId, CpuSet)> = parts
        .iter()
        .filter(|part| !part.cpus.is_empty())
        .map(|part| (part.id, part.cpus.clone()))
        .collect();
    let mut nodes = Vec::with_capacity(parts.len());
    for part in parts {
        let initiators = part.initiators.intersection(online);
        let local_cpus = if !part.cpus.is_empty() {
            part.cpus.clone()
        } else if !initiators.is_empty() {
            initiators
        } else {
            nearest(part.id, &owners, distances).unwrap_or_else(|| {
                let what = format!("nothing says which CPUs are near node {}", part.id);
                Oddity::note(oddities, what, "all CPUs are local to it");
                online.clone()
            })
        };
        nodes.push(Node {
            id: part.id,
            cpus: part.cpus,
            local_cpus,
            memory_total: part.memory_total,
            memory_free: part.memory_free,
            memory_reserved: part.memory_reserved,
            huge_page_pools: part.huge_page_pools,
        });
    }
    nodes
}

/// Returns the CPUs of the nodes that are nearest to one without CPUs; several tie as equals.
fn nearest(
    id: NodeId,
    owners: &[(NodeId, CpuSet)],
    distances: Option<&DistanceMatrix>,
) -> Option<CpuSet> {
    let distances = distances?;
    let known = |&(owner, _): &(NodeId, CpuSet)| distances.get(id, owner);
    let least = owners.iter().filter_map(known).min()?;
    let ties = owners.iter().filter(|owner| known(owner) == Some(least));
    Some(ties.fold(CpuSet::new(), |cpus, (_, own)| cpus.union(own)))
}
