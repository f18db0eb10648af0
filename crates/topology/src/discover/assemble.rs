//! From what a reader found to a topology: sorting, checking and deriving.
//!
//! Nothing here fails but for a machine without CPUs. Whatever does not fit
//! is left out, and an [`Oddity`] says so.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{AllowedPart, DistancePart, NodePart, Parts};
use crate::allowed::Allowed;
use crate::{
    Cache, Core, CoreKind, Cpu, CpuSet, DistanceMatrix, Node, NodeId, NodeSet, Oddity, Package,
    PageSizes, Source, Topology, TopologyError,
};

/// Puts a reader's findings in order.
pub(crate) fn assemble(parts: Parts) -> Result<Topology, TopologyError> {
    let Parts { source, online, .. } = parts;
    if online.is_empty() {
        return Err(TopologyError::NoCpus { path: described_path(&source) });
    }
    let mut oddities = parts.oddities;
    let node_parts = nodes(parts.nodes, &online, &mut oddities);
    let distances = parts.distances.and_then(|part| distances(part, &node_parts, &mut oddities));
    let nodes = local_cpus(node_parts, &online, distances.as_ref(), &mut oddities);
    let packages = packages(parts.packages, &online, &mut oddities);
    let core_sets = disjoint("core", parts.cores, &online, &mut oddities);
    let core_kinds = core_kinds(parts.core_kinds, &online, &mut oddities);
    let cores = cores(core_sets, &online, &core_kinds);
    let caches = caches(parts.caches, &online, &mut oddities);
    let cpus = cpus(&online, &nodes, &cores, &packages);
    let allowed = allowed(parts.allowed, &online, &nodes, &mut oddities);
    let page_sizes = page_sizes(parts.page_sizes);
    Ok(Topology {
        source,
        nodes,
        cpus,
        online,
        cores,
        core_kinds,
        packages,
        caches,
        distances,
        page_sizes,
        allowed,
        oddities,
    })
}

fn described_path(source: &Source) -> PathBuf {
    match source {
        Source::Recorded(root) => root.clone(),
        Source::Live | Source::Synthetic(_) | Source::Hwloc => PathBuf::from("/"),
    }
}

