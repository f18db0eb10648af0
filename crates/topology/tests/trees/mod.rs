//! Made-up machines as trees of files.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A made-up machine's tree in a temporary folder.
pub(crate) struct Tree {
    folder: TempDir,
}

impl Tree {
    /// Makes a tree of files, given as path and text.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let tree = Self { folder: folder.expect("a temporary folder can be made") };
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    /// Makes a machine with two nodes of two CPUs each, and a third of memory alone.
    pub(crate) fn three_nodes() -> Self {
        let tree = Self::new(&[
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/node/node0/cpulist", "0-1\n"),
            ("sys/devices/system/node/node1/cpulist", "2-3\n"),
            ("sys/devices/system/node/node2/cpulist", "\n"),
            ("sys/devices/system/node/node0/distance", "10 20 17\n"),
            ("sys/devices/system/node/node1/distance", "20 10 28\n"),
            ("sys/devices/system/node/node2/distance", "17 28 10\n"),
            ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "12\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n"),
            ("proc/self/status", "Cpus_allowed_list:\t0-2\nMems_allowed_list:\t0,2\n"),
            ("proc/self/cgroup", "0::/a\n"),
            ("proc/self/mountinfo", "29 23 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
        ]);
        for node in 0..3 {
            let folder = format!("sys/devices/system/node/node{node}");
            let memory = format!("Node {node} MemTotal: 8192 kB\nNode {node} MemFree: 4096 kB\n");
            tree.write(&format!("{folder}/meminfo"), &memory);
            tree.write(&format!("{folder}/vmstat"), "nr_free_pages 1024\n");
            let pool = format!("{folder}/hugepages/hugepages-2048kB");
            tree.write(&format!("{pool}/nr_hugepages"), "4\n");
            tree.write(&format!("{pool}/free_hugepages"), "3\n");
            tree.write(&format!("{pool}/surplus_hugepages"), "1\n");
        }
        for cpu in 0..4 {
            let folder = format!("sys/devices/system/cpu/cpu{cpu}");
            let (package, siblings) = (cpu / 2, if cpu < 2 { "0-1\n" } else { "2-3\n" });
            tree.write(&format!("{folder}/topology/core_cpus_list"), siblings);
            tree.write(&format!("{folder}/topology/package_cpus_list"), siblings);
            tree.write(&format!("{folder}/topology/physical_package_id"), &format!("{package}\n"));
            tree.write(&format!("{folder}/cache/index3/level"), "3\n");
            tree.write(&format!("{folder}/cache/index3/type"), "Unified\n");
            tree.write(&format!("{folder}/cache/index3/size"), "32768K\n");
            tree.write(&format!("{folder}/cache/index3/shared_cpu_list"), siblings);
            tree.write(&format!("{folder}/cpufreq/cpuinfo_max_freq"), "3000000\n");
        }
        tree
    }

    /// Returns the folder that stands for `/`.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Writes one file, with the folders above it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path: PathBuf = self.root().join(path);
        let parent = path.parent().expect("the file lies in a folder");
        std::fs::create_dir_all(parent).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }
}
