//! Discovery against the machine file.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use firsttouch::topology::{Node, NodeKind};
use firsttouch::{CpuSet, NodeId, Topology};
use firsttouch_guest::machine::Machine;

use crate::case::{Case, Given, as_booted, skip};
use crate::condition::Condition;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "discovery_agrees_with_the_machine",
        given: as_booted,
        check: |machine| agrees(machine, &BTreeSet::new()),
    },
    Case {
        name: "discovery_agrees_while_a_cpu_is_offline",
        given: |machine| match last_cpu(machine) {
            0 => skip("its only CPU cannot be taken offline"),
            cpu => Given::Conditions(vec![Condition::Offline { cpu }]),
        },
        check: |machine| agrees(machine, &BTreeSet::from([last_cpu(machine)])),
    },
];

fn last_cpu(machine: &Machine) -> u32 {
    machine.online_cpus - 1
}

/// Compares all that the machine file says with what discovery says, but for CPUs that are offline since.
fn agrees(machine: &Machine, offline: &BTreeSet<u32>) -> anyhow::Result<()> {
    let machine = machine.seen();
    let topology = Topology::discover()?;
    let online = cpus((0..machine.online_cpus).filter(|cpu| !offline.contains(cpu)));
    same("online CPUs", topology.online_cpus(), &online)?;
    same("allowed CPUs", topology.allowed().cpus(), &online)?;
    let ids: Vec<_> = topology.nodes().iter().map(Node::id).collect();
    same("nodes", ids, (0..machine.nodes.len()).map(id).collect())?;
    let with_memory = machine.nodes_with_memory().map(id).collect();
    same("allowed nodes", topology.allowed().nodes(), &with_memory)?;
    same("CPU quota", topology.allowed().cpu_quota(), None)?;
    for number in 0..machine.nodes.len() {
        node(&machine, &topology, number, &online).with_context(|| format!("node {number}"))?;
    }
    let cores = cpu_groups(&online, machine.threads_per_core);
    same("cores", topology.cores().iter().map(|core| core.cpus.clone()).collect(), cores)?;
    let packages = cpu_groups(&online, machine.cpu_count() / machine.packages);
    let found = topology.packages().iter().map(|package| package.cpus.clone()).collect();
    same("packages", found, packages)
}

fn node(
    machine: &Machine,
    topology: &Topology,
    number: usize,
    online: &CpuSet,
) -> anyhow::Result<()> {
    let declared = &machine.nodes[number];
    let node = topology.node(id(number)).context("discovery has none")?;
    let own = |of: usize| cpus(machine.nodes[of].cpus.iter().copied()).intersection(online);
    same("CPUs", node.cpus(), &own(number))?;
    let total = node.memory_total().context("its memory is not known")?;
    let bytes = declared.memory.bytes();
    // The kernel keeps its own image and its page descriptors out of what it counts.
    let right = total <= bytes && total >= bytes - bytes.min(96 << 20);
    ensure!(right, "it has {total} bytes; {bytes} were declared");
    let kind = match (own(number).is_empty(), bytes == 0) {
        (false, false) => NodeKind::General,
        (true, false) => NodeKind::MemoryOnly,
        (false, true) => NodeKind::CpuOnly,
        (true, true) => NodeKind::Empty,
    };
    same("kind", node.kind(), kind)?;
    let nearest = || {
        let with_cpus = |of: &usize| !own(*of).is_empty();
        let least = machine.nodes_with_cpus().filter(with_cpus);
        let least = least.map(|to| machine.distance(number, to)).min();
        let near = machine.nodes_with_cpus().filter(with_cpus);
        near.filter(|&to| Some(machine.distance(number, to)) == least)
            .fold(CpuSet::new(), |all, to| all.union(&own(to)))
    };
    let local = match (own(number).is_empty(), declared.initiator) {
        (false, _) => own(number),
        (true, Some(initiator)) if !own(initiator).is_empty() => own(initiator),
        (true, _) => nearest(),
    };
    same("local CPUs", node.local_cpus(), &local)?;
    for to in 0..machine.nodes.len() {
        let distance = topology.distance(id(number), id(to));
        same("distance", distance, machine.distance(number, to))?;
    }
    let mut near: Vec<_> = (0..machine.nodes.len()).collect();
    near.sort_by_key(|&to| (machine.distance(number, to), to));
    let near = near.into_iter().map(id).collect();
    same("nodes by distance", topology.nodes_by_distance(id(number)), near)
}

/// Cuts the CPUs into groups of so many consecutive numbers, and keeps those that are online.
fn cpu_groups(online: &CpuSet, size: u32) -> Vec<CpuSet> {
    let last = online.last().map_or(0, |cpu| cpu.os_index());
    let groups = (0..=last / size).map(|group| cpus(group * size..(group + 1) * size));
    groups.map(|group| group.intersection(online)).filter(|group| !group.is_empty()).collect()
}

fn cpus(numbers: impl Iterator<Item = u32>) -> CpuSet {
    numbers.map(Into::into).collect()
}

fn id(number: usize) -> NodeId {
    NodeId::new(number as u32)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, declared: T) -> anyhow::Result<()> {
    ensure!(found == declared, "{what}: discovery says {found:?}; declared: {declared:?}");
    Ok(())
}
