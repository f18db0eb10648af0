use std::error::Error;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::super::synthetic;
use super::{BuildFlags, TopologyBuilder, parts};
use crate::{Source, Topology};

#[path = "../../../tests/recordings/mod.rs"]
mod recordings;
use recordings::Recordings;

/// Reads a description by hwloc's own reader.
fn by_hwloc(description: &str) -> Result<Topology, Box<dyn Error>> {
    let topology = TopologyBuilder::new().from_synthetic(description)?.build()?;
    Ok(Topology::from_parts(parts(&topology, Source::Synthetic(description.to_owned())))?)
}

#[test]
fn hwloc_and_sysfs_agree_on_the_live_machine() -> Result<(), Box<dyn Error>> {
    let (hwloc, sysfs) = live()?;
    assert_eq!(hwloc.source(), &Source::Hwloc);
    assert_eq!(hwloc.online_cpus(), sysfs.online_cpus());
    assert_same_nodes(&hwloc, &sysfs, "live");
    assert_eq!(hwloc.cpus(), sysfs.cpus());
    assert_eq!(hwloc.packages(), sysfs.packages());
    assert_eq!(core_sets(&hwloc), core_sets(&sysfs));
    assert_eq!(hwloc.caches(), sysfs.caches());
    // hwloc keeps no table for a single node.
    if hwloc.distances().is_some() {
        assert_eq!(hwloc.distances(), sysfs.distances());
    }
    assert_eq!(hwloc.page_sizes(), sysfs.page_sizes());
    assert_eq!(hwloc.allowed(), sysfs.allowed());
    Ok(())
}

#[test]
fn hwloc_reads_synthetic_descriptions_the_same() -> Result<(), Box<dyn Error>> {
    for description in synthetic::tests::SAME_AS_HWLOC {
        let hwloc = by_hwloc(description).map_err(|error| format!("{description}: {error}"))?;
        let ours = Topology::synthetic(description)?;
        assert_eq!(hwloc.online_cpus(), ours.online_cpus(), "{description}");
        assert_same_nodes(&hwloc, &ours, description);
        assert_eq!(hwloc.cpus(), ours.cpus(), "{description}");
        assert_eq!(hwloc.packages(), ours.packages(), "{description}");
        assert_eq!(core_sets(&hwloc), core_sets(&ours), "{description}");
        assert_eq!(hwloc.caches(), ours.caches(), "{description}");
        assert_eq!(hwloc.distances(), ours.distances(), "{description}");
    }
    Ok(())
}

#[test]
fn hwloc_refuses_the_same_synthetic_descriptions() {
    for description in synthetic::tests::REFUSED_BY_BOTH {
        assert!(by_hwloc(description).is_err(), "hwloc takes {description:?}");
    }
}

/// hwloc 2.9 gives attached nodes no memory; later releases give them 1 GiB, as levels of nodes have.
#[test]
fn attached_nodes_have_the_memory_of_later_hwloc_releases() -> Result<(), Box<dyn Error>> {
    let hwloc = by_hwloc("pack:2 [numa] core:2 pu:1")?;
    let ours = Topology::synthetic("pack:2 [numa] core:2 pu:1")?;
    for (theirs, ours) in hwloc.nodes().iter().zip(ours.nodes()) {
        assert_eq!(theirs.cpus(), ours.cpus());
        assert!(matches!(theirs.memory_total(), Some(0 | 0x4000_0000)));
        assert_eq!(ours.memory_total(), Some(1 << 30));
    }
    Ok(())
}

/// Where this reader takes a description, hwloc takes it too and gives the same machine.
fn check_same(description: &str) -> Result<(), TestCaseError> {
    let Ok(ours) = Topology::synthetic(description) else { return Ok(()) };
    // hwloc checks its work in debug builds, in time that grows with the square of the CPUs.
    if ours.cpus().len() > 1024 {
        return Ok(());
    }
    let hwloc = by_hwloc(description).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(hwloc.online_cpus(), ours.online_cpus());
    let local = |topology: &Topology| -> Vec<_> {
        let nodes = topology.nodes().iter();
        nodes.map(|node| (node.id(), node.local_cpus().clone())).collect()
    };
    prop_assert_eq!(local(&hwloc), local(&ours));
    prop_assert_eq!(hwloc.packages(), ours.packages());
    prop_assert_eq!(core_sets(&hwloc), core_sets(&ours));
    prop_assert_eq!(hwloc.caches(), ours.caches());
    Ok(())
}

