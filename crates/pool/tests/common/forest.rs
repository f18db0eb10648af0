//! Random trees of everything that a pool can run, with panics, over pools that come and go.
//!
//! A tree's shape follows from its seed alone, so a serial walk says how many
//! leaves must run and which calls must panic. The stress test grows them on
//! threads, and the shuttle test under schedules of its own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use firsttouch_pool::{Pool, ScopeOptions, Steal, Team};
use firsttouch_topology::affinity;
#[cfg(shuttle)]
use shuttle::{
    sync::{atomic::AtomicUsize, mpsc},
    thread,
};
#[cfg(not(shuttle))]
use std::{
    sync::{atomic::AtomicUsize, mpsc},
    thread,
};

/// Two pools that call each other, and what their trees have done.
pub(crate) struct Forest {
    pools: [Pool; 2],
    /// Makes a pool that lives no longer than one call of a tree; panics that nobody waits for go to the handler.
    make_pool: fn(u64, Handler) -> Pool,
    depth: u32,
    tally: Arc<Tally>,
}

/// What a forest grows.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Threads from outside that grow trees at once.
    pub(crate) threads: u64,
    /// Trees of each, and again as many that it has helpers grow.
    pub(crate) trees: u64,
    /// The longest way from a tree's root to a leaf.
    pub(crate) depth: u32,
}

/// What a pool is to do with a panic that nobody waits for.
pub(crate) type Handler = Box<dyn Fn(Box<dyn std::any::Any + Send>) + Send + Sync>;

#[derive(Default)]
struct Tally {
    leaves: AtomicUsize,
    /// Panics that came to the handler of a pool.
    handled: AtomicUsize,
    failure: Mutex<Option<String>>,
}

/// What a walk over a tree comes to.
#[derive(Clone, Copy, Default)]
struct Outcome {
    leaves: usize,
    handled: usize,
    panics: bool,
}

/// One node of a tree.
enum Call {
    Leaf,
    Join,
    Install,
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
    /// A pool that is dropped, perhaps by a panic, while closures are queued there and run.
    ShortLivedPool {
        spawned: u64,
    },
}

