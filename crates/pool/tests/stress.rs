//! Random trees of every kind of call, with panics, over pools that come and go.
//!
//! A tree's shape follows from its seed alone, so a serial walk says how many
//! leaves must run and which calls must panic. `FIRSTTOUCH_STRESS_ROUNDS` sets
//! the rounds for each size of pool; the default takes seconds.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use common::{pool_on, watched_for};
use firsttouch_pool::{Pool, ScopeOptions, Steal, Team};
use firsttouch_topology::affinity;

/// Rounds for each size of pool where the environment does not say.
const ROUNDS: u64 = 12;

/// Threads from outside that grow trees at once.
const OUTSIDE: u64 = 5;

/// The longest way from a tree's root to a leaf.
const DEPTH: u32 = 4;

/// Two pools that call each other, and what their trees have done.
struct Forest {
    pools: [Pool; 2],
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    leaves: AtomicUsize,
    failure: Mutex<Option<String>>,
}

/// What a walk over a tree comes to.
#[derive(Clone, Copy, Default)]
struct Outcome {
    leaves: usize,
    panics: bool,
}

/// One node of a tree.
enum Call {
    Leaf,
    Join,
    Scope {
        tasks: u64,
    },
    Run {
        pieces: u64,
        required: usize,
        invited: usize,
    },
    Broadcast,
    /// A scope on one node, or for the helpers of few.
    ScopeWith {
        tasks: u64,
        node: u64,
        steal: Steal,
    },
    /// Tasks that reach their scope from other frames, pools and threads.
    ScopeFromElsewhere,
}

/// Derives a number from a seed that looks unlike it.
fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn call_at(seed: u64, depth: u32) -> Call {
    let pick = |n: u64, choices: u64| mix(seed, 100 + n) % choices;
    match pick(0, 14) {
        _ if depth == 0 => Call::Leaf,
        0 | 1 => Call::Leaf,
        2..=4 => Call::Join,
        5 => Call::Scope { tasks: pick(1, 5) },
        6 | 11 => Call::ScopeWith {
            tasks: pick(1, 5),
            node: pick(2, 5),
            steal: [Steal::Node, Steal::Near, Steal::Anywhere][pick(3, 3) as usize],
        },
        7..=8 => Call::Run {
            pieces: pick(1, 4),
            required: pick(2, 3) as usize,
            invited: pick(3, 4) as usize,
        },
        // One for each helper, so only near the leaves.
        9 | 10 if depth == 1 => Call::Broadcast,
        _ => Call::ScopeFromElsewhere,
    }
}

fn leaf_panics(seed: u64) -> bool {
    mix(seed, 200) % 16 == 0
}

/// Whether a node lets a panic of the nodes above it pass.
fn passes_on(seed: u64) -> bool {
    mix(seed, 201) % 4 != 0
}

impl Forest {
    fn pool(&self, seed: u64) -> &Pool {
        &self.pools[mix(seed, 202) as usize % 2]
    }

    fn fail(&self, what: String) {
        self.tally.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }

    /// Says what `grow` must come to.
    fn expect(&self, seed: u64, depth: u32) -> Outcome {
        let outcome = self.expect_inside(seed, depth);
        Outcome { panics: outcome.panics && passes_on(seed), ..outcome }
    }

    fn expect_inside(&self, seed: u64, depth: u32) -> Outcome {
        let (children, times) = match call_at(seed, depth) {
            Call::Leaf => return Outcome { leaves: 1, panics: leaf_panics(seed) },
            Call::Join => (2, 1),
            Call::Scope { tasks } | Call::ScopeWith { tasks, .. } => (1 + tasks, 1),
            Call::Run { pieces, .. } => (pieces, 1),
            Call::Broadcast => (1, self.pool(seed).helpers().len()),
            Call::ScopeFromElsewhere => (5, 1),
        };
        (0..children).map(|child| self.expect(mix(seed, child), depth - 1)).fold(
            Outcome::default(),
            |all, one| Outcome {
                leaves: all.leaves + one.leaves * times,
                panics: all.panics || one.panics,
            },
        )
    }

