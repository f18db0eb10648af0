//! Tasks run on the nodes that they are queued on, and on no node that is not allowed to take them.

use std::sync::Mutex;

use anyhow::{Context as _, ensure};
use firsttouch::{NodeId, Pool, Scope, ScopeOptions, Steal, Team};
use firsttouch_guest::machine::Machine;

use super::{cpus_of, nodes_of, number};
use crate::case::{Case, as_booted, skip};
use crate::threads;

pub(in crate::cases) const CASES: &[Case] = &[
    Case {
        name: "a_pool_restricted_to_its_nodes_runs_every_task_on_its_node",
        given: |machine| on_several(machine, 2),
        check: |machine| {
            let pool = Pool::builder().steal(Steal::Node).build()?;
            let counts = spread(machine, &pool, &ScopeOptions::new())?;
            ensure!(counts[1..] == [0, 0], "(own, near, far) nodes ran {counts:?} tasks");
            no_steals_beyond(machine, &pool, |far, _| far == 10)
        },
    },
    Case {
        name: "a_scope_restricted_to_its_node_runs_every_task_there",
        given: |machine| on_several(machine, 2),
        check: |machine| {
            let pool = Pool::new()?;
            let strict = ScopeOptions::new().steal(Steal::Node);
            let counts = spread(machine, &pool, &strict)?;
            ensure!(counts[1..] == [0, 0], "(own, near, far) nodes ran {counts:?} tasks");
            no_steals_beyond(machine, &pool, |far, _| far == 10)
        },
    },
    Case {
        name: "a_scope_restricted_to_near_nodes_reaches_neighbours_and_no_far_node",
        given: |machine| on_several(machine, 3),
        check: |machine| {
            let pool = Pool::new()?;
            let near = ScopeOptions::new().steal(Steal::Near);
            let counts = spread(machine, &pool, &near)?;
            crate::say(&format!("tasks by (own, near, far) node: {counts:?}"));
            ensure!(counts[1] > 0, "no neighbour took any of {} tasks", counts[0]);
            ensure!(counts[2] == 0, "(own, near, far) nodes ran {counts:?} tasks");
            no_steals_beyond(machine, &pool, |far, near| far <= near)
        },
    },
    Case {
        name: "what_is_queued_on_a_node_by_name_runs_there",
        given: |machine| on_several(machine, 2),
        check: by_name,
    },
];

/// Single tasks queued on each node, one after the other.
const TRIES: usize = 6;

/// Jobs in each scope; each spawns and joins more.
const TASKS: usize = 24;

fn on_several(machine: &Machine, distances: usize) -> crate::case::Given {
    let seen = machine.seen();
    let far = seen.nodes_with_cpus().map(|node| seen.distance(0, node));
    let far: std::collections::BTreeSet<_> = far.collect();
    match far.len() {
        found if found < distances => skip("all other nodes are equally far, or there is none"),
        _ => as_booted(machine),
    }
}

/// The least distance from a node to another that has CPUs.
fn nearest(machine: &Machine, from: NodeId) -> Option<u32> {
    let machine = machine.seen();
    let others = machine.nodes_with_cpus().filter(|&node| node != number(from));
    others.map(|node| machine.distance(number(from), node)).min()
}

/// Returns the node that the calling thread is on, by the CPU that the kernel names.
fn observed(machine: &Machine) -> Option<usize> {
    let (cpu, machine) = (threads::cpu(), machine.seen());
    machine.nodes.iter().position(|node| node.cpus.contains(&cpu))
}

/// Opens a scope on a helper of each node, and counts the tasks that ran on that node, on a nearest other, and elsewhere.
fn spread(machine: &Machine, pool: &Pool, options: &ScopeOptions) -> anyhow::Result<[usize; 3]> {
    let mut counts = [0; 3];
    for from in nodes_of(pool) {
        let near = nearest(machine, from);
        let ran = Mutex::new(Vec::new());
        let note = || {
            ran.lock().expect("nobody panics with the lock").push(observed(machine));
            // So that others come before all is done.
            threads::compute(500_000);
        };
        pool.run(&Team::new().require(from, 1).keep_caller(false), |member| {
            if member.is_caller() {
                return;
            }
            let opened = pool.scope_with(options, |scope| {
                for _ in 0..TASKS {
                    scope.spawn(|scope: &Scope<'_>| {
                        scope.spawn(|_| note());
                        pool.join(note, || pool.scope(|scope| scope.spawn(|_| note())));
                    });
                }
            });
            opened.expect("no node is named");
        });
        let ran = ran.into_inner().expect("nobody panicked with the lock");
        ensure!(ran.len() == 3 * TASKS, "{} of {} tasks ran", ran.len(), 3 * TASKS);
        for node in ran {
            let node = node.context("a task ran on a CPU of no node")?;
            let far = machine.seen().distance(number(from), node);
            let class = if node == number(from) { 0 } else { 1 + usize::from(Some(far) != near) };
            counts[class] += 1;
        }
    }
    Ok(counts)
}

/// Checks the helpers' counters: `allowed` says of a distance, and the least to another node, whether steals may be from there.
fn no_steals_beyond(
    machine: &Machine,
    pool: &Pool,
    allowed: impl Fn(u32, u32) -> bool,
) -> anyhow::Result<()> {
    for (helper, counters) in pool.helpers().iter().zip(pool.counters()) {
        for (from, stolen) in counters.stolen {
            let far = machine.seen().distance(number(from), number(helper.node));
            let near = nearest(machine, from).unwrap_or(far);
            let may = allowed(far, near);
            ensure!(may || stolen == 0, "node {} took {stolen} jobs of node {from}", helper.node);
        }
    }
    Ok(())
}

/// Queues single tasks on each node, from a thread that is kept to the first.
fn by_name(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let nodes = nodes_of(&pool);
    threads::keep_to(cpus_of(machine, nodes[0]))?;
    // One that has not begun yet sleeps as well, and is not free for anything.
    pool.broadcast(|_| ());
    for &to in nodes.iter().skip(1) {
        for _ in 0..TRIES {
            threads::wait_until_helpers_sleep()?;
            let mut ran = None;
            pool.scope_on(to, |scope| scope.spawn(|_| ran = observed(machine)))?;
            // Its owner waits, and leaves it to a helper that sleeps, is awake, or is on its way to it.
            ensure!(ran == Some(number(to)), "a scope's task for node {to} ran on {ran:?}");

            threads::wait_until_helpers_sleep()?;
            let (sender, receiver) = std::sync::mpsc::channel();
            let here = machine.clone();
            pool.spawn_on(to, move || sender.send(observed(&here)).unwrap_or_default())?;
            let ran = receiver.recv().context("a closure was lost")?;
            ensure!(ran == Some(number(to)), "a closure for node {to} ran on {ran:?}");
        }
    }
    // All nodes at once, and strictly: also while their helpers are busy.
    let ran = Mutex::new(Vec::new());
    pool.scope_with(&ScopeOptions::new().steal(Steal::Node), |scope| {
        for &to in nodes.iter().cycle().take(20 * nodes.len()) {
            let ran = &ran;
            let note = move |_: &Scope<'_>| {
                ran.lock().expect("nobody panics with the lock").push((to, observed(machine)));
            };
            scope.spawn_on(to, note).expect("the pool has that node");
        }
    })?;
    let ran = ran.into_inner().expect("nobody panicked with the lock");
    let strays = ran.iter().filter(|(to, by)| *by != Some(number(*to))).count();
    ensure!(ran.len() == 20 * nodes.len() && strays == 0, "{strays} tasks strayed: {ran:?}");
    Ok(())
}
