//! Whole pools under random schedules, with the code that ships.
//!
//! Compiled under `--cfg shuttle` only, where every thread, lock, channel and
//! atomic of the pool is shuttle's (`src/sync.rs`): one runs at a time, and a
//! scheduler chooses at each step which. `cargo xtask test --only shuttle`
//! runs them; `docs/protocols/models.md` says what they can show.
#![cfg(shuttle)]

mod common;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use common::forest::{self, Extent, Handler, mix};
use firsttouch_pool::{Pin, Pool, PoolBuilder, Team};
use firsttouch_testing::schedules;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use shuttle::sync::{Barrier, mpsc};
use shuttle::thread;

/// Runs a model under so many schedules where the environment does not say.
fn check(model: fn()) {
    schedules::check(model, 120, env!("CARGO_TARGET_TMPDIR"));
}

/// Returns a builder of a pool with so many helpers on each of one or two nodes, whose threads look on for a while or not at all.
fn builder(nodes: usize, helpers_per_node: usize) -> PoolBuilder {
    let spin = if thread_rng().gen_range(0..2) == 0 { Duration::ZERO } else { Duration::MAX };
    Pool::builder()
        .topology(schedules::topology(nodes))
        .helpers_per_node(helpers_per_node.try_into().expect("a test asks for helpers"))
        .pin(Pin::None)
        .spin(spin)
}

fn pool(nodes: usize, helpers_per_node: usize) -> Pool {
    builder(nodes, helpers_per_node).build().expect("shuttle's threads can be started")
}

/// A pool of two to four helpers, on one node or two.
fn any_pool() -> Pool {
    match thread_rng().gen_range(0..4) {
        0 => pool(2, 1),
        1 => pool(2, 2),
        2 => pool(1, 3),
        _ => pool(1, 2),
    }
}

fn every_node(
    pool: &Pool,
    team: Team,
    more: impl Fn(Team, firsttouch_topology::NodeId) -> Team,
) -> Team {
    pool.nodes().fold(team, |team, (node, _)| more(team, node))
}

/// Panics without the hook, which would report a failure.
fn panic_with(number: u64) -> ! {
    resume_unwind(Box::new(number))
}

fn caught(f: impl FnOnce()) -> Option<u64> {
    let payload = catch_unwind(AssertUnwindSafe(f)).err()?;
    Some(*payload.downcast::<u64>().expect("only the test panics"))
}

fn short_lived(seed: u64, handler: Handler) -> Pool {
    let builder = builder(1 + mix(seed, 0) as usize % 2, 1);
    builder.panic_handler(handler).build().expect("shuttle's threads can be started")
}

#[test]
fn trees_of_calls_end_as_the_serial_walk_says() {
    check(|| {
        let extent = Extent { threads: 2, trees: 1, depth: 2 };
        forest::grow([any_pool(), pool(1, 1)], short_lived, extent, thread_rng().r#gen());
    });
}

#[test]
fn a_deep_tree_of_calls_ends_as_the_serial_walk_says() {
    check(|| {
        let extent = Extent { threads: 1, trees: 1, depth: 3 };
        forest::grow([pool(1, 2), pool(2, 1)], short_lived, extent, thread_rng().r#gen());
    });
}

#[test]
fn nested_joins_get_every_result() {
    check(|| {
        let pool = any_pool();
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| assert_eq!(common::fib(&pool, 5), 5));
            }
        });
    });
}

#[test]
fn a_scope_that_waits_runs_no_task_of_the_scope_around_it() {
    check(|| {
        let pool = pool(2, 1);
        let (far, _) = pool.nodes().last().expect("it has two nodes");
        let inner_ended = AtomicBool::new(false);
        pool.scope(|outer| {
            outer.spawn(|_| {
                while !inner_ended.load(SeqCst) {
                    thread::yield_now();
                }
            });
            pool.scope(|inner| inner.spawn_on(far, |_| thread::yield_now()).expect("its node"));
            inner_ended.store(true, SeqCst);
        });
    });
}

#[test]
fn tasks_that_spawn_tasks_all_run_before_their_scope_ends() {
    check(|| {
        let pool = any_pool();
        let ran = AtomicUsize::new(0);
        pool.scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|scope| {
                    pool.join(
                        || scope.spawn(|_| _ = ran.fetch_add(1, SeqCst)),
                        || scope.spawn(|_| _ = ran.fetch_add(1, SeqCst)),
                    );
                    scope.spawn(|_| _ = ran.fetch_add(1, SeqCst));
                });
            }
            thread::scope(|threads| {
                threads.spawn(|| scope.spawn(|_| _ = ran.fetch_add(1, SeqCst)));
            });
        });
        assert_eq!(ran.load(SeqCst), 7);
    });
}

#[test]
fn a_waiting_owner_runs_a_task_that_comes_from_elsewhere() {
    check(|| {
        let pool = pool(1, 1);
        let (started, ran) = (AtomicBool::new(false), Barrier::new(2));
        pool.scope(|scope| {
            scope.spawn(|scope| {
                started.store(true, SeqCst);
                // Pushed above a join, so it comes to the owner, which waits already or will.
                pool.join(|| scope.spawn(|_| _ = ran.wait()), || ());
                ran.wait();
            });
            while !started.load(SeqCst) {
                thread::yield_now();
            }
        });
    });
}

