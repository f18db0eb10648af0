//! What holds for every topology, however odd the machine.

use firsttouch_topology::{CpuId, CpuSet, Node, NodeId, NodeSet, Topology};

/// Checks everything the documentation promises of any topology.
pub(crate) fn check(topology: &Topology) {
    let online = topology.online_cpus();
    assert!(!online.is_empty());
    check_nodes(topology, online);
    check_distances(topology);
    check_groups(topology, online);
    check_process(topology, online);
    check_pages(topology);
    for oddity in topology.oddities() {
        assert!(!oddity.what.is_empty() && !oddity.assumed.is_empty());
    }
    assert_eq!(topology, &topology.clone());
}

fn check_nodes(topology: &Topology, online: &CpuSet) {
    assert!(!topology.nodes().is_empty());
    assert!(topology.nodes().is_sorted_by(|a, b| a.id() < b.id()));
    let mut owned = CpuSet::new();
    for node in topology.nodes() {
        assert_eq!(topology.node(node.id()), Some(node));
        assert!(!node.local_cpus().is_empty());
        assert!(node.local_cpus().is_subset(online));
        assert!(node.cpus().is_subset(node.local_cpus()));
        assert!(!node.cpus().intersects(&owned), "no CPU is in two nodes");
        owned = owned.union(node.cpus());
        for cpu in node.cpus() {
            assert_eq!(topology.node_of_cpu(cpu), Some(node.id()));
            assert!(topology.local_nodes_of_cpu(cpu).contains(&node.id()));
        }
        assert!(node.huge_page_pools().is_sorted_by(|a, b| a.page_bytes < b.page_bytes));
    }
    for cpu in online.difference(&owned).iter() {
        assert_eq!(topology.node_of_cpu(cpu), None);
    }
}

fn check_distances(topology: &Topology) {
    let ids: Vec<NodeId> = topology.nodes().iter().map(Node::id).collect();
    if let Some(matrix) = topology.distances() {
        assert!(ids.len() > 1);
        assert_eq!(matrix.nodes(), ids);
        assert_eq!(matrix.values().len(), ids.len() * ids.len());
    }
    for &from in &ids {
        assert_eq!(topology.distance(from, from), 10);
        assert!(ids.iter().all(|&to| topology.distance(from, to) >= 10));
        let mut near = topology.nodes_by_distance(from);
        assert_eq!(near.first(), Some(&from));
        let distances: Vec<u32> = near.iter().map(|&to| topology.distance(from, to)).collect();
        assert!(distances.is_sorted());
        near.sort_unstable();
        assert_eq!(near, ids);
    }
}

fn check_groups(topology: &Topology, online: &CpuSet) {
    partition(online, topology.cores().iter().map(|core| &core.cpus));
    partition(online, topology.packages().iter().map(|package| &package.cpus));
    partition(online, topology.core_kinds().iter().map(|kind| &kind.cpus));
    partition(online, topology.last_level_cache_groups().iter());
    assert!(topology.core_kinds().is_sorted_by_key(|kind| kind.capacity));
    assert!(topology.caches().is_sorted_by_key(|cache| (cache.level, cache.cpus.first())));
    for cache in topology.caches() {
        assert!(!cache.cpus.is_empty() && cache.cpus.is_subset(online));
        assert!(cache.level > 0 && cache.bytes != Some(0));
    }
    let ids: Vec<CpuId> = topology.cpus().iter().map(|cpu| cpu.id).collect();
    assert_eq!(ids, online.iter().collect::<Vec<_>>());
    for cpu in ids {
        assert!(topology.core_of_cpu(cpu).is_some_and(|core| core.cpus.contains(cpu)));
        assert!(topology.package_of_cpu(cpu).is_some_and(|package| package.cpus.contains(cpu)));
        assert!(topology.core_kind_of_cpu(cpu).is_some());
        assert!(topology.last_level_cache_cpus(cpu).contains(cpu));
    }
}

/// Checks that every online CPU is in exactly one of the groups.
fn partition<'a>(online: &CpuSet, groups: impl Iterator<Item = &'a CpuSet>) {
    let mut seen = CpuSet::new();
    for group in groups {
        assert!(!group.is_empty());
        assert!(!group.intersects(&seen));
        seen = seen.union(group);
    }
    assert_eq!(&seen, online);
}

fn check_process(topology: &Topology, online: &CpuSet) {
    let nodes: NodeSet = topology.nodes().iter().map(Node::id).collect();
    let allowed = topology.allowed();
    assert!(!allowed.cpus().is_empty() && allowed.cpus().is_subset(online));
    assert!(!allowed.nodes().is_empty() && allowed.nodes().is_subset(&nodes));
    assert!(allowed.parallelism().get() <= allowed.cpus().len());
    if let Some(quota) = allowed.cpu_quota() {
        assert!(quota.cpus() > 0.0 && quota.cpus().is_finite());
    }
}

fn check_pages(topology: &Topology) {
    let sizes = topology.page_sizes();
    assert!(sizes.base.is_power_of_two());
    assert!(sizes.huge.is_sorted_by(|a, b| a < b));
    assert!(sizes.transparent.is_none_or(u64::is_power_of_two));
}