proptest! {
    #[test]
    fn hwloc_reads_any_synthetic_description_the_same(text in synthetic::tests::in_grammar()) {
        check_same(&text)?;
    }

    #[test]
    fn hwloc_takes_what_is_taken_here(text in synthetic::tests::near_grammar()) {
        check_same(&text)?;
    }
}

/// Reads the live machine both ways at a time when its memory does not change.
///
/// Virtual machines can gain and lose memory while they run.
fn live() -> Result<(Topology, Topology), Box<dyn Error>> {
    let totals = |topology: &Topology| -> Vec<_> {
        topology.nodes().iter().map(crate::Node::memory_total).collect()
    };
    for _ in 0..100 {
        let before = Topology::discover()?;
        let hwloc = Topology::from_hwloc()?;
        let after = Topology::discover()?;
        if totals(&before) == totals(&after) {
            return Ok((hwloc, after));
        }
    }
    Err("the machine's memory changes all the time".into())
}

fn assert_same_nodes(left: &Topology, right: &Topology, machine: &str) {
    let known = |topology: &Topology| -> Vec<_> {
        let nodes = topology.nodes().iter();
        nodes
            .map(|n| (n.id(), n.cpus().clone(), n.local_cpus().clone(), n.memory_total()))
            .collect()
    };
    assert_eq!(known(left), known(right), "{machine}");
}

/// Kinds are left out: hwloc ranks them, and the kernel gives capacities.
fn core_sets(topology: &Topology) -> Vec<crate::CpuSet> {
    topology.cores().iter().map(|core| core.cpus.clone()).collect()
}

/// Recorded machines on which caches differ, and why.
///
/// Each is checked to be a difference still, so that none outlives its reason.
const OTHER_CACHES: [(&str, &str); 2] = [
    ("64fake-4n2s2ca2c2t", "CPUs contradict each other; hwloc believes the first one only"),
    ("8ia64-2s2c2t", "the map of sharers is empty; hwloc then takes the core's threads"),
];

/// The variable by which hwloc reads a recorded machine.
const ROOT: &str = "HWLOC_FSROOT";

/// hwloc takes a recorded machine's folder from the environment only, so each
/// machine is compared in a process of its own: this test, started again.
#[test]
fn hwloc_and_sysfs_agree_on_recorded_machines() -> Result<(), Box<dyn Error>> {
    if let Some(root) = std::env::var_os(ROOT) {
        return compare_recorded(root.as_ref());
    }
    let Some(recordings) = Recordings::find() else { return Ok(()) };
    let mut complaints = Vec::new();
    for name in recordings.expected().keys() {
        let unpacked = recordings.unpack(name);
        let test = "discover::hwloc::tests::hwloc_and_sysfs_agree_on_recorded_machines";
        let child = Command::new(std::env::current_exe()?)
            .args(["--exact", test, "--nocapture"])
            .env(ROOT, unpacked.root())
            .output()?;
        if !child.status.success() {
            let text = String::from_utf8_lossy(&child.stderr).into_owned();
            complaints.push(format!("{name}: {text}"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

fn compare_recorded(root: &Path) -> Result<(), Box<dyn Error>> {
    let builder = TopologyBuilder::new().with_flags(BuildFlags::INCLUDE_DISALLOWED)?;
    // It would add the live machine's caches to a recording that has none.
    let builder = builder.without_component("x86")?;
    let hwloc = Topology::from_parts(parts(&builder.build()?, Source::Hwloc))?;
    let sysfs = Topology::from_root(root)?;
    assert_eq!(hwloc.online_cpus(), sysfs.online_cpus());
    assert_eq!(hwloc.cpus(), sysfs.cpus());
    assert_same_nodes(&hwloc, &sysfs, "nodes");
    assert_eq!(hwloc.packages(), sysfs.packages());
    assert_eq!(core_sets(&hwloc), core_sets(&sysfs));
    assert_eq!(hwloc.distances(), sysfs.distances());
    match OTHER_CACHES.iter().find(|(name, _)| root.ends_with(name)) {
        None => assert_eq!(hwloc.caches(), sysfs.caches()),
        Some((_, reason)) => {
            assert_ne!(hwloc.caches(), sysfs.caches(), "no longer a difference: {reason}");
        }
    }
    Ok(())
}
