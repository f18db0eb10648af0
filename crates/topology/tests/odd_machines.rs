//! Odd machines give a sensible topology and say what is odd.

mod invariants;
mod trees;

use std::path::Path;

use firsttouch_topology::{
    CpuId, CpuQuota, NodeId, NodeKind, Topology, TopologyError, TransparentHugePages,
};
use trees::Tree;

const NODES: &str = "sys/devices/system/node";

fn read(tree: &Tree) -> Topology {
    let topology = Topology::from_root(tree.root()).expect("the machine has CPUs");
    invariants::check(&topology);
    topology
}

/// Reads a machine and checks that an oddity mentions something.
fn read_odd(tree: &Tree, mentioned: &str) -> Topology {
    let topology = read(tree);
    let told = topology.oddities().iter().any(|oddity| oddity.to_string().contains(mentioned));
    assert!(told, "no oddity mentions {mentioned:?}: {:?}", topology.oddities());
    topology
}

fn node(id: u32) -> NodeId {
    NodeId::new(id)
}

/// Returns each node's number and local CPUs.
fn locals(topology: &Topology) -> Vec<(u32, String)> {
    let nodes = topology.nodes().iter();
    nodes.map(|node| (node.id().os_index(), node.local_cpus().to_string())).collect()
}

fn remove(tree: &Tree, path: &str) {
    let path = tree.root().join(path);
    let removed = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    removed.expect("what the test removes is there");
}

#[test]
fn what_the_kernel_keeps_of_free_memory_is_read_where_it_tells() {
    let tree = Tree::three_nodes();
    let zone = "pages free 1024\n high 30\n protection: (0, 10)\n";
    tree.write("proc/zoneinfo", &format!("Node 2, zone Normal\n {zone}"));
    let topology = read(&tree);
    let reserved = |id| topology.node(node(id)).and_then(|node| node.memory_reserved());
    assert_eq!((reserved(0), reserved(2)), (None, Some(40 << 12)));
}

#[test]
fn a_machine_without_oddities_is_read_in_full() {
    let tree = Tree::three_nodes();
    let topology = read(&tree);
    assert_eq!(topology.oddities(), []);
    assert_eq!(locals(&topology), [(0, "0-1".into()), (1, "2-3".into()), (2, "0-1".into())]);
    let far = topology.node(node(2)).expect("node 2 is described");
    assert_eq!(far.kind(), NodeKind::MemoryOnly);
    assert_eq!((far.memory_total(), far.memory_free()), (Some(8 << 20), Some(4 << 20)));
    let pool = far.huge_page_pools()[0];
    assert_eq!((pool.page_bytes, pool.total, pool.free, pool.surplus), (2 << 20, 4, 3, 1));
    assert_eq!(topology.distance(node(1), node(2)), 28);
    assert_eq!(topology.nodes_by_distance(node(1)), [node(1), node(0), node(2)]);
    assert_eq!(topology.local_nodes_of_cpu(CpuId::new(1)), [node(0), node(2)]);
    assert_eq!(topology.cores().len(), 2);
    assert_eq!(topology.packages()[1].id, Some(1));
    assert_eq!(topology.core_kinds().len(), 1);
    assert_eq!(topology.last_level_cache_cpus(CpuId::new(3)).to_string(), "2-3");
    assert_eq!(topology.caches()[0].bytes, Some(32 << 20));
    let sizes = topology.page_sizes();
    assert_eq!(
        (sizes.base, &sizes.huge[..], sizes.transparent),
        (4096, &[2 << 20][..], Some(2 << 20))
    );
    assert_eq!(sizes.transparent_mode, Some(TransparentHugePages::Madvise));
    let allowed = topology.allowed();
    assert_eq!(
        (allowed.cpus().to_string(), allowed.nodes().to_string()),
        ("0-2".into(), "0,2".into())
    );
    assert_eq!(allowed.cpu_quota().map(CpuQuota::cpus), Some(1.5));
    assert_eq!(allowed.parallelism().get(), 2);
}

