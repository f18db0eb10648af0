//! Helpers stay on the CPUs they are pinned to, whatever else the machine runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use firsttouch::{Pin, Pinned, Pool, Team};
use firsttouch_guest::machine::Machine;

use super::{cpus_of, helpers_of, nodes_of};
use crate::case::{Case, as_booted};
use crate::threads::{self, Hogs};

pub(in crate::cases) const CASES: &[Case] = &[
    Case {
        name: "helpers_pinned_to_their_nodes_stay_there",
        given: as_booted,
        check: |machine| stay(machine, Pin::Node),
    },
    Case {
        name: "helpers_pinned_to_their_cpus_stay_there",
        given: as_booted,
        check: |machine| stay(machine, Pin::Cpu),
    },
];

/// How many nodes are kept busy, one after the other.
const BUSY_NODES: usize = 2;

/// How often a helper looks where it is, each time it is given work.
const LOOKS: usize = 16;

/// How often each helper was seen on each CPU.
#[derive(Debug, Default)]
struct Seen(Mutex<BTreeMap<usize, BTreeMap<u32, usize>>>);

impl Seen {
    /// Looks many times where this thread is, which is this helper.
    fn look(&self, helper: usize) {
        let mut cpus: BTreeMap<u32, usize> = BTreeMap::new();
        for look in 0..LOOKS {
            *cpus.entry(threads::cpu()).or_default() += 1;
            // A thread that sleeps, gives way or computes is moved for different reasons.
            match look % 8 {
                0 => thread::sleep(Duration::from_micros(100)),
                1 | 5 => thread::yield_now(),
                _ => threads::compute(5_000),
            }
        }
        let mut seen = self.0.lock().expect("nobody panics with the lock");
        let seen = seen.entry(helper).or_default();
        for (cpu, looks) in cpus {
            *seen.entry(cpu).or_default() += looks;
        }
    }

    /// Looks where this thread is, where it is one of the pool's.
    fn look_if_helper(&self, pool: &Pool) {
        if let Some(helper) = pool.current_helper() {
            self.look(helper.index);
        }
    }
}

fn stay(machine: &Machine, pin: Pin) -> anyhow::Result<()> {
    let pool = Arc::new(Pool::builder().pin(pin).build()?);
    let granted: Vec<BTreeSet<u32>> = granted(machine, &pool, pin)?;
    let seen = Arc::new(Seen::default());
    let nodes = nodes_of(&pool);
    let step = nodes.len().div_ceil(BUSY_NODES);
    for &node in nodes.iter().step_by(step) {
        // Two for each CPU: whoever may leave the node is better off elsewhere.
        let hogs = Hogs::on(cpus_of(machine, node), 2);
        work(&pool, &seen)?;
        hogs.stop()?;
    }
    let seen = seen.0.lock().expect("nobody panics with the lock");
    for (helper, granted) in pool.helpers().iter().zip(&granted) {
        let seen = seen.get(&helper.index).with_context(|| format!("{helper:?} never came"))?;
        let stayed = seen.keys().all(|cpu| granted.contains(cpu));
        ensure!(stayed, "{helper:?} may run on {granted:?}; it was seen on {seen:?}");
    }
    Ok(())
}

/// Returns the CPUs that each helper is to be kept to, after the kernel has said the same.
fn granted(machine: &Machine, pool: &Pool, pin: Pin) -> anyhow::Result<Vec<BTreeSet<u32>>> {
    let masks = pool.broadcast(|_| threads::mask());
    let mut granted = Vec::new();
    for (helper, mask) in pool.helpers().iter().zip(masks) {
        let mask = mask?;
        let node = cpus_of(machine, helper.node);
        let right = match (pin, helper.pinned) {
            (Pin::Node, Pinned::Node(pinned)) => pinned == helper.node && mask == node,
            (Pin::Cpu, Pinned::Cpu(cpu)) => {
                let cpu = u32::from(cpu);
                node.contains(&cpu) && mask == BTreeSet::from([cpu])
            }
            _ => false,
        };
        ensure!(right, "with {pin:?}, {helper:?} may run on {mask:?}");
        granted.push(mask);
    }
    if pin == Pin::Cpu {
        for node in nodes_of(pool) {
            let cpus: BTreeSet<_> = helpers_of(pool, node).map(|h| &granted[h.index]).collect();
            let helpers = helpers_of(pool, node).count();
            ensure!(cpus.len() == helpers, "{helpers} helpers of node {node} share {cpus:?}");
        }
    }
    Ok(granted)
}

/// Has helpers look where they are in everything that a pool can run.
fn work(pool: &Arc<Pool>, seen: &Arc<Seen>) -> anyhow::Result<()> {
    let helpers = pool.helpers().len();
    pool.broadcast(|member| seen.look(member.index()));
    let everyone = pool.nodes().fold(Team::new(), |team, (node, n)| team.invite(node, n));
    pool.run(&everyone, |member| {
        if let Some(helper) = member.helper() {
            seen.look(helper.index);
        }
    });
    tree(pool, seen, 2 * helpers);
    pool.scope(|scope| {
        for _ in 0..2 * helpers {
            scope.spawn(|_| seen.look_if_helper(pool));
        }
    });
    let (done, all_done) = mpsc::channel();
    for _ in 0..helpers {
        let (task, done) = ((Arc::clone(pool), Arc::clone(seen)), done.clone());
        pool.spawn(move || {
            let (pool, seen) = task;
            seen.look_if_helper(&pool);
            // Not the last to go: a pool is not to be dropped by its helper here.
            drop((pool, seen));
            let _ = done.send(());
        });
    }
    drop(done);
    ensure!(all_done.iter().count() == helpers, "a spawned task was lost");
    Ok(())
}

/// Halves the work until a leaf is left, both halves as a pair of closures.
fn tree(pool: &Pool, seen: &Seen, leaves: usize) {
    match leaves {
        0 => {}
        1 => seen.look_if_helper(pool),
        _ => {
            let half = leaves / 2;
            pool.join(|| tree(pool, seen, half), || tree(pool, seen, leaves - half));
        }
    }
}
