//! CPUs go offline and come back while a pool runs: the work goes on, and the report says who moved.
//!
//! The kernel gives a thread whose every CPU is gone the CPUs that are left.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, anyhow, ensure};
use firsttouch::{
    Chunk, Helper, InitReport, Job, JobReport, Location, NodeId, PageInit, Pin, Pinned, Pool,
    Region, Steal,
};
use firsttouch_guest::machine::Machine;

use super::{cpus_of, number};
use crate::case::{Case, Given, skip};
use crate::condition::Condition;
use crate::events::Events;
use crate::{hotplug, threads};

pub(in crate::cases) const CASES: &[Case] = &[
    Case {
        name: "a_pool_works_on_while_a_cpu_goes_offline_and_comes_back",
        given: |machine| hotplug_of(&last_cpu(machine)),
        check: |machine| works_on(&last_cpu(machine)),
    },
    Case {
        name: "a_pool_works_on_while_a_nodes_cpus_go_offline_and_come_back",
        given: |machine| hotplug_of(&last_node(machine)),
        check: |machine| works_on(&last_node(machine)),
    },
    Case {
        name: "a_report_says_whom_the_kernel_moved_and_who_came_back",
        given: |machine| match machine.seen().nodes_with_cpus().count() {
            0 | 1 => skip("there is no other node to be moved to"),
            _ => hotplug_of(&last_node(machine)),
        },
        check: says_who_moved,
    },
];

const PAGE: u64 = 4096;
const BYTES: usize = 4 << 20;
const UNITS: usize = 1 << 14;

/// The CPU with the highest number of those online.
fn last_cpu(machine: &Machine) -> BTreeSet<u32> {
    (1..machine.online_cpus).last().into_iter().collect()
}

/// The CPUs of the last node that has some online, but for the one that booted.
fn last_node(machine: &Machine) -> BTreeSet<u32> {
    let machine = machine.seen();
    let node = |cpu| machine.nodes.iter().position(|node| node.cpus.contains(&cpu));
    let last = node(machine.online_cpus - 1);
    let cpus = last.into_iter().flat_map(|node| machine.online_cpus_of(node));
    cpus.filter(|&cpu| cpu != 0).collect()
}

fn hotplug_of(cpus: &BTreeSet<u32>) -> Given {
    match cpus.iter().find(|&&cpu| !std::path::Path::new(&hotplug::switch(cpu)).exists()) {
        Some(cpu) => skip(format!("its kernel does not take CPU {cpu} offline")),
        None if cpus.is_empty() => skip("there is no CPU to go on with"),
        None => Given::Conditions(vec![Condition::CpusComeBack]),
    }
}

/// Starts a pool for each way to pin helpers.
fn pools() -> anyhow::Result<[Pool; 2]> {
    let pool = |pin| Pool::builder().pin(pin).build();
    Ok([pool(Pin::Node)?, pool(Pin::Cpu)?])
}

fn works_on(cpus: &BTreeSet<u32>) -> anyhow::Result<()> {
    let pools = pools()?;
    let (rounds, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    // A round that ran across the change, and one that began after it.
    let let_work = || {
        let until = rounds.load(Ordering::Acquire) + 2;
        while rounds.load(Ordering::Acquire) < until && !over.load(Ordering::Acquire) {
            thread::yield_now();
        }
    };
    let switch = || {
        cpus.iter().copied().try_for_each(hotplug::take_offline)?;
        let_work();
        cpus.iter().copied().try_for_each(hotplug::bring_back)?;
        let_work();
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let switching = scope.spawn(switch);
        while !switching.is_finished() {
            if let Err(error) = pools.iter().try_for_each(round) {
                over.store(true, Ordering::Release);
                return Err(error);
            }
            rounds.fetch_add(1, Ordering::Release);
        }
        switching.join().map_err(|_| anyhow!("the thread that switches CPUs panicked"))?
    })
}

