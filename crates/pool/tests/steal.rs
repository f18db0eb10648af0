//! Whose helpers run what is queued on a node, and work that is queued on a node by name.

mod common;

use std::fs;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::{fib, pool_of, pool_on, watched};
use firsttouch_pool::{Pin, Pool, PoolBuilder, Scope, ScopeOptions, Steal, Team};
use firsttouch_topology::{NodeId, Topology};

fn node(number: u32) -> NodeId {
    NodeId::new(number)
}

fn under(steal: Steal) -> ScopeOptions {
    ScopeOptions::new().steal(steal)
}

/// Starts unpinned helpers, so many on each of four made-up nodes: two near each, and one far.
fn ring(helpers_per_node: usize, options: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Pool {
    let name = format!("firsttouch-ring-{}-{:?}", std::process::id(), thread::current().id());
    let root = std::env::temp_dir().join(name);
    let system = root.join("sys/devices/system");
    let write = |path: &str, text: &str| {
        let path = system.join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
        fs::write(path, text).expect("it can be written");
    };
    write("cpu/online", "0-3\n");
    write("node/online", "0-3\n");
    for number in 0..4 {
        write(&format!("node/node{number}/cpulist"), &format!("{number}\n"));
        let row = (0..4).map(|to: i32| [10, 20, 30, 20][(to - number).rem_euclid(4) as usize]);
        let row: Vec<_> = row.map(|distance| distance.to_string()).collect();
        write(&format!("node/node{number}/distance"), &format!("{}\n", row.join(" ")));
    }
    let topology = Topology::from_root(&root).expect("it describes a machine");
    fs::remove_dir_all(&root).expect("it is the test's own");
    assert_eq!(topology.distance(node(0), node(2)), 30);
    let helpers = NonZeroUsize::new(helpers_per_node).expect("a test asks for helpers");
    let builder = Pool::builder().topology(Arc::new(topology)).helpers_per_node(helpers);
    options(builder.pin(Pin::None)).build().expect("a small pool can be started")
}

/// The node whose helper the calling thread is.
fn here(pool: &Pool) -> Option<NodeId> {
    pool.current_helper().map(|helper| helper.node)
}

/// Calls `f` on a helper of a node, and returns when it has returned.
fn on_helper_of(pool: &Pool, node: NodeId, f: impl Fn() + Sync) {
    pool.run(&Team::new().require(node, 1).keep_caller(false), |member| {
        if !member.is_caller() {
            f();
        }
    });
}

/// Calls `f` in a task on a node that no helper of another may run, and returns when it has returned.
fn strictly_on(pool: &Pool, node: NodeId, f: impl FnOnce() + Send) {
    let there = ScopeOptions::new().node(node).steal(Steal::Node);
    let opened = pool.scope_with(&there, |scope| scope.spawn(|_| f()));
    opened.expect("the machine has that node");
}

/// Queues all that a task can, at every depth, and calls `each` in all of it.
fn tree<'scope>(pool: &'scope Pool, depth: usize, each: &'scope (dyn Fn() + Sync)) {
    each();
    if depth == 0 {
        // What computes gives others the time to come for the rest.
        return thread::sleep(Duration::from_micros(50));
    }
    pool.join(|| tree(pool, depth - 1, each), || tree(pool, depth - 1, each));
    pool.scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|scope: &Scope<'_>| {
                scope.spawn(|_| tree(pool, depth - 1, each));
                tree(pool, depth - 1, each);
            });
        }
    });
}

/// Runs a tree in a scope on each node, and returns how often a helper of each distance ran some of it.
fn distances(pool: &Pool, options: &ScopeOptions) -> [usize; 3] {
    let counts = [(); 3].map(|()| AtomicUsize::new(0));
    for (from, _) in pool.nodes() {
        let each = || {
            let by = here(pool).expect("only helpers run it");
            let far = pool.topology().distance(from, by);
            counts[far as usize / 10 - 1].fetch_add(1, Relaxed);
        };
        on_helper_of(pool, from, || {
            let opened = pool.scope_with(options, |scope| {
                (0..4).for_each(|_| scope.spawn(|_| tree(pool, 2, &each)));
            });
            opened.expect("no node is named");
        });
    }
    counts.map(AtomicUsize::into_inner)
}

