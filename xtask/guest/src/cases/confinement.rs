//! Processes that may use only part of the machine.

use std::collections::BTreeSet;

use anyhow::ensure;
use firsttouch::{Pinned, Pool, Topology};
use firsttouch_guest::machine::Machine;

use crate::case::{Case, Given, skip};
use crate::condition::{Answer, Call, Condition, Version, cpuset_v1_is_missing, interleaved_over};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_process_in_a_cpuset_uses_only_its_part",
        given: |machine| confined(machine, Version::V2),
        check: keeps_to_its_part,
    },
    Case {
        name: "a_process_in_a_version_1_cpuset_uses_only_its_part",
        given: |machine| match cpuset_v1_is_missing() {
            true => skip("its kernel has no version 1 of cpusets"),
            false => confined(machine, Version::V1),
        },
        check: keeps_to_its_part,
    },
    Case {
        name: "a_process_under_taskset_uses_only_its_cpus",
        given: |machine| Given::Conditions(vec![Condition::Affinity { cpus: part(machine).cpus }]),
        check: keeps_to_its_cpus,
    },
    Case {
        name: "a_process_with_a_cpu_quota_knows_it",
        given: |_| Given::Conditions(vec![Condition::CpuQuota { hundredths: 150 }]),
        check: knows_its_quota,
    },
    Case {
        name: "a_pool_whose_pinning_is_refused_says_so_and_works",
        given: |_| {
            let (call, answer) = (Call::SchedSetaffinity, Answer::NotAllowed);
            Given::Conditions(vec![Condition::Filtered { call, answer }])
        },
        check: refused_pinning,
    },
    Case {
        name: "an_inherited_interleave_policy_is_kept",
        given: |machine| {
            let nodes = machine.seen().nodes_with_memory().collect();
            Given::Conditions(vec![Condition::InheritedInterleave { nodes }])
        },
        check: keeps_the_inherited_policy,
    },
];

/// What a confined process may use.
pub(super) struct Part {
    pub(super) cpus: BTreeSet<u32>,
    pub(super) nodes: BTreeSet<usize>,
}

/// The last node with CPUs and what lies beyond it; of a machine with one node, the later half of its CPUs.
pub(super) fn part(machine: &Machine) -> Part {
    let machine = machine.seen();
    let has_cpus = |node: &usize| machine.online_cpus_of(*node).next().is_some();
    let node = machine.nodes_with_cpus().filter(has_cpus).last().unwrap_or_default();
    let all: Vec<u32> = machine.online_cpus_of(node).collect();
    let half = if machine.nodes.len() == 1 { all.len() / 2 } else { 0 };
    let mut nodes: BTreeSet<_> = machine.nodes_with_memory().filter(|&n| n >= node).collect();
    if nodes.is_empty() {
        nodes.extend(machine.nodes_with_memory().last());
    }
    Part { cpus: all[half..].iter().copied().collect(), nodes }
}

fn confined(machine: &Machine, version: Version) -> Given {
    let Part { cpus, nodes } = part(machine);
    Given::Conditions(vec![Condition::Cpuset { version, cpus, nodes }])
}

fn keeps_to_its_part(machine: &Machine) -> anyhow::Result<()> {
    let topology = Topology::discover()?;
    let nodes: BTreeSet<_> = topology.allowed().nodes().iter().map(numbered).collect();
    let allowed = part(machine).nodes;
    ensure!(nodes == allowed, "discovery says nodes {nodes:?}; the cpuset has {allowed:?}");
    keeps_to_its_cpus(machine)
}

fn keeps_to_its_cpus(machine: &Machine) -> anyhow::Result<()> {
    let allowed = part(machine).cpus;
    let topology = Topology::discover()?;
    let cpus: BTreeSet<_> = topology.allowed().cpus().iter().map(u32::from).collect();
    ensure!(cpus == allowed, "discovery says CPUs {cpus:?}; they are {allowed:?}");
    let pool = Pool::new()?;
    let masks = pool.broadcast(|_| firsttouch::topology::affinity::current());
    for mask in masks {
        let mask: BTreeSet<_> = mask?.iter().map(u32::from).collect();
        ensure!(mask.is_subset(&allowed), "a helper may run on CPUs {mask:?}");
    }
    Ok(())
}

fn knows_its_quota(machine: &Machine) -> anyhow::Result<()> {
    let topology = Topology::discover()?;
    let quota = topology.allowed().cpu_quota();
    let right = quota.is_some_and(|quota| quota.quota_us * 2 == quota.period_us * 3);
    ensure!(right, "discovery says {quota:?}; it is one and a half CPUs");
    let parallelism = topology.allowed().parallelism().get();
    let expected = (machine.online_cpus as usize).min(2);
    ensure!(parallelism == expected, "{parallelism} threads at once; {expected} can run");
    Ok(())
}

fn refused_pinning(_: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let pinned: Vec<_> = pool.helpers().iter().map(|helper| helper.pinned).collect();
    let refused = pinned.iter().all(|pinned| *pinned == Pinned::Refused);
    ensure!(refused, "sched_setaffinity is filtered, and helpers are {pinned:?}");
    let came = pool.broadcast(|_| ()).len();
    ensure!(came == pinned.len(), "{came} helpers of {} took part", pinned.len());
    Ok(())
}

fn keeps_the_inherited_policy(machine: &Machine) -> anyhow::Result<()> {
    let nodes: BTreeSet<_> = machine.seen().nodes_with_memory().collect();
    let before = interleaved_over()?;
    ensure!(before == nodes, "the process starts interleaving over {before:?}, not {nodes:?}");
    drop(Pool::new()?);
    let after = interleaved_over()?;
    ensure!(after == nodes, "after a pool, the process interleaves over {after:?}");
    Ok(())
}

fn numbered(node: firsttouch::NodeId) -> usize {
    node.os_index() as usize
}
