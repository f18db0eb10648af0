//! Helpers without work take that of near nodes before that of far ones.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use firsttouch::{NodeId, Pool, Team};
use firsttouch_guest::machine::Machine;

use super::{helpers_of, nodes_of, number};
use crate::case::{Case, as_booted, skip};
use crate::threads;

pub(in crate::cases) const CASES: &[Case] = &[
    Case {
        name: "a_helper_takes_from_near_nodes_before_far_ones",
        given: |machine| match machine.seen().nodes_with_cpus().count() {
            0 | 1 => skip("there is no other node to take from"),
            _ => as_booted(machine),
        },
        check: near_before_far,
    },
    Case {
        name: "steals_from_one_node_fall_with_distance",
        given: |machine| match distances_from_first(machine).len() {
            0..=2 => skip("all other nodes are equally far"),
            _ => as_booted(machine),
        },
        check: fall_with_distance,
    },
];

/// Jobs on each node that a lone thief is left with.
const JOBS: usize = 5;

/// A helper that has not come by then never comes; emulation is slow, so this is far from what any needs.
const LIMIT: Duration = Duration::from_secs(60);

/// How often jobs wait for helpers, at least.
const ROUNDS: usize = 70;

/// The distances from the first node to nodes with CPUs, ascending, each with its helpers.
fn distances_from_first(machine: &Machine) -> BTreeMap<u32, usize> {
    let machine = machine.seen();
    let mut helpers = BTreeMap::new();
    for node in machine.nodes_with_cpus() {
        *helpers.entry(machine.distance(0, node)).or_default() +=
            machine.online_cpus_of(node).count();
    }
    helpers
}

/// Leaves one helper alone with the jobs of all nodes, and looks in which order it takes them.
fn near_before_far(machine: &Machine) -> anyhow::Result<()> {
    let pool = Arc::new(Pool::builder().helpers_per_node(NonZeroUsize::MIN).build()?);
    let nodes = nodes_of(&pool);
    for &thief in &nodes {
        let before = pool.counters();
        let taken = taken_by(&pool, thief)?;
        let expected = (nodes.len() - 1) * JOBS;
        ensure!(taken.len() == expected, "{} of {expected} jobs were run", taken.len());
        let stranger = taken.iter().find(|(_, by)| *by != thief);
        ensure!(stranger.is_none(), "only node {thief} was free: {taken:?}");
        let far = |node: NodeId| machine.seen().distance(number(thief), number(node));
        let order: Vec<_> = taken.iter().map(|&(from, _)| (number(from), far(from))).collect();
        let ascends = order.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        ensure!(ascends, "node {thief} took from (node, distance) {order:?}");

        let helper = helpers_of(&pool, thief).next().context("a node without helpers")?.index;
        for (now, before) in pool.counters()[helper].stolen.iter().zip(&before[helper].stolen) {
            let counted = now.1 - before.1;
            let expected = if now.0 == thief { 0 } else { JOBS as u64 };
            ensure!(counted == expected, "from node {}: {expected} jobs, not {counted}", now.0);
        }
    }
    Ok(())
}

/// Keeps every node but one busy, each with jobs in its queue; returns where each job was queued and who ran it.
fn taken_by(pool: &Arc<Pool>, thief: NodeId) -> anyhow::Result<Vec<(NodeId, NodeId)>> {
    let others = pool.helpers().len() - 1;
    let taken = Arc::new(Mutex::new(Vec::new()));
    // Nobody may queue while somebody still looks for work elsewhere.
    let here = Barrier::new(others + 1);
    let queued = Barrier::new(others + 1);
    let (over, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let left = Arc::new(AtomicUsize::new(others * JOBS));
    pool.broadcast(|member| {
        let node = member.helper().map_or(thief, |helper| helper.node);
        here.wait();
        if node == thief {
            // From here on it looks for work as any helper does.
            queued.wait();
            return;
        }
        for _ in 0..JOBS {
            let (pool, taken) = (Arc::downgrade(pool), Arc::clone(&taken));
            let (left, over) = (Arc::clone(&left), over.clone());
            member_spawn(&pool, move |by| {
                taken.lock().expect("nobody panics with the lock").push((node, by));
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    // A helper that gave up its wait is missed below.
                    (0..others).for_each(|_| over.send(()).unwrap_or_default());
                }
            });
        }
        queued.wait();
        // Blocks the thread, as work that computes would.
        let wait = wait.lock().expect("nobody panics with the lock");
        let _ = wait.recv_timeout(LIMIT);
    });
    let taken = taken.lock().expect("nobody panics with the lock").clone();
    Ok(taken)
}