    /// Runs a tree; panics with a `u64` where the tree says so.
    fn grow(&self, seed: u64, depth: u32) {
        let expected = self.expect_inside(seed, depth).panics;
        let caught = catch_unwind(AssertUnwindSafe(|| self.call(seed, depth)));
        if caught.is_err() != expected {
            self.fail(format!("the call at {seed:#x} panicked: {}", caught.is_err()));
        }
        let Err(payload) = caught else { return };
        if !payload.is::<u64>() {
            let message = payload.downcast_ref::<String>();
            self.fail(format!("a panic that no tree has: {message:?}"));
        }
        if passes_on(seed) {
            resume_unwind(payload);
        }
    }

    fn call(&self, seed: u64, depth: u32) {
        let pool = self.pool(seed);
        let child = |n: u64| self.grow(mix(seed, n), depth - 1);
        match call_at(seed, depth) {
            Call::Leaf => self.leaf(seed),
            Call::Join => {
                pool.join(|| child(0), || child(1));
            }
            Call::Scope { tasks } => pool.scope(|scope| {
                for task in 0..tasks {
                    // Every second task is spawned by another task.
                    scope.spawn(move |scope| match task % 2 {
                        0 => child(1 + task),
                        _ => scope.spawn(move |_| child(1 + task)),
                    });
                }
                child(0);
            }),
            Call::ScopeWith { tasks, node, steal } => {
                let nodes: Vec<_> = pool.nodes().map(|(node, _)| node).collect();
                let node = nodes.get(node as usize).copied();
                let mut options = ScopeOptions::new().steal(steal);
                if let Some(node) = node {
                    options = options.node(node);
                }
                let stays = || {
                    let by = pool.current_helper().map(|helper| helper.node);
                    let strict = steal == Steal::Node && nodes.len() > 1;
                    if let (true, Some(node), Some(by)) = (strict, node, by) {
                        if by != node {
                            self.fail(format!("a task for node {node} ran on node {by}"));
                        }
                    }
                };
                let opened = pool.scope_with(&options, |scope| {
                    for task in 0..tasks {
                        scope.spawn(move |scope| {
                            stays();
                            match task % 2 {
                                0 => child(1 + task),
                                _ => scope.spawn(move |_| {
                                    stays();
                                    child(1 + task);
                                }),
                            }
                        });
                    }
                    child(0);
                });
                opened.expect("the pool has that node");
            }
            Call::Run { pieces, required, invited } => {
                let team = pool.nodes().fold(Team::new(), |team, (node, _)| {
                    team.require(node, required).invite(node, invited)
                });
                let next = AtomicUsize::new(0);
                pool.run(&team, |_| {
                    let mut panicked = None;
                    loop {
                        let piece = next.fetch_add(1, Relaxed) as u64;
                        if piece >= pieces {
                            break;
                        }
                        // A member that has panicked goes on, so that every piece runs.
                        let ran = catch_unwind(AssertUnwindSafe(|| child(piece)));
                        panicked = panicked.or(ran.err());
                    }
                    if let Some(payload) = panicked {
                        resume_unwind(payload);
                    }
                });
            }
            Call::Broadcast => {
                let results = pool.broadcast(|member| {
                    child(0);
                    member.index()
                });
                if !results.into_iter().eq(0..pool.helpers().len()) {
                    self.fail("a broadcast lost a result".to_owned());
                }
            }
            Call::ScopeFromElsewhere => self.scope_from_elsewhere(seed, &child),
        }
    }

    fn scope_from_elsewhere(&self, seed: u64, child: &(dyn Fn(u64) + Sync)) {
        let [one, other] = &self.pools;
        self.pool(seed).scope(|outer| {
            one.join(|| outer.spawn(|_| child(0)), || outer.spawn(|_| child(1)));
            other.scope(|inner| {
                inner.spawn(|_| outer.spawn(|_| child(2)));
                outer.spawn(|_| child(3));
            });
            let spawn = || outer.spawn(|_| child(4));
            match mix(seed, 203) % 8 {
                0 => thread::scope(|threads| {
                    threads.spawn(spawn);
                }),
                _ => spawn(),
            }
        });
    }

