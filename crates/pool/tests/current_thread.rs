//! A pool that starts no thread: whoever calls runs everything.

mod common;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use common::{fib, watched};
use firsttouch_pool::{Pool, PoolBuilder, ScopeOptions, Steal, Team};
use firsttouch_topology::{NodeId, Topology};

fn on(description: &str) -> PoolBuilder {
    let topology = Topology::synthetic(description).expect("the description is in the grammar");
    Pool::builder().topology(Arc::new(topology)).current_thread()
}

fn pool() -> Pool {
    on("node:2 core:2 pu:1").build().expect("nothing is started")
}

#[test]
fn it_has_nodes_and_no_helpers_and_starts_no_thread() {
    watched("it_has_nodes_and_no_helpers_and_starts_no_thread", || {
        let threads = || fs::read_dir("/proc/self/task").expect("a process has threads").count();
        let before = threads();
        let pool = pool();
        assert_eq!(fib(&pool, 10), 55);
        pool.spawn(|| ());
        assert_eq!(threads(), before);
        assert!(pool.helpers().is_empty());
        assert_eq!(pool.refused_helpers(), 0);
        let nodes: Vec<_> = pool.nodes().map(|(node, n)| (node.os_index(), n)).collect();
        assert_eq!(nodes, [(0, 0), (1, 0)]);
        assert_eq!(pool.current_helper(), None);
        assert!(pool.counters().is_empty());
        assert!(pool.counter_on(NodeId::new(1)).is_some());
    });
}

#[test]
fn everything_runs_on_the_caller() {
    watched("everything_runs_on_the_caller", || {
        let (pool, caller) = (pool(), thread::current().id());
        let here = || assert_eq!(thread::current().id(), caller);
        assert_eq!(pool.install(|| pool.join(|| (here(), 1).1, || (here(), 2).1)), (1, 2));
        let count = AtomicUsize::new(0);
        pool.scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|scope| {
                    here();
                    scope.spawn(|_| (here(), count.fetch_add(1, Relaxed)).0);
                });
            }
        });
        assert_eq!(count.into_inner(), 100);
        let members = pool.broadcast(|member| {
            here();
            assert_eq!(member.helper(), None);
            (member.index(), member.is_caller())
        });
        assert_eq!(members, [(0, true)]);
        let team = Team::new().require(NodeId::new(0), 3).invite(NodeId::new(1), usize::MAX);
        assert_eq!(pool.run(&team, |member| (here(), assert_eq!(member.index(), 0)).0), 1);
    });
}

#[test]
fn a_spawned_closure_has_run_when_spawn_returns() {
    let pool = pool();
    let (sender, receiver) = mpsc::channel();
    for number in 0..10 {
        let sender = sender.clone();
        pool.spawn(move || sender.send(number).expect("the test listens"));
        assert_eq!(receiver.try_recv(), Ok(number));
    }
}

/// A closure that spawns itself so many times.
fn spawn_on(pool: &Arc<Pool>, left: usize, order: &Arc<Mutex<Vec<usize>>>) {
    let (inside, order) = (Arc::clone(pool), Arc::clone(order));
    pool.spawn(move || {
        if left > 0 {
            spawn_on(&inside, left - 1, &order);
        }
        order.lock().expect("nobody panics with it").push(left);
    });
}

#[test]
fn spawns_in_spawns_run_one_after_the_other_and_need_no_more_stack() {
    watched("spawns_in_spawns_run_one_after_the_other_and_need_no_more_stack", || {
        let (pool, order) = (Arc::new(pool()), Arc::default());
        // Half a million frames would need more than any stack here.
        spawn_on(&pool, 500_000, &order);
        let order = order.lock().expect("nobody panics with it");
        assert!(order.iter().copied().eq((0..=500_000).rev()));
        assert_eq!(Arc::strong_count(&pool), 1, "no closure is left");
    });
}

#[test]
fn spawns_of_two_pools_alternate_on_a_bounded_stack() {
    watched("spawns_of_two_pools_alternate_on_a_bounded_stack", || {
        fn back_and_forth(
            here: &Arc<Pool>,
            there: &Arc<Pool>,
            left: usize,
            count: &'static AtomicUsize,
        ) {
            let (here_inside, there_inside) = (Arc::clone(here), Arc::clone(there));
            here.spawn(move || {
                count.fetch_add(1, Relaxed);
                if left > 0 {
                    back_and_forth(&there_inside, &here_inside, left - 1, count);
                }
            });
        }
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let pools = (Arc::new(pool()), Arc::new(pool()));
        back_and_forth(&pools.0, &pools.1, 200_000, &COUNT);
        assert_eq!(COUNT.load(Relaxed), 200_001);
    });
}

