//! Nothing of ours runs on a CPU, or allocates on a node, that the process may not use.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{anyhow, ensure};
use firsttouch::{
    CpuSet, Helper, Job, Location, PageInit, Pin, Pinned, Placement, PolicyUse, Pool, Region,
};
use firsttouch_guest::machine::Machine;

use crate::case::{Case, Given, skip};
use crate::cases::confinement::{Part, part};
use crate::condition::{Answer, Call, Condition, Version, cpuset_v1_is_missing};
use crate::events::Events;
use crate::read_back::pages_by_node;
use crate::{numa_maps, threads};

pub(in crate::cases) const CASES: &[Case] = &[
    Case {
        name: "no_thread_and_no_page_leaves_a_cpuset",
        given: |machine| cpuset(Version::V2, part(machine)),
        check: |machine| stays_in(&part(machine)),
    },
    Case {
        name: "no_thread_and_no_page_leaves_a_version_1_cpuset",
        given: |machine| match cpuset_v1_is_missing() {
            true => skip("its kernel has no version 1 of cpusets"),
            false => cpuset(Version::V1, part(machine)),
        },
        check: |machine| stays_in(&part(machine)),
    },
    Case {
        name: "no_page_leaves_the_nodes_of_a_cpuset_with_every_cpu",
        given: |machine| match machine.seen().nodes_with_memory().count() {
            0 | 1 => skip("there is no node to keep away from"),
            _ => cpuset(Version::V2, far_memory(machine)),
        },
        check: |machine| stays_in(&far_memory(machine)),
    },
    Case {
        name: "no_thread_leaves_the_cpus_of_taskset",
        given: |machine| Given::Conditions(vec![Condition::Affinity { cpus: part(machine).cpus }]),
        check: |machine| {
            // Every node may be used, for nothing says otherwise.
            let nodes = machine.seen().nodes_with_memory().collect();
            stays_in(&Part { nodes, ..part(machine) })
        },
    },
    Case {
        name: "helpers_that_cannot_be_pinned_to_cpus_say_so_and_work",
        given: |_| {
            let (call, answer) = (Call::SchedSetaffinity, Answer::NotAllowed);
            Given::Conditions(vec![Condition::Filtered { call, answer }])
        },
        check: |_| {
            let pool = Pool::builder().pin(Pin::Cpu).build()?;
            let pinned: Vec<_> = pool.helpers().iter().map(|helper| helper.pinned).collect();
            let refused = pinned.iter().all(|pinned| *pinned == Pinned::Refused);
            ensure!(refused, "sched_setaffinity is filtered, and helpers are {pinned:?}");
            work(&pool)
        },
    },
    Case {
        name: "a_pool_and_its_jobs_work_where_policies_are_refused",
        given: |_| {
            let (call, answer) = (Call::Mbind, Answer::NotAllowed);
            Given::Conditions(vec![Condition::Filtered { call, answer }])
        },
        check: without_policies,
    },
];

fn cpuset(version: Version, part: Part) -> Given {
    let Part { cpus, nodes } = part;
    Given::Conditions(vec![Condition::Cpuset { version, cpus, nodes }])
}

/// Every CPU, and the memory of the last node that has some.
fn far_memory(machine: &Machine) -> Part {
    let machine = machine.seen();
    let cpus = (0..machine.online_cpus).collect();
    Part { cpus, nodes: machine.nodes_with_memory().last().into_iter().collect() }
}

