//! One initialisation, with what the kernel says came of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use firsttouch::{InitReport, NodeId, NodeSet, PageInit, PageSize, Pool, Region};
use firsttouch_guest::machine::Machine;

use crate::left_behind;
use crate::read_back::page_nodes;

pub(in crate::cases) const PAGE: usize = 4096;

/// What each CPU's share of a region is: a whole number of huge pages.
pub(in crate::cases) const BYTES_PER_CPU: usize = 2 << 20;

/// What came of an initialisation.
#[derive(Debug)]
pub(super) struct Initialised {
    /// What the library says.
    pub(super) report: InitReport,
    /// The node of each base page, in order, as the kernel says.
    pub(super) nodes: Vec<Option<usize>>,
}

impl Initialised {
    /// Counts the base pages on each node.
    pub(super) fn pages(&self) -> BTreeMap<usize, u64> {
        count(&self.nodes)
    }

    /// Makes sure that the report counts every page as placed, and as local.
    pub(super) fn all_placed_and_local(&self) -> anyhow::Result<()> {
        let pages = self.report.pages.as_ref().context("nothing was read back")?;
        ensure!(
            pages.placed == pages.total() && pages.local == pages.total(),
            "of {} pages {} are placed and {} local: {:?}",
            pages.total(),
            pages.placed,
            pages.local,
            self.report,
        );
        Ok(())
    }
}

/// Initialises a region as `ask` says; the report must say what the kernel says, and nothing may be left behind.
pub(super) fn initialise(
    bytes: usize,
    size: PageSize,
    ask: impl for<'r> FnOnce(PageInit<'r>) -> PageInit<'r>,
) -> anyhow::Result<Initialised> {
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let mut region = Region::builder(bytes).page_size(size).build()?;
        let report = ask(PageInit::new(&mut region)).zero(&pool)?;
        // Not before: of huge pages it would be a view, and the region no longer fresh.
        let address = region.as_ptr() as usize;
        let nodes = page_nodes(region.as_slice())?;
        // Pages come with their contents wherever the library says that they do.
        let provided = if size == PageSize::Transparent { 0 } else { bytes };
        ensure!(report.provided == provided, "{} of {provided} bytes came so", report.provided);
        let found = count(&nodes);
        let pages = report.pages.as_ref().context("nothing was read back")?;
        let residency = pages.residency.nodes();
        let told: BTreeMap<_, _> = residency.map(|(node, pages)| (number(node), pages)).collect();
        ensure!(found == told, "the kernel says {found:?}; the report says {told:?}");
        Ok((Initialised { report, nodes }, vec![address]))
    })
}

/// The nodes that a blocked placement fills, with how many CPUs each has: those that have both.
pub(in crate::cases) fn filled(machine: &Machine) -> BTreeMap<usize, usize> {
    let machine = machine.seen();
    let nodes = machine.nodes_with_memory();
    let nodes = nodes.map(|node| (node, machine.online_cpus_of(node).count()));
    nodes.filter(|&(_, cpus)| cpus > 0).collect()
}

/// The base pages of each node where every CPU has an equal share.
pub(in crate::cases) fn pages_by_cpus(machine: &Machine) -> BTreeMap<usize, u64> {
    let share = |(node, cpus)| (node, (cpus * BYTES_PER_CPU / PAGE) as u64);
    filled(machine).into_iter().map(share).collect()
}

/// The bytes of a region in which every CPU has an equal share.
pub(in crate::cases) fn bytes_by_cpus(machine: &Machine) -> usize {
    filled(machine).values().sum::<usize>() * BYTES_PER_CPU
}

pub(in crate::cases) fn count(nodes: &[Option<usize>]) -> BTreeMap<usize, u64> {
    let mut counts = BTreeMap::new();
    for node in nodes.iter().flatten() {
        *counts.entry(*node).or_default() += 1;
    }
    counts
}

pub(in crate::cases) fn number(node: NodeId) -> usize {
    node.os_index() as usize
}

pub(in crate::cases) fn id(node: usize) -> NodeId {
    NodeId::new(node as u32)
}

/// A set of one node.
pub(in crate::cases) fn only(node: usize) -> NodeSet {
    [id(node)].into_iter().collect()
}

/// The last node that has memory.
pub(in crate::cases) fn last_with_memory(machine: &Machine) -> usize {
    machine.seen().nodes_with_memory().last().unwrap_or_default()
}
