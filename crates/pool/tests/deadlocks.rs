//! Calls that would hang a pool whose waits could close into a cycle.
//!
//! Each runs in a process of its own, so that a hang is a failure.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::{fib, pool_of, watched};
use firsttouch_pool::{Pool, Team};
use firsttouch_topology::NodeId;

fn add_one(count: &AtomicUsize) {
    count.fetch_add(1, Relaxed);
}

/// Every kind of call, with `inside` run at the bottom of each.
fn every_call(pool: &Pool, inside: &(dyn Fn() + Sync)) {
    pool.join(inside, inside);
    pool.scope(|scope| (0..2).for_each(|_| scope.spawn(|_| inside())));
    pool.run(&Team::new().invite(NodeId::new(0), 1), |_| inside());
    pool.run(&Team::new().require(NodeId::new(0), 1), |_| inside());
    pool.broadcast(|_| inside());
}

#[test]
fn a_pool_calls_itself_in_every_way() {
    watched("a_pool_calls_itself_in_every_way", || {
        for helpers in [1, 2] {
            let (pool, count) = (pool_of(helpers), AtomicUsize::new(0));
            for _ in 0..20 {
                every_call(&pool, &|| every_call(&pool, &|| add_one(&count)));
            }
            assert!(count.into_inner() > 20 * 25);
        }
    });
}

#[test]
fn two_pools_of_one_helper_call_each_other_in_every_way() {
    watched("two_pools_of_one_helper_call_each_other_in_every_way", || {
        let (one, other) = (pool_of(1), pool_of(1));
        for _ in 0..10 {
            every_call(&one, &|| every_call(&other, &|| every_call(&one, &|| ())));
            every_call(&other, &|| every_call(&one, &|| every_call(&other, &|| ())));
        }
    });
}

#[test]
fn two_pools_broadcast_into_each_other_at_once() {
    watched("two_pools_broadcast_into_each_other_at_once", || {
        let (one, other) = (pool_of(1), pool_of(1));
        let there_and_back = |here: &Pool, there: &Pool| {
            for _ in 0..200 {
                here.broadcast(|_| there.broadcast(|_| here.broadcast(|_| ())));
            }
        };
        std::thread::scope(|threads| {
            threads.spawn(|| there_and_back(&one, &other));
            threads.spawn(|| there_and_back(&other, &one));
        });
    });
}

#[test]
fn helpers_of_both_pools_require_each_other_while_they_wait() {
    watched("helpers_of_both_pools_require_each_other_while_they_wait", || {
        let (one, other) = (pool_of(1), pool_of(1));
        let (a, b) = (std::sync::Barrier::new(2), AtomicUsize::new(0));
        let meet_and_cross = |here: &Pool, there: &Pool| {
            here.broadcast(|_| {
                // Both helpers are in their own pool before either calls the other.
                a.wait();
                there.broadcast(|_| b.fetch_add(1, Relaxed));
            });
        };
        for _ in 0..200 {
            std::thread::scope(|threads| {
                threads.spawn(|| meet_and_cross(&one, &other));
                threads.spawn(|| meet_and_cross(&other, &one));
            });
        }
        assert_eq!(b.into_inner(), 400);
    });
}

#[test]
fn a_helper_that_drops_another_pool_comes_to_a_call_that_requires_it() {
    watched("a_helper_that_drops_another_pool_comes_to_a_call_that_requires_it", || {
        let pool = std::sync::Arc::new(pool_of(1));
        for _ in 0..20 {
            let inside = std::sync::Arc::clone(&pool);
            pool.broadcast(|_| {
                let (other, inside) = (pool_of(1), std::sync::Arc::clone(&inside));
                // The drop waits for this closure, and this closure for the thread that drops.
                other.spawn(move || assert_eq!(inside.broadcast(|member| member.index()), [0]));
                drop(other);
            });
        }
    });
}

#[test]
fn three_pools_nest_in_a_ring() {
    watched("three_pools_nest_in_a_ring", || {
        let pools = [pool_of(1), pool_of(1), pool_of(1)];
        fn round(pools: &[Pool; 3], depth: usize) -> u64 {
            if depth == 0 {
                return 1;
            }
            let (a, b) =
                pools[depth % 3].join(|| round(pools, depth - 1), || round(pools, depth - 1));
            a + b
        }
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| assert_eq!(round(&pools, 9), 512));
            }
        });
    });
}

#[test]
fn a_task_waits_in_another_pool_for_a_task_of_its_own() {
    watched("a_task_waits_in_another_pool_for_a_task_of_its_own", || {
        let (one, other) = (pool_of(1), pool_of(1));
        let count = AtomicUsize::new(0);
        for _ in 0..100 {
            one.scope(|outer| {
                outer.spawn(|outer| {
                    other.scope(|inner| {
                        inner.spawn(|_| {
                            outer.spawn(|_| add_one(&count));
                            assert_eq!(fib(&one, 5), 5);
                        });
                    });
                });
            });
        }
        assert_eq!(count.into_inner(), 100);
    });
}

#[test]
fn broadcasts_come_from_many_threads_and_tasks_at_once() {
    watched("broadcasts_come_from_many_threads_and_tasks_at_once", || {
        let pool = pool_of(2);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..50 {
                        pool.join(|| pool.broadcast(|_| ()), || pool.broadcast(|_| fib(&pool, 3)));
                    }
                });
            }
        });
    });
}