#[test]
fn a_scope_restricted_to_its_node_is_run_by_that_nodes_helpers_only() {
    let pool = ring(2, |builder| builder);
    let [own, near, far] = distances(&pool, &under(Steal::Node));
    assert!(own > 0);
    assert_eq!((near, far), (0, 0));
}

#[test]
fn a_scope_restricted_to_near_nodes_never_reaches_a_far_one() {
    let pool = ring(1, |builder| builder);
    let mut near = 0;
    // Where the machine has few CPUs, neighbours may sleep through a round.
    for _ in 0..200 {
        let [_, reached, far] = distances(&pool, &under(Steal::Near));
        assert_eq!(far, 0);
        near += reached;
        if near > 0 {
            return;
        }
    }
    panic!("no neighbour has ever taken anything");
}

/// Runs a tree in a pool that is restricted as a whole; `stays` says who may run it.
fn in_restricted_pool(steal: Steal) -> [usize; 3] {
    let pool = ring(2, |builder| builder.steal(steal));
    let mut sum = [0; 3];
    for _ in 0..3 {
        let counts = distances(&pool, &ScopeOptions::new());
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    for (helper, counters) in pool.helpers().iter().zip(pool.counters()) {
        for (from, stolen) in counters.stolen {
            let far = pool.topology().distance(from, helper.node);
            let allowed = if steal == Steal::Node { 10 } else { 20 };
            assert!(far <= allowed || stolen == 0, "{stolen} jobs were taken from {far} away");
        }
    }
    sum
}

#[test]
fn a_pool_restricted_to_its_nodes_steals_from_no_other() {
    assert_eq!(in_restricted_pool(Steal::Node)[1..], [0, 0]);
}

#[test]
fn a_pool_restricted_to_near_nodes_steals_from_no_far_one() {
    assert_eq!(in_restricted_pool(Steal::Near)[2], 0);
}

#[test]
fn a_scope_never_widens_what_it_is_nested_in() {
    let pool = ring(1, |builder| builder);
    let off = AtomicUsize::new(0);
    on_helper_of(&pool, node(0), || {
        strictly_on(&pool, node(1), || {
            let opened = pool.scope_with(&under(Steal::Anywhere), |scope| {
                for _ in 0..100 {
                    scope.spawn(|_| {
                        thread::sleep(Duration::from_micros(20));
                        off.fetch_add(usize::from(here(&pool) != Some(node(1))), Relaxed);
                    });
                }
            });
            opened.expect("no node is named");
        });
    });
    assert_eq!(off.into_inner(), 0);
}

#[test]
fn restricted_scopes_inside_of_joins_leave_the_joins_to_all() {
    let pool = pool_on(2, 1);
    for _ in 0..20 {
        let strict = || {
            let opened = pool.scope_with(&under(Steal::Node), |scope| {
                (0..3).for_each(|_| scope.spawn(|_| assert_eq!(fib(&pool, 8), 21)));
                fib(&pool, 8)
            });
            assert_eq!(opened, Ok(21));
        };
        pool.join(|| pool.join(strict, strict), || pool.join(strict, || fib(&pool, 8)));
    }
}

#[test]
fn a_restricted_tree_has_the_same_result_as_any_other() {
    for steal in [Steal::Node, Steal::Near, Steal::Anywhere] {
        for pool in [pool_of(2), pool_on(3, 2), ring(1, |builder| builder.steal(steal))] {
            let sum = pool.scope_with(&under(steal), |_| fib(&pool, 15));
            assert_eq!(sum, Ok(610));
        }
    }
}

#[test]
fn what_is_spawned_on_a_node_of_a_restricted_pool_runs_there() {
    let pool = Arc::new(ring(1, |builder| builder.steal(Steal::Node)));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..50 {
        for (to, _) in pool.nodes() {
            let (weak, sender) = (Arc::downgrade(&pool), sender.clone());
            let spawned = pool.spawn_on(to, move || {
                let by = weak.upgrade().and_then(|pool| here(&pool));
                sender.send((to, by)).expect("the test listens");
            });
            spawned.expect("the machine has that node");
        }
    }
    drop(sender);
    for (to, by) in receiver {
        assert_eq!(by, Some(to));
    }
}

#[test]
fn tasks_of_a_scope_go_to_the_nodes_that_they_are_spawned_on() {
    let pool = ring(1, |builder| builder);
    for _ in 0..20 {
        let ran = Mutex::new(Vec::new());
        let opened = pool.scope_with(&under(Steal::Node), |scope| {
            for (to, _) in pool.nodes() {
                for _ in 0..3 {
                    let ran = &ran;
                    let pool = &pool;
                    let spawned = scope.spawn_on(to, move |scope| {
                        let note = move |_: &Scope<'_>| {
                            ran.lock().expect("nobody panics with it").push((to, here(pool)));
                        };
                        note(scope);
                        scope.spawn(note);
                    });
                    spawned.expect("the machine has that node");
                }
            }
        });
        opened.expect("no node is named");
        let ran = ran.into_inner().expect("nobody panicked with it");
        assert_eq!(ran.len(), 4 * 3 * 2);
        // The caller may run what is queued where it is.
        let strays = ran.iter().filter(|(to, by)| by.is_some_and(|by| by != *to));
        assert_eq!(strays.count(), 0, "{ran:?}");
    }
}