/// Derives a number from a seed that looks unlike it.
pub(crate) fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn call_at(seed: u64, depth: u32) -> Call {
    let pick = |n: u64, choices: u64| mix(seed, 100 + n) % choices;
    match pick(0, 16) {
        _ if depth == 0 => Call::Leaf,
        0 | 1 => Call::Leaf,
        2..=4 => Call::Join,
        5..=6 => Call::Scope { tasks: pick(1, 5) },
        13 | 14 => Call::ScopeWith {
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
        // It starts threads, so not in the thick of a tree.
        11 if depth <= 2 => Call::ShortLivedPool { spawned: pick(1, 4) },
        12 => Call::Install,
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

impl Outcome {
    /// Adds what a part comes to that is run so many times.
    fn and(self, part: Self, times: usize) -> Self {
        Self {
            leaves: self.leaves + part.leaves * times,
            handled: self.handled + part.handled * times,
            panics: self.panics || part.panics,
        }
    }

    /// What a closure comes to that nobody waits for.
    fn spawned(self) -> Self {
        let handled = self.handled + usize::from(self.panics);
        Self { handled, panics: false, ..self }
    }
}

impl Forest {
    fn pool(&self, seed: u64) -> &Pool {
        &self.pools[mix(seed, 202) as usize % 2]
    }

    /// Says what `grow` must come to.
    fn expect(&self, seed: u64, depth: u32) -> Outcome {
        let outcome = self.expect_inside(seed, depth);
        Outcome { panics: outcome.panics && passes_on(seed), ..outcome }
    }

    fn expect_inside(&self, seed: u64, depth: u32) -> Outcome {
        let child = |n: u64| self.expect(mix(seed, n), depth - 1);
        let all = |children: u64, times: usize| {
            (0..children).fold(Outcome::default(), |all, n| all.and(child(n), times))
        };
        match call_at(seed, depth) {
            Call::Leaf => Outcome { leaves: 1, handled: 0, panics: leaf_panics(seed) },
            Call::Join => all(2, 1),
            Call::Install => all(1, 1),
            Call::Scope { tasks } | Call::ScopeWith { tasks, .. } => all(1 + tasks, 1),
            Call::Run { pieces, .. } => all(pieces, 1),
            Call::Broadcast => all(1, self.pool(seed).helpers().len()),
            Call::ScopeFromElsewhere => all(5, 1),
            Call::ShortLivedPool { spawned } => {
                (0..spawned).fold(all(2, 1), |all, n| all.and(child(2 + n).spawned(), 1))
            }
        }
    }

    /// Runs a tree; panics with a `u64` where the tree says so.
    fn grow(self: &Arc<Self>, seed: u64, depth: u32) {
        let expected = self.expect_inside(seed, depth).panics;
        let caught = catch_unwind(AssertUnwindSafe(|| self.call(seed, depth)));
        if caught.is_err() != expected {
            self.tally.fail(format!("the call at {seed:#x} panicked: {}", caught.is_err()));
        }
        let Err(payload) = caught else { return };
        self.tally.look_at(&payload);
        if passes_on(seed) {
            resume_unwind(payload);
        }
    }

    fn call(self: &Arc<Self>, seed: u64, depth: u32) {
        let pool = self.pool(seed);
        let child = |n: u64| self.grow(mix(seed, n), depth - 1);
        match call_at(seed, depth) {
            Call::Leaf => self.leaf(seed),
            Call::Join => {
                pool.join(|| child(0), || child(1));
            }
            Call::Install => pool.install(|| child(0)),
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
                            let what = format!("a task for node {node} ran on node {by}");
                            self.tally.fail(what);
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
                // A counter of the pool's, where one is left to lend.
                let node = pool.helpers()[mix(seed, 205) as usize % pool.helpers().len()].node;
                let (lent, own) = (pool.counter_on(node), AtomicUsize::new(0));
                let next = lent.as_deref().unwrap_or(&own);
                pool.run(&team.keep_caller(mix(seed, 206) % 2 == 0), |_| {
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
                    self.tally.fail("a broadcast lost a result".to_owned());
                }
            }
            Call::ScopeFromElsewhere => self.scope_from_elsewhere(seed, &child),
            Call::ShortLivedPool { spawned } => {
                let tally = Arc::clone(&self.tally);
                let handler = move |payload| {
                    tally.look_at(&payload);
                    tally.handled.fetch_add(1, Relaxed);
                };
                let pool = (self.make_pool)(seed, Box::new(handler));
                for n in 0..spawned {
                    let forest = Arc::clone(self);
                    pool.spawn(move || forest.grow(mix(seed, 2 + n), depth - 1));
                }
                // A panic unwinds through the drop, which waits for what is queued.
                pool.join(|| child(0), || child(1));
            }
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
                // Joined by hand: of the end of a scope the thread sanitizer sees nothing.
                0 => thread::scope(|threads| threads.spawn(spawn).join().expect("it spawns")),
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
            2 => {
                thread::current().unpark();
                thread::park();
            }
            3 => (0..200).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
        if leaf_panics(seed) {
            resume_unwind(Box::new(seed));
        }
    }

    /// Runs a tree from the ground, where its panic ends.
    fn grow_one(self: &Arc<Self>, seed: u64) {
        let expected = self.expect(seed, self.depth).panics;
        let caught = catch_unwind(AssertUnwindSafe(|| self.grow(seed, self.depth)));
        if caught.is_err() != expected {
            self.tally.fail(format!("the tree {seed:#x} panicked: {}", caught.is_err()));
        }
    }
}

impl Tally {
    fn fail(&self, what: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }

    /// Makes sure that a panic is one of a tree's.
    fn look_at(&self, payload: &Box<dyn std::any::Any + Send>) {
        if !payload.is::<u64>() {
            let message = payload.downcast_ref::<String>();
            self.fail(format!("a panic that no tree has: {message:?}"));
        }
    }
}

/// Grows trees from outside and from spawned closures, and drops the pools, wherever that happens.
pub(crate) fn grow(
    pools: [Pool; 2],
    make_pool: fn(u64, Handler) -> Pool,
    extent: Extent,
    seed: u64,
) {
    let Extent { threads: outside, trees, depth } = extent;
    let forest = Arc::new(Forest { pools, make_pool, depth, tally: Arc::default() });
    let tally = Arc::clone(&forest.tally);
    let seeds = |group: u64| (0..trees).map(move |n| mix(seed, 1000 * group + n));
    let expected = (0..2 * outside)
        .flat_map(seeds)
        .fold(Outcome::default(), |all, seed| all.and(forest.expect(seed, depth), 1));
    let (running, ended) = mpsc::channel::<()>();
    thread::scope(|threads| {
        let grow_group = |group| {
            let (forest, running) = (&forest, running.clone());
            threads.spawn(move || {
                let before = affinity::current().ok();
                for seed in seeds(outside + group) {
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
            })
        };
        let groups: Vec<_> = (0..outside).map(grow_group).collect();
        groups.into_iter().for_each(|group| group.join().expect("its trees grow"));
    });
    drop((forest, running));
    assert!(ended.recv().is_err(), "every closure that was queued has ended");
    let failure = tally.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    let ran = (tally.leaves.load(Relaxed), tally.handled.load(Relaxed));
    assert_eq!((failure, ran), (None, (expected.leaves, expected.handled)));
}
