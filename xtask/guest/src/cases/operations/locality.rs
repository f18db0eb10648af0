//! Where memory lies, and that chunks run there.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use firsttouch::topology::affinity;
use firsttouch::{CpuId, Job, Locality, PageInit, PageMigration, Placement, Pool, Region, Steal};
use firsttouch_guest::machine::Machine;

use super::{moving_part, number};
use crate::case::{Case, without_balancing};
use crate::cases::page_init::initialise::{
    PAGE, bytes_by_cpus, count, filled, last_with_memory, only,
};
use crate::condition::Condition;
use crate::read_back::page_nodes;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "locality_has_a_part_for_each_run_of_pages_on_a_node",
        given: |_| without_balancing([]),
        check: exact,
    },
    Case {
        name: "locality_of_interleaved_pages_shares_them_out_in_few_parts",
        given: |_| without_balancing([]),
        check: interleaved,
    },
    Case {
        name: "locality_of_memory_that_threads_touched_has_each_chunk_run_where_it_lies",
        // A huge page would reach into what the next thread touches.
        given: |_| without_balancing([Condition::TransparentHugePages("madvise")]),
        check: touched,
    },
];

/// The parts of a region's words that lie on one node each, by the kernel's word for every page.
fn parts(bytes: &[u8]) -> anyhow::Result<Vec<(usize, usize, usize)>> {
    let mut parts: Vec<(usize, usize, usize)> = Vec::new();
    for (page, node) in page_nodes(bytes)?.into_iter().enumerate() {
        let node = node.with_context(|| format!("page {page} lies nowhere"))?;
        let (start, end) = (page * PAGE / 8, (page + 1) * PAGE / 8);
        match parts.last_mut() {
            Some((last, _, to)) if *last == node => *to = end,
            _ => parts.push((node, start, end)),
        }
    }
    Ok(parts)
}

fn told(locality: &Locality) -> Vec<(usize, usize, usize)> {
    let parts = locality.parts().iter();
    parts.map(|(node, range)| (number(*node), range.start, range.end)).collect()
}

/// Every part is run by threads local to it, and all of it.
fn runs_there(pool: &Pool, locality: &Locality) -> anyhow::Result<()> {
    let job = Job::new(0, locality.len()).location(locality.location()).min_chunk(512);
    let report = job.steal(Steal::Node).run(pool, |_| ())?;
    ensure!(report.local_chunks == report.chunks, "{report:?}");
    let size: usize = report.nodes.iter().map(|row| row.size).sum();
    ensure!(size == locality.len(), "{size} of {} elements", locality.len());
    Ok(())
}

fn exact(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let bytes = bytes_by_cpus(machine) / moving_part(machine);
    let block = 4 * PAGE;
    for placement in [
        Placement::Blocked,
        Placement::Interleaved { block },
        Placement::Nodes(only(last_with_memory(machine))),
    ] {
        let mut region = Region::builder(bytes).build()?;
        PageInit::new(&mut region).placement(placement.clone()).zero(&pool)?;
        let locality = Locality::of(&pool, region.as_slice_of::<u64>())?;
        let (expected, told) = (parts(region.as_slice())?, told(&locality));
        ensure!(told == expected, "{placement:?}: {told:?}; the pages lie so: {expected:?}");
        ensure!(locality.local_share() == 1.0, "{}", locality.local_share());
        runs_there(&pool, &locality).with_context(|| format!("{placement:?}"))?;

        // It follows where the pages go.
        let last = last_with_memory(machine);
        PageMigration::new(&mut region).placement(Placement::Nodes(only(last))).run(&pool)?;
        let moved = Locality::of(&pool, region.as_slice_of::<u64>())?;
        let nodes: Vec<_> = moved.nodes().map(|(node, bytes)| (number(node), bytes)).collect();
        ensure!(nodes == [(last, bytes)], "moved to {last}, found on {nodes:?}");
    }
    Ok(())
}

fn interleaved(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let nodes = filled(machine).len();
    let bytes = nodes * 4096 * PAGE;
    let mut region = Region::builder(bytes).build()?;
    let placement = Placement::Interleaved { block: PAGE };
    PageInit::new(&mut region).placement(placement).zero(&pool)?;
    let found = count(&page_nodes(region.as_slice())?);
    ensure!(found.values().all(|&pages| pages == 4096), "pages lie on {found:?}");
    let locality = Locality::of(&pool, region.as_slice_of::<u64>())?;
    let mut given: BTreeMap<usize, usize> = BTreeMap::new();
    for (node, range) in locality.parts() {
        *given.entry(number(*node)).or_default() += range.len() * 8 / PAGE;
    }
    ensure!(locality.parts().len() <= 1024, "{} parts", locality.parts().len());
    // A granule is a thousandth; no node is more than two of them off its share.
    let even = given.len() == nodes && given.values().all(|pages| pages.abs_diff(4096) <= 32);
    ensure!(even, "nodes were given {given:?} pages of 4096 each");
    if nodes > 1 {
        let share = locality.local_share() * nodes as f64;
        ensure!((0.9..1.1).contains(&share), "{} is said to be local", locality.local_share());
    }
    runs_there(&pool, &locality)
}

/// Memory of the allocator's, touched by threads on one node after the other.
fn touched(machine: &Machine) -> anyhow::Result<()> {
    const WORDS: usize = 1 << 20;
    let seen = machine.seen();
    let homes: Vec<(usize, u32)> = filled(machine)
        .into_keys()
        .filter_map(|node| Some((node, seen.online_cpus_of(node).next()?)))
        .collect();
    let mut words: Vec<u64> = Vec::new();
    let before = affinity::current()?;
    for (index, (_, cpu)) in homes.iter().enumerate() {
        affinity::set_current(&[CpuId::new(*cpu)].into_iter().collect())?;
        // The allocator itself writes to the first page.
        words.reserve_exact(WORDS - words.len());
        words.resize(WORDS * (index + 1) / homes.len(), index as u64 + 1);
    }
    affinity::set_current(&before)?;
    let pool = Pool::new()?;
    let locality = Locality::of(&pool, &words)?;
    let nodes: Vec<_> = locality.parts().iter().map(|(node, _)| number(*node)).collect();
    let expected: Vec<_> = homes.iter().map(|(node, _)| *node).collect();
    ensure!(nodes == expected, "parts on {nodes:?}; touched on {expected:?}");
    for (index, (_, range)) in locality.parts().iter().enumerate() {
        // The page across a boundary is the first toucher's.
        let end = WORDS * (index + 1) / homes.len();
        ensure!(range.end.abs_diff(end) < PAGE / 8, "part {index} is {range:?}; up to {end}");
    }
    runs_there(&pool, &locality)
}
