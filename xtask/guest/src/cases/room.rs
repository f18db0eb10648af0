//! Regions that fit a node, and regions that surely do not, on machines of any size.

use std::collections::BTreeMap;

use firsttouch_guest::machine::Machine;

use super::page_init::initialise::{BYTES_PER_CPU, PAGE, filled, last_with_memory};
use crate::case::{Given, skip, without_balancing};
use crate::condition::Condition;
use crate::sysfs;

/// Bytes of a huge page.
pub(super) const HUGE: usize = 2 << 20;

/// What a filler leaves of a node's memory in the cases that want a full one.
///
/// More than the kernel keeps for itself there, which with transparent huge pages is 30 MiB and,
/// after memory has come in pieces, half as much again.
pub(super) const LEFT: u64 = 48 << 20;

/// What a node is to have of a region at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Has {
    /// Its CPUs' share.
    Share,
    /// All of it, as when it is moved to one node, whichever.
    All,
    /// What comes while it moves from blocks to turns to the last node.
    Moving,
}

/// Parts of a region, each of whole huge pages on one node, in proportion to the nodes' CPUs.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    huge_pages: BTreeMap<usize, usize>,
}

impl Shares {
    /// Returns the largest, of at most so many times a CPU's share in a page initialisation, of
    /// which each node has room for what it is to have; `room` says for how many huge pages.
    pub(super) fn that_fit(
        machine: &Machine,
        times: usize,
        has: Has,
        room: fn(usize) -> usize,
    ) -> Option<Self> {
        let last = last_with_memory(machine);
        let fit = |shares: &Self| {
            let (all, nodes) = (shares.huge_pages(), shares.huge_pages.len());
            // A node of memory alone has no share, and can be the last all the same.
            let last_fits = !matches!(has, Has::Moving) || all <= room(last);
            let fits = |(&node, &own): (&usize, &usize)| match has {
                Has::Share => own <= room(node),
                Has::All => all <= room(node),
                Has::Moving => own + all.div_ceil(nodes) <= room(node),
            };
            last_fits && shares.huge_pages.iter().all(fits)
        };
        let most = times * common_divisor(&filled(machine)) * (BYTES_PER_CPU / HUGE);
        (1..=most).rev().map(|times| Self::of(machine, times)).find(fit)
    }

    /// Returns the smallest, whether it fits or not.
    pub(super) fn smallest(machine: &Machine) -> Self {
        Self::of(machine, 1)
    }

    fn of(machine: &Machine, times: usize) -> Self {
        let cpus = filled(machine);
        let common = common_divisor(&cpus);
        Self {
            huge_pages: cpus.iter().map(|(&node, cpus)| (node, cpus / common * times)).collect(),
        }
    }

    /// The whole region in huge pages.
    pub(super) fn huge_pages(&self) -> usize {
        self.huge_pages.values().sum()
    }

    /// The whole region in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.huge_pages() * HUGE
    }

    /// The base pages of each node.
    pub(super) fn pages(&self) -> BTreeMap<usize, u64> {
        let pages = |(&node, &own): (&usize, &usize)| (node, (own * (HUGE / PAGE)) as u64);
        self.huge_pages.iter().map(pages).collect()
    }
}

/// Huge pages that a node surely has: half of what it has free in one piece each, and would give away.
pub(super) fn half_of_free(node: usize) -> usize {
    whole(node).min(given_away(node) / (HUGE / PAGE)) / 2
}

/// Huge pages that a node has free in one piece each.
fn whole(node: usize) -> usize {
    let text = sysfs::read("/proc/buddyinfo").unwrap_or_default();
    let of_node = format!("Node {node},");
    let zones = text.lines().filter_map(|line| line.strip_prefix(of_node.as_str()));
    // After the zone's name, the free blocks of each order: of 1, 2, 4, … base pages.
    let blocks = zones.flat_map(|zone| zone.split_whitespace().skip(2).enumerate());
    let order = (HUGE / PAGE).ilog2() as usize;
    let whole = blocks.filter(|&(of, _)| of >= order);
    whole.map(|(of, blocks)| blocks.parse::<usize>().unwrap_or(0) << (of - order)).sum()
}

/// Base pages that are free on a node beyond what its zones keep for the kernel.
fn given_away(node: usize) -> usize {
    let text = sysfs::read("/proc/zoneinfo").unwrap_or_default();
    let of_node = format!("Node {node},");
    let (mut free, mut all, mut inside) = (0, 0, false);
    for line in text.lines() {
        if line.starts_with("Node ") {
            inside = line.starts_with(&of_node);
        }
        // "pages free" comes first in each zone, and "high" is the mark below which it is refilled.
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["pages", "free", pages] if inside => free = pages.parse().unwrap_or(0),
            ["high", pages] if inside => {
                all += usize::saturating_sub(free, pages.parse().unwrap_or(0));
            }
            _ => {}
        }
    }
    all
}

/// As [`half_of_free`], for what moves to and fro, and is there twice while it does.
pub(super) fn quarter_of_free(node: usize) -> usize {
    half_of_free(node) / 2
}

/// Huge pages that were set aside on a node.
pub(super) fn set_aside(node: usize) -> usize {
    let path = format!("{}/hugepages/hugepages-2048kB/nr_hugepages", sysfs::node(node));
    sysfs::parse(path).unwrap_or(0)
}

fn common_divisor(cpus: &BTreeMap<usize, usize>) -> usize {
    cpus.values().copied().fold(0, greatest_common_divisor)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Fills the last node that has memory, where there is another one.
pub(super) fn last_node_full(machine: &Machine) -> Given {
    match machine.seen().nodes_with_memory().count() {
        0 | 1 => skip("there is one node only"),
        _ => {
            let node = last_with_memory(machine);
            without_balancing([Condition::FilledNode { node, left: LEFT }])
        }
    }
}

/// As [`last_node_full`], for cases that many CPUs would only slow down.
pub(super) fn last_node_full_on_two_cpus(machine: &Machine) -> Given {
    match last_node_full(machine) {
        Given::Conditions(mut conditions) => {
            conditions.push(two_cpus(machine));
            Given::Conditions(conditions)
        }
        skipped => skipped,
    }
}

/// Keeps the case to the first CPU and the last, which are of the first node that has some and the last.
///
/// A page that moves interrupts every CPU that the process has run on, and emulation makes that slow.
pub(super) fn two_cpus(machine: &Machine) -> Condition {
    let last = machine.online_cpus.min(machine.cpu_count()) - 1;
    Condition::Affinity { cpus: [0, last].into_iter().collect() }
}

/// Returns bytes that a node surely has no room for: more than all its memory that no process has.
///
/// What the kernel calls free is too little, for CPUs keep free pages aside and caches can shrink.
pub(super) fn too_much_for(node: usize) -> anyhow::Result<usize> {
    // Counts of pages lag behind by what each CPU has not yet added.
    const LAG: u64 = 4 << 20;
    let all = sysfs::node_memory(node, "MemTotal")?;
    let taken = sysfs::node_memory(node, "AnonPages")?;
    Ok((all - taken + LAG).next_multiple_of(PAGE as u64) as usize)
}