/// Runs a little of everything, and makes sure that nothing is lost.
fn round(pool: &Pool) -> anyhow::Result<()> {
    let expected = UNITS * (UNITS - 1) / 2;
    let came = pool.broadcast(|member| member.index());
    ensure!(came.iter().copied().eq(0..pool.helpers().len()), "{came:?} took part");
    let sum = tree_sum(pool, 0, UNITS);
    ensure!(sum == expected, "pairs of closures sum to {sum}, not {expected}");
    let tasks = AtomicUsize::new(0);
    pool.scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|_| {
                tasks.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    ensure!(tasks.into_inner() == 100, "a scope has lost a task");
    for steal in [Steal::Anywhere, Steal::Node] {
        let sum = AtomicUsize::new(0);
        let job = Job::new(0, UNITS).min_chunk(64).location(Location::Spread).steal(steal);
        let report = job.run(pool, |chunk| {
            sum.fetch_add(chunk.range().sum(), Ordering::Relaxed);
        })?;
        let sum = sum.into_inner();
        ensure!(sum == expected, "a job sums to {sum}, not {expected}: {report:?}");
    }
    let mut region = Region::builder(BYTES / 4).build()?;
    let write = |first, elements: &mut [u32]| {
        elements.iter_mut().zip(first as u32..).for_each(|(element, index)| *element = index);
    };
    let report = PageInit::new(&mut region).min_chunk(64 << 10).fill_with(pool, write)?;
    ensure!(region.as_slice_of::<u32>().iter().copied().eq(0..(BYTES / 16) as u32));
    let pages = report.pages.context("nothing was read back")?;
    // However threads moved, the policy has placed.
    ensure!(pages.placed == pages.total(), "{} of {} pages", pages.placed, pages.total());
    Ok(())
}

fn tree_sum(pool: &Pool, from: usize, to: usize) -> usize {
    if to - from <= 256 {
        return (from..to).sum();
    }
    let middle = from + (to - from) / 2;
    let (left, right) = pool.join(|| tree_sum(pool, from, middle), || tree_sum(pool, middle, to));
    left + right
}

fn says_who_moved(machine: &Machine) -> anyhow::Result<()> {
    let pools = pools()?;
    // The caller would be moved too, and take chunks of its own.
    threads::keep_to([0])?;
    let events = Events::listen()?;
    let gone = last_node(machine);
    let cpu = gone.iter().next().copied().context("no CPU is to go")?;
    let node = pools[0].topology().node_of_cpu(cpu.into()).context("no node has the CPU")?;
    let mut masks = Vec::new();
    for pool in &pools {
        nobody_is_away(machine, pool, &events)?;
        masks.push(helpers_masks(pool)?);
    }

    gone.iter().copied().try_for_each(hotplug::take_offline)?;
    for pool in &pools {
        let Observed { report, .. } = Observed::of(machine, pool, &events)?;
        ensure!(report.moved_helpers > 0, "node {node} has no CPU: {report:?}");
        for row in &report.nodes {
            let local = if row.node == Some(node) { 0 } else { row.chunks };
            ensure!(row.local_chunks == local, "node {node} has no CPU: {row:?}");
        }
        page_init_says_so(pool, node)?;
        // Who has not been woken meanwhile need not have been moved, or know that it was.
        threads::wait_until_helpers_sleep()?;
        pool.broadcast(|_| ());
    }
    threads::wait_until_helpers_sleep()?;

    gone.iter().copied().try_for_each(hotplug::bring_back)?;
    for (pool, before) in pools.iter().zip(masks) {
        nobody_is_away(machine, pool, &events)?;
        let masks = helpers_masks(pool)?;
        ensure!(masks == before, "helpers may run on CPUs {masks:?}, not {before:?}");
    }
    Ok(())
}

/// Runs a job of which every chunk is to be local.
fn nobody_is_away(machine: &Machine, pool: &Pool, events: &Events) -> anyhow::Result<()> {
    let Observed { report, .. } = Observed::of(machine, pool, events)?;
    ensure!(report.moved_helpers == 0, "all CPUs are there: {report:?}");
    ensure!(report.local_chunks == report.chunks, "all CPUs are there: {report:?}");
    Ok(())
}

/// Returns the CPUs that each helper may run on.
fn helpers_masks(pool: &Pool) -> anyhow::Result<Vec<BTreeSet<u32>>> {
    pool.broadcast(|_| threads::mask()).into_iter().collect()
}

/// Makes sure that a page initialisation places its pages all the same, and says who touched them.
fn page_init_says_so(pool: &Pool, without_cpus: NodeId) -> anyhow::Result<()> {
    let mut region = Region::builder(BYTES).build()?;
    let report: InitReport = PageInit::new(&mut region).min_chunk(64 << 10).zero(pool)?;
    let pages = report.pages.as_ref().context("nothing was read back")?;
    ensure!(pages.placed == pages.total(), "the policy has placed {} pages", pages.placed);
    // A node without memory has no part, and its helpers none to initialise.
    let has_part = report.nodes.iter().any(|row| row.node == Some(without_cpus));
    let local = report.nodes.iter().filter(|row| row.node != Some(without_cpus));
    let local: u64 = local.map(|row| row.size as u64 / PAGE).sum();
    ensure!(pages.local == local, "{} pages are local, not {local}", pages.local);
    ensure!((report.moved_helpers > 0) == has_part, "{report:?}");
    Ok(())
}

/// A job, and what its chunks say.
#[derive(Debug)]
struct Observed {
    report: JobReport,
    chunks: Vec<(Chunk, Option<Helper>)>,
    /// The helpers that events say have moved.
    told: BTreeSet<usize>,
}

impl Observed {
    /// Runs a job of which each node's helpers run their own part, and makes sure that what is said of it is so.
    fn of(machine: &Machine, pool: &Pool, events: &Events) -> anyhow::Result<Self> {
        drop(events.take(""));
        let chunks = Mutex::new(Vec::new());
        let job = Job::new(0, UNITS).min_chunk(64).location(Location::Spread);
        let report = job.steal(Steal::Node).run(pool, |chunk| {
            let helper = pool.current_helper().cloned();
            chunks.lock().expect("nobody panics with the lock").push((chunk.clone(), helper));
            thread::yield_now();
        })?;
        let chunks = chunks.into_inner().expect("nobody panicked with the lock");
        let told = events.take("pinned");
        let told = told.iter().map(|event| Ok(event.get("helper").context("whose?")?.parse()?));
        let told = told.collect::<anyhow::Result<_>>()?;
        let observed = Self { report, chunks, told };
        observed.is_told_truly(machine)?;
        Ok(observed)
    }

    /// Makes sure that chunks, report and events agree with each other and with the machine.
    fn is_told_truly(&self, machine: &Machine) -> anyhow::Result<()> {
        let online = hotplug::online()?;
        let mut moved = BTreeSet::new();
        for (chunk, helper) in &self.chunks {
            let cpu = u32::from(chunk.cpu);
            ensure!(online.contains(&cpu), "{chunk:?}, and CPUs {online:?} are online");
            let right = chunk.cpu_node.is_some_and(|node| cpus_of(machine, node).contains(&cpu));
            ensure!(right, "the CPU is of another node: {chunk:?}");
            ensure!(chunk.local == (chunk.cpu_node == chunk.node), "{chunk:?}");
            let Some(helper) = helper else { continue };
            let stayed = match helper.pinned {
                Pinned::Cpu(cpu) => cpu == chunk.cpu,
                Pinned::Node(node) => Some(node) == chunk.cpu_node,
                _ => true,
            };
            if !stayed {
                moved.insert(helper.index);
            }
        }
        let local = self.chunks.iter().filter(|(chunk, _)| chunk.local).count();
        let report = &self.report;
        ensure!(report.chunks == self.chunks.len(), "{} chunks: {report:?}", self.chunks.len());
        ensure!(report.local_chunks == local, "{local} chunks were local: {report:?}");
        ensure!(report.moved_helpers == moved.len(), "{moved:?} have moved: {report:?}");
        ensure!(self.told == moved, "events say that {:?} have moved, not {moved:?}", self.told);
        for row in &report.nodes {
            let of_node = || self.chunks.iter().filter(|(chunk, _)| chunk.node == row.node);
            let local = of_node().filter(|(chunk, _)| chunk.local).count();
            let right = (row.chunks, row.local_chunks) == (of_node().count(), local);
            ensure!(right, "{local} of {} chunks were local: {row:?}", of_node().count());
        }
        let node = |row: &firsttouch::NodeReport| row.node.map(number);
        let nodes: Vec<_> = report.nodes.iter().map(node).collect();
        ensure!(nodes.iter().all(Option::is_some), "parts of no node: {nodes:?}");
        Ok(())
    }
}