#[test]
fn a_scope_leaves_its_tasks_to_the_free_helpers_of_its_node() {
    let pool = ring(1, |builder| builder);
    let by_its_node = AtomicUsize::new(0);
    on_helper_of(&pool, node(0), || {
        // How many it is depends on when threads run: on a busy machine helpers are seldom asleep
        // when the owner looks. An owner that left none would be there first every time.
        for to in [1, 2, 3].map(node).repeat(400) {
            // Until the others sleep: one that is about to is not seen.
            thread::sleep(Duration::from_millis(2));
            let mut by = None;
            pool.scope_on(to, |scope| scope.spawn(|_| by = here(&pool))).expect("it is there");
            if by == Some(to) && by_its_node.fetch_add(1, Relaxed) == 50 {
                break;
            }
        }
    });
    let by_its_node = by_its_node.into_inner();
    assert!(by_its_node > 50, "only {by_its_node} of 1200 tasks were left to their node");
}

/// Occupies every helper until the guard is dropped.
fn occupy(pool: &Arc<Pool>) -> Vec<mpsc::Sender<()>> {
    let all = Arc::new(Barrier::new(pool.helpers().len() + 1));
    let busy = pool.helpers().iter().map(|helper| {
        let (release, released) = mpsc::channel::<()>();
        let all = Arc::clone(&all);
        let steal = move || {
            all.wait();
            // Until the sender is dropped.
            released.recv().unwrap_or_default();
        };
        pool.spawn_on(helper.node, steal).expect("the machine has that node");
        release
    });
    let busy = busy.collect();
    all.wait();
    busy
}

#[test]
fn an_owner_runs_tasks_on_another_node_itself_where_that_does_not_keep_up() {
    watched("an_owner_runs_tasks_on_another_node_itself_where_that_does_not_keep_up", || {
        let pool = Arc::new(pool_on(3, 1));
        let busy = occupy(&pool);
        for (to, _) in pool.nodes() {
            let ran = Mutex::new(Vec::new());
            let opened = pool.scope_on(to, |scope| {
                for _ in 0..5 {
                    scope.spawn(|scope| {
                        let note = |_: &Scope<'_>| {
                            ran.lock().expect("nobody panics with it").push(thread::current().id());
                        };
                        note(scope);
                        scope.spawn(note);
                    });
                }
            });
            opened.expect("the machine has that node");
            let ran = ran.into_inner().expect("nobody panicked with it");
            assert_eq!(ran, [thread::current().id(); 10]);
        }
        drop(busy);
    });
}

