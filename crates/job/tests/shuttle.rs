//! Whole loops under random schedules, with the code that ships.
//!
//! Compiled under `--cfg shuttle` only; see the pool's test of the same name. Times are no part of a model: callers ask
//! for help at once.
#![cfg(shuttle)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use firsttouch_job::{Location, Loop, Schedule, Steal};
use firsttouch_pool::{Pin, Pool};
use firsttouch_testing::schedules;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use shuttle::thread;

/// Runs a model under so many schedules where the environment does not say.
fn check(model: fn()) {
    schedules::check(model, 100, env!("CARGO_TARGET_TMPDIR"));
}

/// A pool of one to three helpers, on one node or two.
fn pool() -> Pool {
    let (nodes, helpers) = [(1, 1), (1, 2), (1, 3), (2, 1)][below(4)];
    let builder = Pool::builder()
        .topology(schedules::topology(nodes))
        .helpers_per_node(helpers.try_into().expect("a test asks for helpers"))
        .pin(Pin::None)
        .spin([Duration::ZERO, Duration::MAX][below(2)]);
    builder.build().expect("shuttle's threads can be started")
}

fn below(limit: usize) -> usize {
    thread_rng().gen_range(0..limit)
}

/// A loop of any kind.
fn options() -> Loop {
    let schedule = match below(4) {
        0 => Schedule::Auto,
        1 => Schedule::Static,
        2 => Schedule::Dynamic { chunk: 1 + below(3) },
        _ => Schedule::Guided { min_chunk: 1 + below(3) },
    };
    Loop::new()
        .schedule(schedule)
        .location([Location::Anywhere, Location::Spread][below(2)].clone())
        .steal([Steal::Anywhere, Steal::Node][below(2)])
        .invite_after(Duration::ZERO)
        .min_chunk(1)
        .max_threads((1 + below(4)).try_into().expect("a test asks for threads"))
}

#[test]
fn a_loop_runs_every_index_once() {
    check(|| {
        let (pool, size) = (pool(), 1 + below(12));
        let times: Vec<_> = (0..size).map(|_| AtomicUsize::new(0)).collect();
        let options = options();
        let ran = options.for_each_index(&pool, 0..size, |index| {
            times[index].fetch_add(1, SeqCst);
        });
        ran.expect("the options hold");
        assert!(times.iter().all(|times| times.load(SeqCst) == 1), "{options:?}");
    });
}

#[test]
fn loops_of_several_threads_nest() {
    check(|| {
        let pool = pool();
        let sum = || {
            let fold = |sum: usize, part: std::ops::Range<usize>| {
                let inside = |index| {
                    let add = |sum: usize, part: std::ops::Range<usize>| sum + part.len();
                    options().reduce(&pool, 0..index, || 0, add, |a, b| a + b)
                };
                sum + part.map(|index| inside(index).expect("the options hold")).sum::<usize>()
            };
            let sum = options().reduce_deterministic(&pool, 0..5, || 0, fold, |a, b| a + b);
            assert_eq!(sum.expect("the options hold"), 10);
        };
        thread::scope(|threads| {
            threads.spawn(sum);
            sum();
        });
    });
}

#[test]
fn a_panic_ends_a_loop_and_nothing_runs_twice() {
    check(|| {
        let (pool, size) = (pool(), 1 + below(8));
        let fatal = below(size);
        let mut data = vec![0_u8; size];
        let options = options();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            options.for_each_mut(&pool, &mut data, |index, x| {
                *x += 1;
                if index == fatal {
                    // Without the hook, which would report a failure.
                    resume_unwind(Box::new(7_u64));
                }
            })
        }));
        let payload = ended.expect_err("one iteration panics");
        assert_eq!(payload.downcast_ref::<u64>(), Some(&7));
        assert!(data[fatal] == 1 && data.iter().all(|&x| x <= 1), "{options:?}");
    });
}
