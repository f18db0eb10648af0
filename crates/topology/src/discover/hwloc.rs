//! The live machine through hwloc.
//!
//! hwloc tells nodes, their local CPUs and memory, packages, cores, caches,
//! kinds of core and distances. What it does not tell (free memory, free huge
//! pages, page sizes, the affinity mask, the CPU quota) is read from the
//! kernel, as [`sysfs`](super::sysfs) does.

use std::fmt::Display;
use std::path::Path;

use hwlocality::object::TopologyObject;
use hwlocality::object::attributes::ObjectAttributes;
use hwlocality::object::types::ObjectType;
use hwlocality::topology::builder::{BuildFlags, TopologyBuilder};

use super::{AllowedPart, DistancePart, NodePart, Parts, sysfs};
use crate::{Cache, CoreKind, CpuSet, IdSet, NodeId, Package, PageSizes, Source, TopologyError};

/// Reads the live machine.
pub(crate) fn read() -> Result<Parts, TopologyError> {
    // hwloc leaves out what this process may not use, unless it is told not to.
    let builder = TopologyBuilder::new().with_flags(BuildFlags::INCLUDE_DISALLOWED);
    let topology = builder.map_err(refused)?.build().map_err(refused)?;
    if !topology.is_this_system() {
        let reason = "its environment variables (HWLOC_FSROOT, HWLOC_SYNTHETIC, HWLOC_XMLFILE or \
            HWLOC_THISSYSTEM) point it at another one; unset them";
        return Err(refused(reason));
    }
    let mut parts = parts(&topology, Source::Hwloc);
    match sysfs::read(Path::new("/"), Source::Live) {
        Ok(kernel) => complete(&mut parts, kernel, &topology),
        Err(error) => tracing::debug!(%error, "nothing to add to what hwloc tells"),
    }
    Ok(parts)
}

fn refused(reason: impl Display) -> TopologyError {
    TopologyError::Hwloc { reason: reason.to_string() }
}

/// Takes over everything hwloc tells about a machine.
fn parts(topology: &hwlocality::Topology, source: Source) -> Parts {
    Parts {
        source,
        online: ids(topology.cpuset().iter_set()),
        nodes: nodes(topology),
        distances: distances(topology),
        cores: topology.objects_with_type(ObjectType::Core).map(cpus).collect(),
        packages: topology
            .objects_with_type(ObjectType::Package)
            .map(|package| Package { id: os_index(package), cpus: cpus(package) })
            .collect(),
        core_kinds: core_kinds(topology),
        caches: caches(topology),
        page_sizes: PageSizes {
            base: rustix::param::page_size() as u64,
            huge: Vec::new(),
            transparent: None,
            transparent_mode: None,
        },
        allowed: AllowedPart {
            cpus: Some(ids(topology.allowed_cpuset().iter_set())),
            nodes: Some(ids(topology.allowed_nodeset().iter_set())),
            cpu_quota: None,
        },
        oddities: Vec::new(),
    }
}

/// Adds what only the kernel tells.
fn complete(parts: &mut Parts, kernel: Parts, topology: &hwlocality::Topology) {
    for node in &mut parts.nodes {
        if let Some(known) = kernel.nodes.iter().find(|known| known.id == node.id) {
            node.memory_free = known.memory_free;
            node.memory_reserved = known.memory_reserved;
            node.huge_page_pools.clone_from(&known.huge_page_pools);
        }
    }
    let allowed_cpus: CpuSet = ids(topology.allowed_cpuset().iter_set());
    let allowed_nodes = ids(topology.allowed_nodeset().iter_set());
    parts.allowed = AllowedPart {
        cpus: Some(match kernel.allowed.cpus {
            Some(cpus) => cpus.intersection(&allowed_cpus),
            None => allowed_cpus,
        }),
        nodes: Some(match kernel.allowed.nodes {
            Some(nodes) => nodes.intersection(&allowed_nodes),
            None => allowed_nodes,
        }),
        cpu_quota: kernel.allowed.cpu_quota,
    };
    parts.page_sizes = kernel.page_sizes;
}

