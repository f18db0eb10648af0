//! Nodes: CPUs, initiators, memory, huge pages, distances.

use super::{Reader, pages, parse};
use crate::discover::{DistancePart, NodePart};
use crate::{CpuId, CpuSet, NodeId, NodeSet};

/// Where the kernel shows nodes; a recorded tree may have only the second.
const FOLDERS: [&str; 2] = ["sys/devices/system/node", "sys/bus/node/devices"];

/// The nodes of a machine and the distances between them.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) nodes: Vec<NodePart>,
    pub(super) distances: Option<DistancePart>,
}

/// Reads the nodes; a kernel without them has one that holds everything.
pub(super) fn read(reader: &mut Reader, online: &CpuSet, page_bytes: u64) -> Nodes {
    let found = FOLDERS.iter().find_map(|folder| {
        let numbers = reader.numbered(folder, "node");
        (!numbers.is_empty()).then_some((*folder, numbers))
    });
    let mut found = match found {
        Some((folder, numbers)) => read_nodes(reader, folder, &numbers),
        None => Nodes { nodes: vec![whole_machine(reader, online)], distances: None },
    };
    if let Some(zones) = reader.text("proc/zoneinfo") {
        for node in &mut found.nodes {
            let pages = parse::reserved_pages(&zones, node.id.os_index());
            node.memory_reserved = pages.and_then(|pages| pages.checked_mul(page_bytes));
        }
    }
    found
}

fn read_nodes(reader: &mut Reader, folder: &str, numbers: &[u32]) -> Nodes {
    let ids: Vec<NodeId> = numbers.iter().copied().map(NodeId::new).collect();
    let mut nodes: Vec<NodePart> = ids
        .iter()
        .map(|&id| {
            let folder = format!("{folder}/node{id}");
            let cpus = own_cpus(reader, &folder);
            let memory = reader.text(&format!("{folder}/meminfo"));
            let memory_total = memory.as_deref().and_then(|text| parse::meminfo(text, "MemTotal"));
            if memory_total.is_none() {
                let what = format!("/{folder}/meminfo does not tell the node's memory");
                reader.note(what, "its size is unknown");
            }
            NodePart {
                memory_total,
                memory_free: memory.as_deref().and_then(|text| parse::meminfo(text, "MemFree")),
                huge_page_pools: pages::pools(reader, &format!("{folder}/hugepages")),
                ..NodePart::new(id, cpus)
            }
        })
        .collect();
    resolve_overlaps(reader, folder, &mut nodes);
    let cpus_of = |id: NodeId| nodes.iter().find(|node| node.id == id).map(|node| &node.cpus);
    let initiators: Vec<CpuSet> = nodes
        .iter()
        .map(|node| {
            let named = initiators(reader, &format!("{folder}/node{}", node.id));
            named.iter().filter_map(cpus_of).fold(CpuSet::new(), |all, cpus| all.union(cpus))
        })
        .collect();
    for (node, initiators) in nodes.iter_mut().zip(initiators) {
        if !initiators.is_empty() {
            node.initiators = initiators;
        }
    }
    let distances = distances(reader, folder, ids);
    let gpus = gpu_nodes(reader);
    nodes.retain(|node| {
        let left_out = gpus.contains(node.id) && node.cpus.is_empty();
        if left_out {
            let what = format!("node {} is the memory of a GPU", node.id);
            reader.note(what, "it is left out, as its driver hands it out");
        }
        !left_out
    });
    Nodes { nodes, distances }
}

/// Reads a node's own CPUs, online or not.
fn own_cpus(reader: &mut Reader, folder: &str) -> CpuSet {
    let list = reader.value(&format!("{folder}/cpulist"), parse::list);
    let cpus = list.or_else(|| reader.value(&format!("{folder}/cpumap"), parse::mask));
    cpus.unwrap_or_else(|| {
        let links: CpuSet = reader.numbered(folder, "cpu").into_iter().map(CpuId::new).collect();
        reader.note(
            format!("/{folder} has no readable cpulist nor cpumap"),
            format!("the links beside them name its CPUs: {links:?}"),
        );
        links
    })
}