#[test]
fn an_empty_folder_and_a_missing_one_are_errors() {
    let tree = Tree::new(&[]);
    let empty = Topology::from_root(tree.root());
    assert!(matches!(empty, Err(TopologyError::NoCpus { path }) if path == tree.root()));
    let missing = Topology::from_root(Path::new("/nonexistent/machine"));
    assert!(matches!(missing, Err(TopologyError::NoCpus { .. })));
}

#[test]
fn without_node_folders_one_node_has_everything() {
    let tree = Tree::three_nodes();
    remove(&tree, NODES);
    tree.write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 10 kB\n");
    let topology = read_odd(&tree, "has no node");
    assert_eq!(locals(&topology), [(0, "0-3".into())]);
    assert_eq!(topology.nodes()[0].memory_total(), Some(1_024_000));
    assert_eq!(topology.nodes()[0].huge_page_pools()[0].total, 12);
    assert_eq!(topology.distances(), None);
}

#[test]
fn nodes_may_be_found_on_their_bus_alone() {
    let tree = Tree::three_nodes();
    let bus = tree.root().join("sys/bus/node");
    std::fs::create_dir_all(&bus).expect("a folder can be made");
    std::fs::rename(tree.root().join(NODES), bus.join("devices")).expect("a folder can be moved");
    assert_eq!(read(&tree).nodes().len(), 3);
}

#[test]
fn numbers_of_nodes_and_cpus_may_have_gaps() {
    let tree = Tree::new(&[
        ("sys/devices/system/cpu/online", "4-5,1024,5000\n"),
        ("sys/devices/system/node/node8/cpulist", "1024,5000\n"),
        ("sys/devices/system/node/node8/distance", "40 10\n"),
        ("sys/devices/system/node/node0/cpulist", "4-5\n"),
        ("sys/devices/system/node/node0/distance", "10 40\n"),
    ]);
    let topology = read(&tree);
    assert_eq!(locals(&topology), [(0, "4-5".into()), (8, "1024,5000".into())]);
    assert_eq!(topology.distance(node(8), node(0)), 40);
    assert_eq!(topology.cpu(CpuId::new(6)), None);
    assert_eq!(topology.node(node(1)), None);
}

#[test]
fn offline_cpus_are_left_out_everywhere() {
    let tree = Tree::three_nodes();
    tree.write("sys/devices/system/cpu/online", "0,2-3\n");
    let topology = read(&tree);
    assert_eq!(locals(&topology), [(0, "0".into()), (1, "2-3".into()), (2, "0".into())]);
    assert_eq!(topology.cores()[0].cpus.to_string(), "0");
    assert_eq!(topology.allowed().cpus().to_string(), "0,2");
}

#[test]
fn each_cpu_says_whether_it_is_online_where_no_list_does() {
    let tree = Tree::three_nodes();
    remove(&tree, "sys/devices/system/cpu/online");
    tree.write("sys/devices/system/cpu/cpu2/online", "0\n");
    tree.write("sys/devices/system/cpu/cpu3/online", "1\n");
    let topology = read_odd(&tree, "cpu/online names no CPU");
    assert_eq!(topology.online_cpus().to_string(), "0-1,3");
}

#[test]
fn proc_names_the_cpus_where_sys_is_missing() {
    let stat = Tree::new(&[("proc/stat", "cpu  9\ncpu0 4\ncpu2 5\n")]);
    assert_eq!(read_odd(&stat, "/proc/stat").online_cpus().to_string(), "0,2");
    let info = "processor: 0\nphysical id: 0\ncore id: 0\n\nprocessor: 1\nphysical id: 0\ncore id: 0\n\n\
                processor: 2\nphysical id: 1\ncore id: 0\n";
    let cpuinfo = Tree::new(&[("proc/cpuinfo", info)]);
    let topology = read_odd(&cpuinfo, "/proc/cpuinfo");
    assert_eq!(topology.online_cpus().to_string(), "0-2");
    let cores: Vec<_> = topology.cores().iter().map(|core| core.cpus.to_string()).collect();
    assert_eq!(cores, ["0-1", "2"]);
    assert_eq!(topology.packages().len(), 2);
}