#[test]
fn an_owner_takes_tasks_back_from_helpers_that_find_other_work() {
    watched("an_owner_takes_tasks_back_from_helpers_that_find_other_work", || {
        let pool = Arc::new(pool_on(2, 1));
        for _ in 0..200 {
            let ran = AtomicUsize::new(0);
            let mut held = Vec::new();
            let opened = pool.scope_on(node(1), |scope| {
                scope.spawn(|_| {
                    ran.fetch_add(1, Relaxed);
                });
                // Whoever was to come for the task may take one of these, which end after the task has.
                for to in [1, 1, 0, 0] {
                    let (release, released) = mpsc::channel::<()>();
                    let blocks = move || released.recv().unwrap_or_default();
                    pool.spawn_on(node(to), blocks).expect("the machine has that node");
                    held.push(release);
                }
            });
            opened.expect("the machine has that node");
            assert_eq!(ran.into_inner(), 1);
        }
    });
}

#[test]
fn helpers_that_wait_for_each_others_nodes_run_the_tasks_that_only_they_may() {
    watched("helpers_that_wait_for_each_others_nodes_run_the_tasks_that_only_they_may", || {
        let pool = pool_on(2, 1);
        for _ in 0..100 {
            let by = Mutex::new(None);
            // The first node's helper waits for the second's, and that for the first.
            on_helper_of(&pool, node(0), || {
                strictly_on(&pool, node(1), || {
                    strictly_on(&pool, node(0), || {
                        let note = |_: &Scope<'_>| *by.lock().expect("it is") = here(&pool);
                        pool.scope(|scope| scope.spawn(note));
                    });
                });
            });
            assert_eq!(by.into_inner().expect("nobody panicked with it"), Some(node(0)));
        }
    });
}

#[test]
fn a_node_without_helpers_is_served_by_the_nearest_and_an_unknown_one_is_an_error() {
    let machine = "package:2 [numa(memory=1GB)] [numa(memory=1GB)] core:2 pu:1";
    let topology = Topology::synthetic(machine).expect("it is in the grammar");
    let pool = Pool::builder()
        .topology(Arc::new(topology))
        .pin(Pin::None)
        .helpers_per_node(NonZeroUsize::MIN)
        .steal(Steal::Node)
        .build()
        .expect("a small pool can be started");
    assert_eq!(pool.nodes().count(), 2, "the machine has four nodes, of which two are memory only");
    // A memory-only node lies with the CPUs of its package.
    for memory_only in [1, 3] {
        let (sender, receiver) = mpsc::channel();
        let name = move || thread::current().name().map(str::to_owned);
        let send = move || sender.send(name()).expect("the test listens");
        pool.spawn_on(node(memory_only), send).expect("the machine has that node");
        let name = receiver.recv().expect("a helper runs it").expect("helpers have names");
        assert!(name.starts_with("firsttouch-"), "{name}");
    }

    let unknown = pool.spawn_on(node(4), || unreachable!("it does not run"));
    let message = unknown.expect_err("there is no such node").to_string();
    assert_eq!(message, "the machine has no node 4; it has 0-3");
    let never = |_: &Scope<'_>| unreachable!("it does not run");
    assert!(pool.scope_on(node(4), never).is_err());
    pool.scope(|scope| assert!(scope.spawn_on(node(4), never).is_err()));
}

#[test]
fn steals_are_counted_by_node_and_by_cache() {
    let pool = ring(2, |builder| builder.steal(Steal::Node));
    for _ in 0..200 {
        on_helper_of(&pool, node(2), || {
            let both = Barrier::new(2);
            // Each half waits for the other, which the node's other helper takes.
            pool.join(|| both.wait(), || both.wait());
        });
    }
    for (helper, counters) in pool.helpers().iter().zip(pool.counters()) {
        assert_eq!(counters.remote_steals(), 0);
        assert!(counters.stolen_in_cache <= counters.local_steals());
        if helper.node != node(2) {
            assert_eq!((counters.local_steals(), counters.stolen_in_cache), (0, 0));
        }
    }
    let all: u64 = pool.counters().iter().map(|counters| counters.stolen_in_cache).sum();
    assert_eq!(all, 200, "one half of each pair was taken from the other helper");
}