/// Gives each CPU to the node that links it where the nodes' lists overlap.
///
/// Emulated nodes (`numa=fake`) on one physical node all list its CPUs, while
/// the kernel links each CPU to one of them. A node that is left with none is
/// local to the CPUs it lists. Without links the contradiction stays.
fn resolve_overlaps(reader: &mut Reader, folder: &str, nodes: &mut [NodePart]) {
    let mut listed = CpuSet::new();
    let overlap = nodes.iter().any(|node| {
        let overlaps = node.cpus.intersects(&listed);
        listed = listed.union(&node.cpus);
        overlaps
    });
    if !overlap {
        return;
    }
    let links: Vec<CpuSet> = nodes
        .iter()
        .map(|node| reader.numbered(&format!("{folder}/node{}", node.id), "cpu"))
        .map(|links| links.into_iter().map(CpuId::new).collect())
        .collect();
    if links.iter().all(CpuSet::is_empty) {
        return;
    }
    reader.note(
        format!("the CPU lists of the nodes in /{folder} overlap, as emulated nodes' do"),
        "each CPU belongs to the node that links it",
    );
    for (node, links) in nodes.iter_mut().zip(links) {
        let own = node.cpus.intersection(&links);
        node.initiators = std::mem::replace(&mut node.cpus, own);
    }
}

/// Reads which nodes are the best initiators of accesses to a node, as the firmware (ACPI HMAT) tells.
fn initiators(reader: &mut Reader, folder: &str) -> NodeSet {
    // Class 1 counts nodes with CPUs only; class 0, which older kernels have
    // alone, may name another device's node instead.
    ["access1", "access0"]
        .iter()
        .map(|class| reader.numbered(&format!("{folder}/{class}/initiators"), "node"))
        .find(|nodes| !nodes.is_empty())
        .map_or_else(NodeSet::new, |nodes| nodes.into_iter().map(NodeId::new).collect())
}

/// Reads the distance tables; each node has its own row.
fn distances(reader: &mut Reader, folder: &str, nodes: Vec<NodeId>) -> Option<DistancePart> {
    let rows: Vec<Option<Vec<u32>>> = nodes
        .iter()
        .map(|id| reader.value(&format!("{folder}/node{id}/distance"), parse::distances))
        .collect();
    if rows.iter().all(Option::is_none) {
        return None;
    }
    Some(DistancePart { nodes, rows: rows.into_iter().map(Option::unwrap_or_default).collect() })
}

/// Reads which nodes are the memory of NVIDIA's GPUs.
///
/// Their driver gives out that memory, and a plain mapping that lands there is
/// seldom what a program wants; hwloc leaves them out as well.
fn gpu_nodes(reader: &mut Reader) -> NodeSet {
    const GPUS: &str = "proc/driver/nvidia/gpus";
    let mut nodes = NodeSet::new();
    for gpu in reader.names(GPUS) {
        let status = reader.text(&format!("{GPUS}/{gpu}/numa_status"));
        let node = status.as_deref().and_then(|text| parse::status(text, "Node"));
        nodes.extend(node.and_then(parse::number).map(NodeId::new));
    }
    nodes
}

/// Describes a machine without nodes as node 0.
fn whole_machine(reader: &mut Reader, online: &CpuSet) -> NodePart {
    reader.note(format!("/{} has no node", FOLDERS[0]), "all CPUs and memory belong to one node 0");
    let memory = reader.text("proc/meminfo");
    let memory = memory.as_deref();
    NodePart {
        memory_total: memory.and_then(|text| parse::meminfo(text, "MemTotal")),
        memory_free: memory.and_then(|text| parse::meminfo(text, "MemFree")),
        huge_page_pools: pages::pools(reader, "sys/kernel/mm/hugepages"),
        ..NodePart::new(NodeId::new(0), online.clone())
    }
}
