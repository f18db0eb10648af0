//! Helpers without work take that of near nodes before that of far ones.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use firsttouch::{NodeId, Pool};
use firsttouch_guest::machine::Machine;

use super::{helpers_of, nodes_of, number};
use crate::case::{Case, as_booted, skip};

pub(in crate::cases) const CASES: &[Case] = &[Case {
    name: "a_helper_takes_from_near_nodes_before_far_ones",
    given: |machine| match machine.seen().nodes_with_cpus().count() {
        0 | 1 => skip("there is no other node to take from"),
        _ => as_booted(machine),
    },
    check: near_before_far,
}];

/// Jobs on each node that a lone thief is left with.
const JOBS: usize = 5;

/// A helper that has not come by then never comes; emulation is slow, so this is far from what any needs.
const LIMIT: Duration = Duration::from_secs(60);

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