/// Sorts nodes, keeps each number once, and keeps each CPU in one node.
fn nodes(parts: Vec<NodePart>, online: &CpuSet, oddities: &mut Vec<Oddity>) -> Vec<NodePart> {
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
fn distances(
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
fn local_cpus(
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

/// Keeps online CPUs only, each in one set; CPUs in no set are left for the caller.
fn disjoint(
    noun: &str,
    sets: Vec<CpuSet>,
    online: &CpuSet,
    oddities: &mut Vec<Oddity>,
) -> Vec<CpuSet> {
    let mut taken = CpuSet::new();
    let mut kept: Vec<CpuSet> = Vec::with_capacity(sets.len());
    let mut twice = CpuSet::new();
    for set in sets {
        let set = set.intersection(online);
        let free = set.difference(&taken);
        // The same set again is one CPU's file repeating its sibling's.
        if free.len() != set.len() && !kept.contains(&set) {
            twice = twice.union(&set.intersection(&taken));
        }
        if !free.is_empty() {
            taken = taken.union(&free);
            kept.push(free);
        }
    }
    if !twice.is_empty() {
        let what = format!("CPUs {twice} are in more than one {noun}");
        Oddity::note(oddities, what, "the first counts");
    }
    kept.sort_by_key(CpuSet::first);
    kept
}

fn packages(parts: Vec<Package>, online: &CpuSet, oddities: &mut Vec<Oddity>) -> Vec<Package> {
    let mut taken = CpuSet::new();
    let mut kept: Vec<Package> = Vec::new();
    let mut twice = CpuSet::new();
    for part in parts {
        let cpus = part.cpus.intersection(online);
        let repeated = kept.iter().any(|other| other.cpus == cpus && other.id == part.id);
        if repeated {
            continue;
        }
        twice = twice.union(&cpus.intersection(&taken));
        let cpus = cpus.difference(&taken);
        if !cpus.is_empty() {
            taken = taken.union(&cpus);
            kept.push(Package { id: part.id, cpus });
        }
    }
    if !twice.is_empty() {
        let what = format!("CPUs {twice} are in more than one package");
        Oddity::note(oddities, what, "the first counts");
    }
    let rest = online.difference(&taken);
    if !rest.is_empty() {
        kept.push(Package { id: None, cpus: rest });
    }
    kept.sort_by_key(|package| package.cpus.first());
    kept
}

fn core_kinds(parts: Vec<CoreKind>, online: &CpuSet, oddities: &mut Vec<Oddity>) -> Vec<CoreKind> {
    let mut taken = CpuSet::new();
    let mut kept = Vec::with_capacity(parts.len().max(1));
    for mut kind in parts {
        kind.cpus = kind.cpus.intersection(online);
        let shared = kind.cpus.intersection(&taken);
        if !shared.is_empty() {
            let what = format!("CPUs {shared} are of more than one kind of core");
            Oddity::note(oddities, what, "the first counts");
            kind.cpus = kind.cpus.difference(&taken);
        }
        if !kind.cpus.is_empty() {
            taken = taken.union(&kind.cpus);
            kept.push(kind);
        }
    }
    let rest = online.difference(&taken);
    if !rest.is_empty() {
        kept.push(CoreKind { cpus: rest, capacity: None, name: None });
    }
    kept.sort_by_key(|kind| (kind.capacity, kind.cpus.first()));
    kept
}

fn cores(mut sets: Vec<CpuSet>, online: &CpuSet, kinds: &[CoreKind]) -> Vec<Core> {
    let taken = sets.iter().fold(CpuSet::new(), |taken, set| taken.union(set));
    sets.extend(online.difference(&taken).iter().map(|cpu| CpuSet::from_iter([cpu])));
    sets.sort_by_key(CpuSet::first);
    let kind_of = |cpus: &CpuSet| {
        let kind = kinds.iter().position(|kind| kind.cpus.intersects(cpus));
        kind.unwrap_or(0)
    };
    sets.into_iter().map(|cpus| Core { kind: kind_of(&cpus), cpus }).collect()
}

/// Sorts caches and keeps each CPU in one of a level.
fn caches(parts: Vec<Cache>, online: &CpuSet, oddities: &mut Vec<Oddity>) -> Vec<Cache> {
    let mut taken: BTreeMap<u32, CpuSet> = BTreeMap::new();
    let mut twice: BTreeMap<u32, CpuSet> = BTreeMap::new();
    let mut kept: Vec<Cache> = Vec::new();
    let mut seen: BTreeSet<(u32, String)> = BTreeSet::new();
    for mut cache in parts {
        cache.cpus = cache.cpus.intersection(online);
        // The same cache again is another CPU's file about it.
        if !seen.insert((cache.level, cache.cpus.to_string())) {
            continue;
        }
        let taken = taken.entry(cache.level).or_default();
        let shared = cache.cpus.intersection(taken);
        if !shared.is_empty() {
            let twice = twice.entry(cache.level).or_default();
            *twice = twice.union(&shared);
            cache.cpus = cache.cpus.difference(taken);
        }
        if !cache.cpus.is_empty() {
            *taken = taken.union(&cache.cpus);
            kept.push(cache);
        }
    }
    for (level, cpus) in twice {
        let what = format!("CPUs {cpus} are in more than one cache of level {level}");
        Oddity::note(oddities, what, "the first counts");
    }
    kept.sort_by_key(|cache| (cache.level, cache.cpus.first()));
    kept
}

fn cpus(online: &CpuSet, nodes: &[Node], cores: &[Core], packages: &[Package]) -> Vec<Cpu> {
    let mut core_of = BTreeMap::new();
    for (index, core) in cores.iter().enumerate() {
        core_of.extend(core.cpus.iter().map(|cpu| (cpu, index)));
    }
    let mut package_of = BTreeMap::new();
    for (index, package) in packages.iter().enumerate() {
        package_of.extend(package.cpus.iter().map(|cpu| (cpu, index)));
    }
    let mut node_of = BTreeMap::new();
    for node in nodes {
        node_of.extend(node.cpus.iter().map(|cpu| (cpu, node.id)));
    }
    let describe = |id| Cpu {
        id,
        node: node_of.get(&id).copied(),
        // Every online CPU was put in a core and in a package above.
        core: core_of.get(&id).copied().unwrap_or(0),
        package: package_of.get(&id).copied().unwrap_or(0),
    };
    online.iter().map(describe).collect()
}

/// Keeps what is allowed inside what exists; what would leave nothing is not believed.
fn allowed(
    part: AllowedPart,
    online: &CpuSet,
    nodes: &[Node],
    oddities: &mut Vec<Oddity>,
) -> Allowed {
    let cpus = part.cpus.map_or_else(|| online.clone(), |cpus| cpus.intersection(online));
    let cpus = if cpus.is_empty() {
        Oddity::note(oddities, "no online CPU is allowed", "all online CPUs are allowed");
        online.clone()
    } else {
        cpus
    };
    let every: NodeSet = nodes.iter().map(|node| node.id).collect();
    let allowed = part.nodes.map_or_else(|| every.clone(), |nodes| nodes.intersection(&every));
    let nodes = if allowed.is_empty() {
        Oddity::note(oddities, "no node's memory is allowed", "all nodes are allowed");
        every
    } else {
        allowed
    };
    Allowed { cpus, nodes, cpu_quota: part.cpu_quota }
}

fn page_sizes(mut sizes: PageSizes) -> PageSizes {
    sizes.huge.sort_unstable();
    sizes.huge.dedup();
    sizes
}
