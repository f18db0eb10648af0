//! The form of a machine file.

use firsttouch_guest::machine::{Machine, Node, Performance, Size};
use serde::Deserialize;

use super::MachineError;

/// A machine file, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    about: String,
    nodes: Vec<Nodes>,
    #[serde(default = "one")]
    threads_per_core: u32,
    packages: Option<u32>,
    distances: Option<Distances>,
    performance: Option<Performance>,
    online_cpus: Option<u32>,
    #[serde(default = "yes")]
    numa: bool,
    #[serde(default)]
    kernel_arguments: Vec<String>,
}

/// One node, or several alike.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nodes {
    #[serde(default = "one")]
    count: u32,
    #[serde(default)]
    cpus: u32,
    #[serde(default)]
    memory: Size,
    initiator: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Distances {
    Named(String),
    Matrix(Vec<Vec<u32>>),
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

impl File {
    /// Numbers the CPUs and fills in the defaults; what it returns is not checked yet.
    pub(super) fn into_machine(self, name: &str) -> Result<Machine, MachineError> {
        let nodes = number(&self.nodes);
        let cpus: u32 = self.nodes.iter().map(|nodes| nodes.count * nodes.cpus).sum();
        let distances = match self.distances {
            None => None,
            Some(Distances::Matrix(matrix)) => Some(matrix),
            Some(Distances::Named(shape)) if shape == "ring" => Some(ring(nodes.len())),
            Some(Distances::Named(shape)) => return Err(MachineError::Shape { shape }),
        };
        Ok(Machine {
            name: name.to_owned(),
            about: self.about,
            threads_per_core: self.threads_per_core,
            packages: self.packages.unwrap_or_else(|| packages(&nodes)),
            distances,
            performance: self.performance,
            online_cpus: self.online_cpus.unwrap_or(cpus),
            numa: self.numa,
            kernel_arguments: self.kernel_arguments,
            nodes,
        })
    }
}

/// Repeats the nodes that are alike, and hands out CPU numbers in order.
fn number(groups: &[Nodes]) -> Vec<Node> {
    let mut next = 0;
    let alike = groups.iter().flat_map(|group| (0..group.count).map(move |_| group));
    alike
        .map(|group| {
            let first = next;
            next += group.cpus;
            let cpus = (first..next).collect();
            Node { cpus, memory: group.memory, initiator: group.initiator }
        })
        .collect()
}

/// Local is 10, and each step along the ring adds 10.
fn ring(nodes: usize) -> Vec<Vec<u32>> {
    let steps = |from: usize, to: usize| {
        let along = from.abs_diff(to);
        along.min(nodes - along) as u32
    };
    (0..nodes).map(|from| (0..nodes).map(|to| 10 + 10 * steps(from, to)).collect()).collect()
}

/// As few packages as keep each within one node: all have the same number of CPUs.
fn packages(nodes: &[Node]) -> u32 {
    let each = nodes.iter().map(|node| node.cpus.len()).fold(0, greatest_common_divisor);
    let cpus: usize = nodes.iter().map(|node| node.cpus.len()).sum();
    cpus.checked_div(each).unwrap_or(0) as u32
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