    fn leaf(&self, seed: u64) {
        self.tally.leaves.fetch_add(1, Relaxed);
        match mix(seed, 204) % 8 {
            0 => thread::yield_now(),
            // User code may leave parking tokens, and take those of the pool.
            1 => thread::current().unpark(),
            2 => thread::park_timeout(Duration::from_micros(1)),
            3 => (0..200).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
        if leaf_panics(seed) {
            resume_unwind(Box::new(seed));
        }
    }

    /// Runs a tree from the ground, where its panic ends.
    fn grow_one(&self, seed: u64) {
        let expected = self.expect(seed, DEPTH).panics;
        let caught = catch_unwind(AssertUnwindSafe(|| self.grow(seed, DEPTH)));
        if caught.is_err() != expected {
            self.fail(format!("the tree {seed:#x} panicked: {}", caught.is_err()));
        }
    }
}

/// Grows trees from outside and from spawned closures, and drops the pools, wherever that happens.
fn round(nodes: usize, helpers: usize, seed: u64) {
    let pools = [pool_on(nodes, helpers), pool_on(1, helpers)];
    let forest = Arc::new(Forest { pools, tally: Arc::default() });
    let tally = Arc::clone(&forest.tally);
    let seeds = |group: u64| (0..6).map(move |n| mix(seed, 1000 * group + n));
    let expected: usize =
        (0..2 * OUTSIDE).flat_map(seeds).map(|seed| forest.expect(seed, DEPTH).leaves).sum();
    let (running, ended) = mpsc::channel::<()>();
    thread::scope(|threads| {
        for group in 0..OUTSIDE {
            let (forest, running) = (&forest, running.clone());
            threads.spawn(move || {
                let before = affinity::current().ok();
                for seed in seeds(OUTSIDE + group) {
                    let (forest, running) = (Arc::clone(forest), running.clone());
                    // The last closure to end may drop both pools, in a helper of the first.
                    Arc::clone(&forest).pools[0].spawn(move || {
                        forest.grow_one(seed);
                        drop(forest);
                        drop(running);
                    });
                }
                seeds(group).for_each(|seed| forest.grow_one(seed));
                assert_eq!(affinity::current().ok(), before, "a call left its affinity behind");
            });
        }
    });
    drop((forest, running));
    assert!(ended.recv().is_err(), "every closure that was queued has ended");
    let failure = tally.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    assert_eq!((failure, tally.leaves.load(Relaxed)), (None, expected));
}

fn rounds() -> u64 {
    let rounds = std::env::var("FIRSTTOUCH_STRESS_ROUNDS").ok();
    rounds.map_or(ROUNDS, |rounds| rounds.parse().expect("the number of rounds is a number"))
}

fn stress(test: &str, nodes: usize, helpers: usize) {
    let rounds = rounds();
    let limit = Duration::from_secs(60) * (1 + rounds / ROUNDS) as u32;
    watched_for(limit, test, || {
        (0..rounds).for_each(|seed| round(nodes, helpers, mix(seed, nodes as u64)));
    });
}

#[test]
fn trees_of_calls_over_pools_of_one_helper_end_as_the_serial_walk_says() {
    stress("trees_of_calls_over_pools_of_one_helper_end_as_the_serial_walk_says", 1, 1);
}

#[test]
fn trees_of_calls_over_two_nodes_end_as_the_serial_walk_says() {
    stress("trees_of_calls_over_two_nodes_end_as_the_serial_walk_says", 2, 1);
}

#[test]
fn trees_of_calls_over_five_helpers_end_as_the_serial_walk_says() {
    stress("trees_of_calls_over_five_helpers_end_as_the_serial_walk_says", 1, 5);
}

#[test]
fn trees_of_calls_over_twenty_helpers_end_as_the_serial_walk_says() {
    stress("trees_of_calls_over_twenty_helpers_end_as_the_serial_walk_says", 4, 5);
}
