//! From what a reader found to a topology: sorting, checking and deriving.
//!
//! Nothing here fails but for a machine without CPUs. Whatever does not fit
//! is left out, and an [`Oddity`] says so.

mod groups;
mod nodes;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{AllowedPart, Parts};
use crate::allowed::Allowed;
use crate::{
    Core, Cpu, CpuSet, Node, NodeSet, Oddity, Package, PageSizes, Source, Topology, TopologyError,
};

/// Puts a reader's findings in order.
pub(crate) fn assemble(parts: Parts) -> Result<Topology, TopologyError> {
    let Parts { source, online, .. } = parts;
    if online.is_empty() {
        return Err(TopologyError::NoCpus { path: described_path(&source) });
    }
    let mut oddities = parts.oddities;
    let node_parts = nodes::nodes(parts.nodes, &online, &mut oddities);
    let distances =
        parts.distances.and_then(|part| nodes::distances(part, &node_parts, &mut oddities));
    let nodes = nodes::local_cpus(node_parts, &online, distances.as_ref(), &mut oddities);
    let packages = groups::packages(parts.packages, &online, &mut oddities);
    let core_sets = groups::disjoint("core", parts.cores, &online, &mut oddities);
    let core_kinds = groups::core_kinds(parts.core_kinds, &online, &mut oddities);
    let cores = groups::cores(core_sets, &online, &core_kinds);
    let caches = groups::caches(parts.caches, &online, &mut oddities);
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