#[test]
fn a_spawned_closures_panic_goes_to_the_handler_and_the_next_runs() {
    let panics = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&panics);
    let builder = on("node:1 core:1 pu:1").panic_handler(move |payload| {
        seen.fetch_add(*payload.downcast::<usize>().expect("the test panics so"), Relaxed);
        panic!("as the test wants");
    });
    let pool = Arc::new(builder.build().expect("nothing is started"));
    let inside = Arc::clone(&pool);
    pool.spawn(move || {
        inside.spawn(|| panic_any(20_usize));
        panic_any(1_usize);
    });
    assert_eq!(panics.load(Relaxed), 21);
    let joined = catch_unwind(AssertUnwindSafe(|| pool.join(|| panic_any(7_usize), || ())));
    assert_eq!(joined.expect_err("it panics").downcast_ref(), Some(&7_usize));
    let told = catch_unwind(AssertUnwindSafe(|| pool.broadcast(|_| panic_any(8_usize))));
    assert_eq!(told.expect_err("it panics").downcast_ref(), Some(&8_usize));
    assert_eq!(fib(&pool, 10), 55);
}

#[test]
fn tasks_that_other_threads_spawn_into_a_scope_are_run_by_its_owner() {
    watched("tasks_that_other_threads_spawn_into_a_scope_are_run_by_its_owner", || {
        let (pool, owner, count) = (pool(), thread::current().id(), AtomicUsize::new(0));
        pool.scope(|scope| {
            thread::scope(|threads| {
                for _ in 0..3 {
                    threads.spawn(|| {
                        for _ in 0..100 {
                            scope.spawn(|_| {
                                assert_eq!(thread::current().id(), owner);
                                count.fetch_add(1, Relaxed);
                            });
                        }
                    });
                }
            });
        });
        assert_eq!(count.into_inner(), 300);
    });
}

#[test]
fn tasks_for_a_node_that_only_its_helpers_may_run_are_run_by_the_scopes_owner() {
    watched("tasks_for_a_node_that_only_its_helpers_may_run_are_run_by_the_scopes_owner", || {
        let pool = pool();
        let ran = AtomicUsize::new(0);
        for node in [0, 1].map(NodeId::new) {
            let options = ScopeOptions::new().node(node).steal(Steal::Node);
            let spawned = pool.scope_with(&options, |scope| {
                scope.spawn(|scope| {
                    ran.fetch_add(1, Relaxed);
                    for node in [0, 1].map(NodeId::new) {
                        let one = |_: &_| {
                            ran.fetch_add(1, Relaxed);
                        };
                        scope.spawn_on(node, one).expect("the machine has the node");
                    }
                });
            });
            spawned.expect("the machine has the node");
        }
        assert_eq!(ran.into_inner(), 6);
    });
}

#[test]
fn many_threads_call_at_once_and_each_runs_its_own() {
    let pool = pool();
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let me = thread::current().id();
                for _ in 0..50 {
                    assert_eq!(fib(&pool, 8), 21);
                    pool.scope(|scope| {
                        (0..10).for_each(|_| {
                            scope.spawn(|_| assert_eq!(thread::current().id(), me));
                        });
                    });
                    let (sender, receiver) = mpsc::channel();
                    pool.spawn(move || sender.send(thread::current().id()).expect("it listens"));
                    assert_eq!(receiver.try_recv(), Ok(me));
                }
            });
        }
    });
}

#[test]
fn it_nests_in_a_pool_of_helpers_and_the_other_way_round() {
    watched("it_nests_in_a_pool_of_helpers_and_the_other_way_round", || {
        let (none, some) = (pool(), common::pool_of(2));
        for _ in 0..20 {
            some.broadcast(|_| none.scope(|scope| scope.spawn(|_| drop(some.broadcast(|_| ())))));
            none.broadcast(|_| some.broadcast(|_| none.join(|| fib(&some, 4), || ())));
        }
    });
}

#[test]
fn the_last_call_of_the_three_numbers_counts() {
    let two = 2.try_into().expect("two is not zero");
    let builder = || on("node:2 core:2 pu:1");
    let helpers = |builder: PoolBuilder| builder.build().expect("it starts").helpers().len();
    assert_eq!(helpers(builder().helpers(two)), 2);
    assert_eq!(helpers(builder().helpers_per_node(two)), 4);
    assert_eq!(helpers(builder().helpers(two).current_thread()), 0);
    assert_eq!(helpers(builder().helpers(two).helpers_per_node(two)), 4);
    assert_eq!(helpers(builder().helpers_per_node(two).helpers(two)), 2);
}