/// Returns the nodes.
///
/// hwloc tells a node's local CPUs and not whether they are its own. A
/// memory-only node is local to all CPUs of one or several nodes, and Linux
/// numbers nodes with CPUs first. So nodes claim their local CPUs as their
/// own, those with fewest first and then by number, and a node that finds one
/// claimed is memory-only.
fn nodes(topology: &hwlocality::Topology) -> Vec<NodePart> {
    let memory_is_known =
        topology.feature_support().discovery().is_some_and(|support| support.numa_memory());
    let objects = topology.objects_with_type(ObjectType::NUMANode);
    let described = |node| Some((os_index(node)?, cpus(node), node));
    let mut objects: Vec<_> = objects.filter_map(described).collect();
    objects.sort_by_key(|(number, local, _)| (local.len(), *number));
    let mut taken = CpuSet::new();
    let mut nodes = Vec::with_capacity(objects.len());
    for (number, local, object) in objects {
        let id = NodeId::new(number);
        let mut node = if local.intersects(&taken) {
            NodePart { initiators: local, ..NodePart::new(id, CpuSet::new()) }
        } else {
            taken = taken.union(&local);
            NodePart::new(id, local)
        };
        if let Some(ObjectAttributes::NUMANode(numa)) = object.attributes() {
            let none = memory_is_known.then_some(0);
            node.memory_total = numa.local_memory().map(std::num::NonZero::get).or(none);
        }
        nodes.push(node);
    }
    nodes
}

/// Returns the firmware's table, which hwloc calls `NUMALatency`.
fn distances(topology: &hwlocality::Topology) -> Option<DistancePart> {
    let tables = topology.distances_with_name("NUMALatency").ok()?;
    let table = tables.first()?;
    let node = |node: Option<&TopologyObject>| node.and_then(os_index).map(NodeId::new);
    let nodes: Vec<NodeId> = table.objects().map(node).collect::<Option<_>>()?;
    // Whether a value makes sense is judged with all other readers' values.
    let value = |&value: &u64| u32::try_from(value).unwrap_or(u32::MAX);
    let rows = table.distances().chunks(nodes.len().max(1));
    let rows = rows.map(|row| row.iter().map(value).collect()).collect();
    Some(DistancePart { nodes, rows })
}

/// Returns the kinds of core where hwloc knows several.
fn core_kinds(topology: &hwlocality::Topology) -> Vec<CoreKind> {
    let Ok(kinds) = topology.cpu_kinds() else { return Vec::new() };
    if kinds.len() < 2 {
        return Vec::new();
    }
    let name = |kind: &hwlocality::cpu::kind::CpuKind<'_>| {
        let info = kind.infos.iter().find(|info| info.name().to_bytes() == b"CoreType")?;
        Some(info.value().to_string_lossy().into_owned())
    };
    kinds
        .map(|kind| CoreKind {
            cpus: ids(kind.cpuset.iter_set()),
            capacity: kind.efficiency.map(|rank| rank as u64),
            name: name(&kind),
        })
        .collect()
}

fn caches(topology: &hwlocality::Topology) -> Vec<Cache> {
    let data = topology.normal_objects().filter(|object| object.object_type().is_cpu_data_cache());
    data.filter_map(|object| match object.attributes() {
        Some(ObjectAttributes::Cache(cache)) => Some(Cache {
            level: u32::try_from(cache.depth()).ok()?,
            bytes: cache.size().map(std::num::NonZero::get),
            cpus: cpus(object),
        }),
        _ => None,
    })
    .collect()
}

fn cpus(object: &TopologyObject) -> CpuSet {
    object.cpuset().map_or_else(CpuSet::new, |set| ids(set.iter_set()))
}

fn os_index(object: &TopologyObject) -> Option<u32> {
    u32::try_from(object.os_index()?).ok()
}

/// Copies a set; a number beyond the kernel's limits, which no machine has, is left out.
fn ids<I>(set: impl Iterator<Item = hwlocality::bitmap::BitmapIndex>) -> IdSet<I>
where
    I: Copy + From<u32> + Into<u32>,
{
    let number = |index| u32::try_from(usize::from(index)).ok();
    set.filter_map(number)
        .filter(|&number| number <= crate::cpu_list::MAX_OS_INDEX)
        .map(I::from)
        .collect()
}

#[cfg(test)]
mod tests;