/// Spawns a task that learns which node's helper runs it.
fn member_spawn(pool: &std::sync::Weak<Pool>, task: impl FnOnce(NodeId) + Send + 'static) {
    let Some(strong) = pool.upgrade() else { return };
    let weak = pool.clone();
    strong.spawn(move || {
        let by = weak.upgrade().and_then(|pool| Some(pool.current_helper()?.node));
        task(by.expect("a helper runs it while the pool lives"));
    });
}

/// Queues work on one node, more each time, while every helper sleeps; counts who ran it by distance.
fn fall_with_distance(machine: &Machine) -> anyhow::Result<()> {
    let pool = Arc::new(Pool::new()?);
    let source = nodes_of(&pool)[0];
    let classes = distances_from_first(machine);
    let mut counts: BTreeMap<u32, usize> = classes.keys().map(|&far| (far, 0)).collect();
    // Work for all but those farthest away, without the helper that queues it.
    let most: usize = classes.values().rev().skip(1).sum::<usize>() - 1;
    // The fewer jobs, the more often: more helpers are woken than there are jobs, for whoever
    // comes and still sees work wakes another.
    let weights: usize = (1..=most).sum();
    let each = ROUNDS.div_ceil(weights);
    let rounds = (1..=most).flat_map(|jobs| {
        let often = each * (most + 1 - jobs);
        std::iter::repeat_n(jobs, often)
    });
    for jobs in rounds {
        for node in runners(&pool, source, jobs)? {
            let far = machine.seen().distance(number(source), number(node));
            *counts.entry(far).or_default() += 1;
        }
    }
    // Per helper: a distance at which there are more nodes is no nearer for it.
    let of_helper = |(&far, &count): (&u32, &usize)| {
        let helpers = classes[&far] - usize::from(far == 10);
        (far, count as f64 / helpers as f64)
    };
    let rates: Vec<_> = counts.iter().map(of_helper).collect();
    crate::say(&format!("jobs by distance {counts:?}; for each helper {rates:?}"));
    let falls = rates.windows(2).all(|pair| pair[0].1 > pair[1].1);
    ensure!(falls, "by distance, each helper ran {rates:?} jobs ({counts:?})");
    Ok(())
}

/// Has a helper queue jobs on its node, of which each lasts until all have begun; returns the nodes of those who ran them.
fn runners(pool: &Arc<Pool>, source: NodeId, jobs: usize) -> anyhow::Result<Vec<NodeId>> {
    threads::wait_until_helpers_sleep()?;
    let begun = Arc::new(Begun::default());
    pool.run(&Team::new().require(source, 1).keep_caller(false), |member| {
        if member.is_caller() {
            return;
        }
        for _ in 0..jobs {
            let begun = Arc::clone(&begun);
            member_spawn(&Arc::downgrade(pool), move |by| begun.wait_for_others(by, jobs));
        }
        begun.wait_for(jobs);
    });
    let ran = begun.by.lock().expect("nobody panics with the lock").clone();
    if ran.len() < jobs {
        for thread in threads::all()? {
            crate::say(&format!("{thread:?}"));
        }
    }
    ensure!(ran.len() == jobs, "{jobs} jobs wait for helpers; only {ran:?} came");
    Ok(ran)
}

/// The jobs that have begun, by the node of whoever runs them.
#[derive(Debug, Default)]
struct Begun {
    by: Mutex<Vec<NodeId>>,
    another: Condvar,
}

impl Begun {
    /// Begins a job, which lasts until all have begun.
    fn wait_for_others(&self, by: NodeId, jobs: usize) {
        self.by.lock().expect("nobody panics with the lock").push(by);
        self.another.notify_all();
        self.wait_for(jobs);
    }

    /// Waits until so many jobs have begun, or far too long.
    fn wait_for(&self, jobs: usize) {
        let by = self.by.lock().expect("nobody panics with the lock");
        let missing = |by: &mut Vec<NodeId>| by.len() < jobs;
        drop(self.another.wait_timeout_while(by, LIMIT, missing));
    }
}
