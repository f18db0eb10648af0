//! Machines for tests, recorded as the kernel would describe them.

use std::fs;
use std::path::Path;

use firsttouch_topology::{NodeId, Topology};
use tempfile::TempDir;

/// A machine that is not this one; its files go when it is dropped.
pub(crate) struct Machine {
    pub(crate) topology: Topology,
    _folder: TempDir,
}

/// One node of a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TestNode {
    pub(crate) number: u32,
    /// In the kernel's list syntax; empty for memory alone.
    pub(crate) cpus: &'static str,
    pub(crate) memory_mib: u64,
    /// Distances to all nodes, in their order.
    pub(crate) distances: &'static str,
}

pub(crate) fn node(number: u32) -> NodeId {
    NodeId::new(number)
}

/// Records a machine and reads it.
pub(crate) fn machine(nodes: &[TestNode]) -> Machine {
    let folder = tempfile::tempdir().expect("a folder for a test");
    let system = folder.path().join("sys/devices/system");
    let all = |lists: Vec<String>| {
        let lists: Vec<_> = lists.into_iter().filter(|list| !list.is_empty()).collect();
        lists.join(",")
    };
    let cpus = all(nodes.iter().map(|node| node.cpus.to_owned()).collect());
    let numbers = all(nodes.iter().map(|node| node.number.to_string()).collect());
    for list in ["online", "possible", "present"] {
        write(&system.join("cpu").join(list), &cpus);
    }
    write(&system.join("node/online"), &numbers);
    for node in nodes {
        let TestNode { number, cpus, memory_mib, distances } = node;
        let path = system.join(format!("node/node{number}"));
        write(&path.join("cpulist"), cpus);
        write(&path.join("distance"), distances);
        let kib = memory_mib << 10;
        let free = kib / 2;
        let meminfo =
            format!("Node {number} MemTotal: {kib} kB\nNode {number} MemFree: {free} kB\n");
        write(&path.join("meminfo"), &meminfo);
    }
    let topology = Topology::from_root(folder.path()).expect("the machine can be read");
    assert_eq!(topology.nodes().len(), nodes.len(), "{:?}", topology.oddities());
    Machine { topology, _folder: folder }
}

/// Two nodes of two CPUs and 1 GiB each, and between them one of 4 GiB without CPUs, nearer to the second.
pub(crate) fn with_memory_only_node() -> Machine {
    machine(&[
        TestNode { number: 0, cpus: "0-1", memory_mib: 1024, distances: "10 30 21" },
        TestNode { number: 3, cpus: "", memory_mib: 4096, distances: "30 10 17" },
        TestNode { number: 8, cpus: "2-3", memory_mib: 1024, distances: "21 17 10" },
    ])
}

/// Three nodes of which the last has CPUs and no memory, and is nearer to the second.
pub(crate) fn with_cpu_only_node() -> Machine {
    machine(&[
        TestNode { number: 0, cpus: "0-3", memory_mib: 1024, distances: "10 21 31" },
        TestNode { number: 1, cpus: "4-7", memory_mib: 1024, distances: "21 10 15" },
        TestNode { number: 2, cpus: "8-9", memory_mib: 0, distances: "31 15 10" },
    ])
}

/// One node of one CPU: the first of most real machines.
pub(crate) fn one_node() -> Machine {
    machine(&[TestNode { number: 0, cpus: "0", memory_mib: 1024, distances: "10" }])
}

/// Two nodes of one CPU each: the first two of most real machines.
pub(crate) fn two_nodes() -> Machine {
    machine(&[
        TestNode { number: 0, cpus: "0", memory_mib: 1024, distances: "10 20" },
        TestNode { number: 1, cpus: "1", memory_mib: 1024, distances: "20 10" },
    ])
}

/// Four nodes on a line, of `cpus` CPUs each.
pub(crate) fn four_nodes() -> Machine {
    machine(&[
        TestNode { number: 0, cpus: "0-3", memory_mib: 1024, distances: "10 20 30 40" },
        TestNode { number: 1, cpus: "4-7", memory_mib: 1024, distances: "20 10 20 30" },
        TestNode { number: 2, cpus: "8-11", memory_mib: 1024, distances: "30 20 10 20" },
        TestNode { number: 3, cpus: "12-15", memory_mib: 1024, distances: "40 30 20 10" },
    ])
}

fn write(path: &Path, text: &str) {
    let folder = path.parent().expect("a file is in a folder");
    fs::create_dir_all(folder).expect("a folder can be made");
    fs::write(path, format!("{text}\n")).expect("a file can be written");
}