#[test]
fn memory_less_nodes_are_cpu_only() {
    let tree = Tree::three_nodes();
    tree.write(&format!("{NODES}/node1/meminfo"), "Node 1 MemTotal: 0 kB\nNode 1 MemFree: 0 kB\n");
    let topology = read(&tree);
    assert_eq!(topology.node(node(1)).map(|node| node.kind()), Some(NodeKind::CpuOnly));
}

#[test]
fn nodes_with_neither_cpus_nor_memory_are_empty() {
    let tree = Tree::three_nodes();
    tree.write(&format!("{NODES}/node2/meminfo"), "Node 2 MemTotal: 0 kB\n");
    let topology = read(&tree);
    assert_eq!(topology.node(node(2)).map(|node| node.kind()), Some(NodeKind::Empty));
}

#[test]
fn initiators_come_before_distances() {
    let tree = Tree::three_nodes();
    tree.write(&format!("{NODES}/node2/access0/initiators/node1/uevent"), "");
    assert_eq!(locals(&read(&tree))[2], (2, "2-3".into()));
    // Class 1 is about CPUs alone.
    tree.write(&format!("{NODES}/node2/access1/initiators/node0/uevent"), "");
    assert_eq!(locals(&read(&tree))[2], (2, "0-1".into()));
    // Initiators without CPUs tell nothing.
    remove(&tree, &format!("{NODES}/node2/access0"));
    remove(&tree, &format!("{NODES}/node2/access1"));
    tree.write(&format!("{NODES}/node2/access0/initiators/node2/uevent"), "");
    assert_eq!(locals(&read(&tree))[2], (2, "0-1".into()));
}

#[test]
fn equally_near_nodes_share_a_memory_only_node() {
    let tree = Tree::three_nodes();
    tree.write(&format!("{NODES}/node2/distance"), "17 17 10\n");
    assert_eq!(locals(&read(&tree))[2], (2, "0-3".into()));
}

#[test]
fn without_distances_every_cpu_is_local_to_a_memory_only_node() {
    let tree = Tree::three_nodes();
    for node in 0..3 {
        remove(&tree, &format!("{NODES}/node{node}/distance"));
    }
    let topology = read_odd(&tree, "which CPUs are near node 2");
    assert_eq!(locals(&topology)[2], (2, "0-3".into()));
    assert_eq!(topology.distances(), None);
    assert_eq!(topology.distance(node(0), node(1)), 20);
}

#[test]
fn distances_that_make_no_sense_are_not_used() {
    let rows = [
        "",
        "x y z",
        "10 20",
        "10 20 17 99",
        "0 20 17",
        "10 9 17",
        "11 20 17",
        "10 0 17",
        "10 4294967296 17",
        "10 -1 17",
    ];
    for row in rows {
        let tree = Tree::three_nodes();
        tree.write(&format!("{NODES}/node0/distance"), row);
        let topology = read_odd(&tree, "10 from themselves");
        assert_eq!(topology.distances(), None, "for {row:?}");
    }
}

#[test]
fn asymmetric_distances_are_kept_as_told() {
    let tree = Tree::three_nodes();
    tree.write(&format!("{NODES}/node0/distance"), "10 31 17\n");
    let topology = read(&tree);
    assert_eq!(topology.distance(node(0), node(1)), 31);
    assert_eq!(topology.distance(node(1), node(0)), 20);
}