fn stays_in(part: &Part) -> anyhow::Result<()> {
    let watch = Watch::start();
    for pin in [Pin::Node, Pin::Cpu, Pin::None] {
        let pool = Pool::builder().pin(pin).build()?;
        let regions = [Placement::Blocked, Placement::BlockedByMemory].map(|placement| {
            let mut region = Region::builder(4 << 20).build()?;
            PageInit::new(&mut region).placement(placement).fill(&pool, 7_u8)?;
            anyhow::Ok(region)
        });
        work(&pool)?;
        for region in regions {
            let region = region?;
            let found: BTreeSet<_> = pages_by_node(region.as_slice())?.into_keys().collect();
            ensure!(found.is_subset(&part.nodes), "a region has pages on nodes {found:?}");
        }
        // While the pool lives: helpers' stacks, queues and boards are among these.
        for mapping in numa_maps::own()? {
            let inside = mapping.pages.keys().all(|node| part.nodes.contains(node));
            ensure!(inside, "only nodes {:?} may be used: {}", part.nodes, mapping.line);
        }
    }
    let seen = watch.stop()?;
    ensure!(seen.cpus.is_subset(&part.cpus), "threads ran on CPUs {:?}", seen.cpus);
    ensure!(seen.allowed.is_subset(&part.cpus), "threads may run on CPUs {:?}", seen.allowed);
    let helpers = part.cpus.len();
    ensure!(seen.helpers.len() == helpers, "of {helpers} helpers there were {:?}", seen.helpers);
    Ok(())
}

/// A pool needs no policy, and a job without one says that its cursors lie anywhere.
fn without_policies(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let pinned = |helper: &Helper| matches!(helper.pinned, Pinned::Node(_));
    ensure!(pool.helpers().iter().all(pinned), "only mbind is filtered: {:?}", pool.helpers());
    let events = Events::listen()?;
    work(&pool)?;
    let events = events.take("error");
    ensure!(events.is_empty(), "a pool and its jobs ask for no policy, and events say {events:?}");
    // Where there is but one node, nobody asks.
    let needed = machine.seen().nodes_with_memory().count() > 1;
    let mut region = Region::builder(4 << 20).build()?;
    let report = PageInit::new(&mut region).fill(&pool, 7_u8)?;
    let expected = if needed { PolicyUse::Refused } else { PolicyUse::NotNeeded };
    ensure!(report.policy == expected, "pages were placed by {:?}", report.policy);
    ensure!(region.as_slice().iter().all(|&byte| byte == 7), "a byte is missing");
    Ok(())
}

/// Gives every helper something to do, in everything that a pool can run.
fn work(pool: &Pool) -> anyhow::Result<()> {
    let compute = || threads::compute(100_000);
    let sum = AtomicU64::new(0);
    for _ in 0..4 {
        pool.broadcast(|_| compute());
        pool.join(compute, || pool.join(compute, compute));
        let tasks = 4 * pool.helpers().len();
        pool.scope(|scope| (0..tasks).for_each(|_| scope.spawn(|_| compute())));
        let job = Job::new(0, 1 << 12).min_chunk(16).location(Location::Spread);
        job.run(pool, |chunk| {
            sum.fetch_add(chunk.range().sum::<usize>() as u64, Ordering::Relaxed);
        })?;
    }
    let (sum, expected) = (sum.into_inner(), 4 * (1 << 11) * ((1 << 12) - 1));
    ensure!(sum == expected, "the sum is {sum}, not {expected}");
    Ok(())
}

/// A thread that looks again and again where all threads of this process are.
#[derive(Debug)]
struct Watch {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<anyhow::Result<Seen>>,
}

/// What a watch has seen.
#[derive(Debug, Default)]
struct Seen {
    /// The CPUs that threads were on.
    cpus: BTreeSet<u32>,
    /// The CPUs that threads might have been on.
    allowed: BTreeSet<u32>,
    /// The names of helpers.
    helpers: BTreeSet<String>,
}

impl Watch {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watch = move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                seen.look()?;
                thread::yield_now();
            }
            Ok(seen)
        };
        Self { stop, thread: thread::spawn(watch) }
    }

    fn stop(self) -> anyhow::Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watch panicked"))?
    }
}

impl Seen {
    fn look(&mut self) -> anyhow::Result<()> {
        let threads = threads::all()?;
        for thread in threads {
            self.cpus.insert(thread.cpu);
            let allowed: CpuSet = thread.allowed.parse()?;
            self.allowed.extend(allowed.iter().map(u32::from));
            if thread.name.starts_with("firsttouch-") {
                self.helpers.insert(thread.name);
            }
        }
        Ok(())
    }
}
