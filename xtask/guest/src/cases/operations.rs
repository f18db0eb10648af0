//! Operations on memory: pages moved, copied, found, pinned and given back on the nodes they belong to.

mod locality;
mod migration;
mod pinning;
mod release;
mod replicas;

use std::collections::BTreeMap;

use anyhow::Context as _;
use firsttouch::{NodeId, Residency};
use firsttouch_guest::machine::Machine;

pub(super) use locality::CASES as LOCALITY;
pub(super) use migration::CASES as MIGRATION;
pub(super) use pinning::CASES as PINNING;
pub(super) use release::CASES as RELEASE;
pub(super) use replicas::CASES as REPLICAS;

use super::page_init::initialise::filled;
use crate::sysfs;

/// What part of a CPU's share of a page initialisation moves.
///
/// Each base page that does interrupts every CPU that the process has run on (before Linux 6.3 one
/// page at a time), which emulation makes slow: some 256 pages do, however many CPUs there are.
fn moving_part(machine: &Machine) -> usize {
    let cpus: usize = filled(machine).values().sum();
    8 * cpus.div_ceil(4).next_power_of_two()
}

/// Base pages on each node, as the library says.
fn told(residency: &Residency) -> BTreeMap<usize, u64> {
    residency.nodes().map(|(node, pages)| (number(node), pages)).collect()
}

fn number(node: NodeId) -> usize {
    node.os_index() as usize
}

/// A figure of `/proc/self/status`, in bytes.
fn own_memory(field: &str) -> anyhow::Result<usize> {
    bytes_in("/proc/self/status", field)
}

/// What of this process's memory is there, in bytes, counted page by page.
///
/// `VmRSS` is a sum of what CPUs have counted: since Linux 6.2 it can be off by half a MiB for each of them.
fn resident() -> anyhow::Result<usize> {
    bytes_in("/proc/self/smaps_rollup", "Rss")
}

fn bytes_in(path: &str, field: &str) -> anyhow::Result<usize> {
    let figures = sysfs::read(path)?;
    let line = figures.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.with_context(|| format!("no {field}"))?.trim().trim_end_matches(" kB");
    Ok(kib.parse::<usize>()? << 10)
}