#[test]
fn a_node_that_claims_another_nodes_cpus_is_left_out() {
    let tree = Tree::three_nodes();
    tree.write(&format!("{NODES}/node1/cpulist"), "1-3\n");
    let topology = read_odd(&tree, "node 1 claims CPUs 1");
    assert_eq!(locals(&topology), [(0, "0-1".into()), (2, "0-1".into())]);
    assert_eq!(topology.node_of_cpu(CpuId::new(3)), None);
    assert_eq!(topology.distance(node(0), node(2)), 17);
}

#[test]
fn emulated_nodes_own_the_cpus_they_link_and_are_local_to_those_they_list() {
    let tree = Tree::three_nodes();
    for node in 0..3 {
        tree.write(&format!("{NODES}/node{node}/cpulist"), "0-3\n");
        tree.write(&format!("{NODES}/node{node}/distance"), "10 10 10\n");
    }
    for (node, cpu) in [(0, 0), (0, 1), (1, 2), (1, 3)] {
        tree.write(&format!("{NODES}/node{node}/cpu{cpu}/uevent"), "");
    }
    let topology = read_odd(&tree, "overlap");
    assert_eq!(locals(&topology), [(0, "0-1".into()), (1, "2-3".into()), (2, "0-3".into())]);
    assert_eq!(topology.distance(node(0), node(2)), 10);
}

#[test]
fn a_garbled_cpulist_gives_way_to_the_mask_and_that_to_the_links() {
    let tree = Tree::three_nodes();
    tree.write(&format!("{NODES}/node0/cpulist"), "zero to one");
    tree.write(&format!("{NODES}/node0/cpumap"), "00000003\n");
    let topology = read_odd(&tree, "node0/cpulist reads");
    assert_eq!(locals(&topology)[0], (0, "0-1".into()));
    tree.write(&format!("{NODES}/node0/cpumap"), "three");
    tree.write(&format!("{NODES}/node0/cpu1/uevent"), "");
    let topology = read_odd(&tree, "no readable cpulist nor cpumap");
    assert_eq!(locals(&topology)[0], (0, "1".into()));
}

#[test]
fn lists_may_end_in_a_zero_byte() {
    let tree = Tree::three_nodes();
    tree.write(&format!("{NODES}/node0/cpulist"), "0-1\n\0");
    assert_eq!(read(&tree).oddities(), []);
}

#[test]
fn a_pipe_in_place_of_a_file_holds_nothing_up() {
    let tree = Tree::three_nodes();
    let path = format!("{NODES}/node0/meminfo");
    remove(&tree, &path);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let pipe = tree.root().join(path);
    rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a pipe can be made");
    let topology = read_odd(&tree, "no regular file");
    assert_eq!(topology.nodes()[0].memory_total(), None);
}

#[test]
fn folders_in_place_of_files_are_noted() {
    let tree = Tree::three_nodes();
    let path = "sys/devices/system/cpu/online";
    remove(&tree, path);
    tree.write(&format!("{path}/file"), "0-3");
    let topology = read_odd(&tree, "cpu/online cannot be read");
    assert_eq!(topology.online_cpus().to_string(), "0-3");
}

#[test]
fn gpu_memory_is_left_out_as_its_driver_hands_it_out() {
    let tree = Tree::three_nodes();
    tree.write(
        "proc/driver/nvidia/gpus/0004:04:00.0/numa_status",
        "Node:      2\nStatus: online\n",
    );
    let topology = read_odd(&tree, "node 2 is the memory of a GPU");
    assert_eq!(locals(&topology), [(0, "0-1".into()), (1, "2-3".into())]);
    assert_eq!(topology.distance(node(0), node(1)), 20);
}

#[test]
fn what_is_allowed_but_absent_is_not_believed() {
    let tree = Tree::three_nodes();
    tree.write("proc/self/status", "Cpus_allowed_list:\t77\nMems_allowed_list:\t9\n");
    let topology = read_odd(&tree, "no online CPU is allowed");
    assert_eq!(topology.allowed().cpus(), topology.online_cpus());
    assert_eq!(topology.allowed().nodes().to_string(), "0-2");
}

