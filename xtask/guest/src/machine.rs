//! Emulated machines: nodes, CPUs, memory, distances.

use serde::{Deserialize, Serialize};

pub use crate::size::{Size, SizeError};

/// A machine to emulate, checked and with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name: that of its file, without the extension.
    pub name: String,
    /// What is special about it, in a line.
    pub about: String,
    /// Its nodes; node `i` is at index `i`.
    pub nodes: Vec<Node>,
    /// Hardware threads of each core.
    pub threads_per_core: u32,
    /// Packages (sockets), all with the same number of CPUs.
    pub packages: u32,
    /// Relative distances, row by row, where the firmware gives them; local is 10.
    pub distances: Option<Vec<Vec<u32>>>,
    /// How the memory performs, where the firmware says so (ACPI HMAT).
    pub performance: Option<Performance>,
    /// How many CPUs the kernel brings up at boot, lowest first; the rest stay offline.
    pub online_cpus: u32,
    /// Whether the kernel may see the nodes; otherwise it is told `numa=off`.
    pub numa: bool,
    /// More words for the kernel's command line.
    pub kernel_arguments: Vec<String>,
}

/// One node of a [`Machine`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The numbers of its CPUs; empty for a memory-only node.
    pub cpus: Vec<u32>,
    /// Its memory; zero for a memory-less node.
    pub memory: Size,
    /// The node whose CPUs are closest; only a memory-only node of a machine with [`Performance`] has one.
    pub initiator: Option<usize>,
}

/// Latency and bandwidth between nodes with CPUs and nodes with memory.
///
/// Rows are the nodes with CPUs, columns all the nodes, both ascending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Performance {
    /// Access latency in nanoseconds.
    pub latency_ns: Vec<Vec<u32>>,
    /// Access bandwidth in MiB/s.
    pub bandwidth_mib: Vec<Vec<u32>>,
}

impl Machine {
    /// Returns the number of CPUs, online or not.
    #[must_use]
    pub fn cpu_count(&self) -> u32 {
        self.nodes.iter().map(|node| node.cpus.len() as u32).sum()
    }

    /// Returns the machine's memory.
    #[must_use]
    pub fn memory(&self) -> Size {
        Size::from_bytes(self.nodes.iter().map(|node| node.memory.bytes()).sum())
    }

    /// Returns the CPUs of one node that are online after boot.
    pub fn online_cpus_of(&self, node: usize) -> impl Iterator<Item = u32> + '_ {
        self.nodes[node].cpus.iter().copied().filter(|&cpu| cpu < self.online_cpus)
    }

    /// Returns the numbers of the nodes that have CPUs, ascending.
    pub fn nodes_with_cpus(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|&node| !self.nodes[node].cpus.is_empty())
    }

    /// Returns the numbers of the nodes that have memory, ascending.
    pub fn nodes_with_memory(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].memory.bytes() > 0)
    }

    /// Returns the machine as its kernel shows it: one node where the kernel is told `numa=off`.
    #[must_use]
    pub fn seen(&self) -> Self {
        if self.numa {
            return self.clone();
        }
        let cpus = self.nodes.iter().flat_map(|node| node.cpus.clone()).collect();
        let nodes = vec![Node { cpus, memory: self.memory(), initiator: None }];
        Self { nodes, distances: None, performance: None, ..self.clone() }
    }

    /// Returns the relative distance from one node to another.
    #[must_use]
    pub fn distance(&self, from: usize, to: usize) -> u32 {
        let default = if from == to { 10 } else { 20 };
        self.distances.as_ref().map_or(default, |rows| rows[from][to])
    }

    /// Returns the words this machine adds to the kernel's command line.
    #[must_use]
    pub fn command_line(&self) -> Vec<String> {
        let mut words = self.kernel_arguments.clone();
        if self.online_cpus < self.cpu_count() {
            words.push(format!("maxcpus={}", self.online_cpus));
        }
        if !self.numa {
            words.push("numa=off".to_owned());
        }
        words
    }
}
