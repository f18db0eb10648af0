//! The recorded machines of `shared/topologies` against what hwloc reads from them.

mod invariants;
mod recordings;

use std::collections::BTreeMap;

use firsttouch_topology::{CpuSet, Topology};
use recordings::Recordings;
use serde_json::Value;

/// What the comparison looks at, in one form for both sides.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    cpus: String,
    /// By node: local CPUs and bytes of memory.
    nodes: BTreeMap<u64, (String, u64)>,
    /// Row by row, over the nodes in order.
    distances: Option<Vec<u64>>,
}

impl Summary {
    fn found(topology: &Topology) -> Self {
        let describe = |node: &firsttouch_topology::Node| {
            // hwloc has no unknown memory: it writes 0.
            let memory = node.memory_total().unwrap_or(0);
            (u64::from(node.id().os_index()), (node.local_cpus().to_string(), memory))
        };
        let nodes: BTreeMap<_, _> = topology.nodes().iter().map(describe).collect();
        let distances = topology.distances().map(|matrix| {
            let rows: Vec<u64> =
                matrix.nodes().iter().map(|node| u64::from(node.os_index())).collect();
            assert_eq!(rows, nodes.keys().copied().collect::<Vec<_>>());
            matrix.values().iter().map(|&value| u64::from(value)).collect()
        });
        Self { cpus: topology.online_cpus().to_string(), nodes, distances }
    }

    fn expected(machine: &Value) -> Option<Self> {
        let node = |node: &Value| {
            let local_cpus = list(&node["local_cpus"])?;
            Some((node["id"].as_u64()?, (local_cpus, node["memory_bytes"].as_u64()?)))
        };
        let nodes: Option<BTreeMap<_, _>> = machine["nodes"].as_array()?.iter().map(node).collect();
        let nodes = nodes?;
        let distances = match machine["distances"].as_array()?.as_slice() {
            [] => None,
            [matrix] => {
                let numbers = |key: &str| -> Option<Vec<u64>> {
                    matrix[key].as_array()?.iter().map(Value::as_u64).collect()
                };
                assert_eq!(numbers("nodes")?, nodes.keys().copied().collect::<Vec<_>>());
                Some(numbers("values")?)
            }
            more => panic!("one matrix is expected, and there are {}", more.len()),
        };
        Some(Self { cpus: list(&machine["cpus"])?, nodes, distances })
    }

    /// Names the parts in which two summaries differ.
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let checks = [
            ("cpus", self.cpus == other.cpus),
            ("nodes", self.nodes.keys().eq(other.nodes.keys())),
            ("local_cpus and memory_bytes", self.nodes == other.nodes),
            ("distances", self.distances == other.distances),
        ];
        checks.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect()
    }
}

/// Returns a CPU list in our own spelling.
fn list(value: &Value) -> Option<String> {
    Some(value.as_str()?.parse::<CpuSet>().ok()?.to_string())
}

#[test]
fn every_recorded_machine_agrees_with_hwloc() {
    let Some(recordings) = Recordings::find() else { return };
    let expected = recordings.expected();
    let mut agreeing = 0;
    let mut complaints = Vec::new();
    for (name, machine) in &expected {
        let unpacked = recordings.unpack(name);
        let topology = Topology::from_root(unpacked.root()).expect("a recorded machine has CPUs");
        invariants::check(&topology);
        let expected = Summary::expected(machine).expect("expected.json has the documented form");
        let found = Summary::found(&topology);
        let differences = found.differences(&expected);
        if differences.is_empty() {
            agreeing += 1;
        } else {
            complaints.push(format!(
                "{name}: {differences:?} differ\n  found    {found:?}\n  expected {expected:?}"
            ));
        }
    }
    assert!(
        complaints.is_empty(),
        "{agreeing} of {} machines agree\n{}",
        expected.len(),
        complaints.join("\n")
    );
    assert_eq!((agreeing, expected.len()), (28, 28), "28 of 28 recorded machines agree");
    recordings::say(&format!(
        "{agreeing} of {} recorded machines agree with hwloc",
        expected.len()
    ));
}