#[test]
fn masks_say_what_is_allowed_where_lists_are_missing() {
    let tree = Tree::three_nodes();
    tree.write("proc/self/status", "Cpus_allowed:\tc\nMems_allowed:\t00000000,00000002\n");
    let topology = read(&tree);
    let allowed = topology.allowed();
    assert_eq!(
        (allowed.cpus().to_string(), allowed.nodes().to_string()),
        ("2-3".into(), "1".into())
    );
}

#[test]
fn named_kinds_of_core_are_ranked_by_frequency() {
    let tree = Tree::three_nodes();
    tree.write("sys/devices/cpu_core/cpus", "0-1\n");
    tree.write("sys/devices/cpu_atom/cpus", "2-3\n");
    tree.write("sys/devices/system/cpu/cpu2/cpufreq/cpuinfo_max_freq", "2900000\n");
    tree.write("sys/devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq", "2900000\n");
    let topology = read(&tree);
    let kinds: Vec<_> = topology.core_kinds().iter().map(|kind| kind.name.as_deref()).collect();
    assert_eq!(kinds, [Some("cpu_atom"), Some("cpu_core")]);
    let kind = topology.core_kind_of_cpu(CpuId::new(0)).expect("CPU 0 is online");
    assert_eq!(kind.capacity, Some(3_000_000));
}

#[test]
fn capacities_tell_kinds_apart_where_none_is_named() {
    let tree = Tree::three_nodes();
    for (cpu, capacity) in [(0, "446"), (1, "446"), (2, "1024"), (3, "1024")] {
        tree.write(&format!("sys/devices/system/cpu/cpu{cpu}/cpu_capacity"), capacity);
    }
    let topology = read(&tree);
    let kinds: Vec<_> = topology.core_kinds().iter().map(|kind| kind.cpus.to_string()).collect();
    assert_eq!(kinds, ["0-1", "2-3"]);
}

#[test]
fn contradicting_siblings_leave_each_cpu_in_one_core_and_one_cache() {
    let tree = Tree::three_nodes();
    for (file, oddity) in [
        ("topology/core_cpus_list", "more than one core"),
        ("cache/index3/shared_cpu_list", "more than one cache"),
    ] {
        tree.write(&format!("sys/devices/system/cpu/cpu2/{file}"), "1-3\n");
        read_odd(&tree, oddity);
    }
}

#[test]
fn the_live_machine_is_read() -> Result<(), TopologyError> {
    let topology = Topology::discover()?;
    invariants::check(&topology);
    let mine = firsttouch_topology::affinity::current()?;
    assert_eq!(topology.allowed().cpus(), &mine.intersection(topology.online_cpus()));
    let total: u64 = topology.nodes().iter().filter_map(|node| node.memory_total()).sum();
    assert!(total > 0);
    assert_eq!(topology.page_sizes().base, rustix::param::page_size() as u64);
    Ok(())
}

#[test]
fn the_live_machine_read_as_a_recording_is_the_same_machine() -> Result<(), TopologyError> {
    let (live, recorded) = (Topology::discover()?, Topology::from_root("/")?);
    invariants::check(&recorded);
    assert_eq!(live.page_sizes(), recorded.page_sizes());
    assert_eq!(live.allowed().cpu_quota(), recorded.allowed().cpu_quota());
    // In a container that hides CPUs, only the kernel's own answer has them all.
    assert!(recorded.online_cpus().is_subset(live.online_cpus()));
    if recorded.online_cpus() == live.online_cpus() {
        assert_eq!(live.cpus(), recorded.cpus());
        assert_eq!(live.caches(), recorded.caches());
        assert_eq!(live.distances(), recorded.distances());
        assert_eq!(live.allowed(), recorded.allowed());
    }
    Ok(())
}