#[test]
fn required_members_come_to_calls_that_are_open_at_once() {
    check(|| {
        let pool = any_pool();
        let call = |required: usize, invited: usize| {
            let team = every_node(&pool, Team::new(), |team, node| {
                team.require(node, required).invite(node, invited)
            });
            let came: Vec<_> = pool.helpers().iter().map(|_| AtomicUsize::new(0)).collect();
            let members = pool.run(&team, |member| {
                if let Some(helper) = member.helper() {
                    came[helper.index].fetch_add(1, SeqCst);
                }
            });
            assert!(came.iter().all(|came| came.load(SeqCst) <= 1), "nobody comes twice");
            let came: usize = came.iter().map(|came| came.load(SeqCst)).sum();
            assert_eq!(1 + came, members);
            assert!(members > pool.nodes().count() * required.min(1));
        };
        thread::scope(|threads| {
            threads.spawn(|| call(1, 1));
            threads.spawn(|| call(usize::MAX, 0));
            call(0, 2);
        });
    });
}

#[test]
fn broadcasts_of_two_pools_go_into_each_other() {
    check(|| {
        let (one, other) = (pool(1, 1), pool(1, 2));
        let there_and_back = |here: &Pool, there: &Pool| {
            here.broadcast(|_| there.broadcast(|_| here.broadcast(|_| ())));
        };
        thread::scope(|threads| {
            threads.spawn(|| there_and_back(&one, &other));
            threads.spawn(|| there_and_back(&other, &one));
        });
    });
}

#[test]
fn helpers_of_one_pool_broadcast_to_each_other() {
    check(|| {
        let pool = pool(1, 2);
        pool.broadcast(|_| {
            let came = pool.broadcast(|member| member.helper().map(|helper| helper.index));
            assert_eq!(came, [Some(0), Some(1)]);
        });
    });
}

#[test]
fn members_that_must_meet_do() {
    check(|| {
        let pool = any_pool();
        // Nobody returns before all have come: a helper that sleeps on is a deadlock.
        let meeting = Barrier::new(pool.helpers().len());
        pool.join(
            || {
                pool.broadcast(|_| _ = meeting.wait());
            },
            || common::fib(&pool, 3),
        );
    });
}

#[test]
fn spawned_closures_that_must_meet_do() {
    check(|| {
        let pool = any_pool();
        let meeting = Arc::new(Barrier::new(pool.helpers().len() + 1));
        for _ in 0..pool.helpers().len() {
            let meeting = Arc::clone(&meeting);
            pool.spawn(move || _ = meeting.wait());
        }
        meeting.wait();
    });
}

#[test]
fn closures_that_must_meet_do_while_their_pool_is_dropped() {
    check(|| {
        let pool = any_pool();
        let meeting = Arc::new(Barrier::new(pool.helpers().len()));
        for _ in 0..pool.helpers().len() {
            let meeting = Arc::clone(&meeting);
            pool.spawn(move || _ = meeting.wait());
        }
    });
}

#[test]
fn what_is_queued_runs_before_a_drop_returns() {
    check(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let pool = Arc::new(any_pool());
        for _ in 0..2 {
            let (inside, ran) = (Arc::clone(&pool), Arc::clone(&ran));
            pool.spawn(move || {
                let runs = Arc::clone(&ran);
                inside.spawn(move || _ = runs.fetch_add(1, SeqCst));
                ran.fetch_add(common::fib(&inside, 3) as usize, SeqCst);
                // This may be the last reference: the pool is dropped in its own helper then.
            });
        }
        let (sender, receiver) = mpsc::channel::<()>();
        pool.spawn(move || drop(sender));
        drop(pool);
        assert!(receiver.recv().is_err());
        while ran.load(SeqCst) < 6 {
            thread::yield_now();
        }
    });
}

#[test]
fn a_helper_that_drops_another_pool_comes_to_a_call_that_requires_it() {
    check(|| {
        let home = Arc::new(pool(1, 1));
        let inside = Arc::clone(&home);
        home.broadcast(|_| {
            let (other, inside) = (pool(1, 1), Arc::clone(&inside));
            other.spawn(move || assert_eq!(inside.broadcast(|member| member.index()), [0]));
            drop(other);
        });
    });
}

#[test]
fn panics_reach_whoever_waits_and_the_pool_goes_on() {
    check(|| {
        let handled = Arc::new(AtomicUsize::new(0));
        let handles = Arc::clone(&handled);
        let handler = move |payload: Box<dyn Any + Send>| {
            assert_eq!(payload.downcast_ref::<u64>(), Some(&1));
            handles.fetch_add(1, SeqCst);
        };
        let pool = builder(1, 2).panic_handler(handler).build().expect("threads can be started");
        pool.spawn(|| panic_with(1));
        assert_eq!(caught(|| _ = pool.join(|| (), || panic_with(2))), Some(2));
        assert_eq!(caught(|| _ = pool.join(|| panic_with(3), || panic_with(4))), Some(3));
        let scope = caught(|| {
            pool.scope(|scope| {
                scope.spawn(|scope| {
                    scope.spawn(|_| panic_with(5));
                    panic_with(6);
                });
            });
        });
        assert!(matches!(scope, Some(5 | 6)));
        assert_eq!(
            caught(|| _ = pool.broadcast(|member| {
                if member.index() == 1 {
                    panic_with(7);
                }
            })),
            Some(7)
        );
        assert_eq!(common::fib(&pool, 3), 2);
        drop(pool);
        assert_eq!(handled.load(SeqCst), 1);
    });
}

#[test]
fn counters_are_lent_to_one_user_at_a_time() {
    check(|| {
        let pool = pool(1, 1);
        let node = pool.helpers()[0].node;
        let count = || {
            for _ in 0..3 {
                let counter = pool.counter_on(node).expect("there are more than two");
                assert_eq!(counter.fetch_add(1, SeqCst), 0);
                assert_eq!(counter.fetch_add(1, SeqCst), 1);
            }
        };
        thread::scope(|threads| {
            threads.spawn(count);
            threads.spawn(count);
        });
    });
}
