//! Random loops and reductions, nested and from several threads at once, on pools that come and go.
//!
//! What each must come to follows from its seed alone.
//! `FIRSTTOUCH_STRESS_ROUNDS` sets the rounds; the default takes seconds.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use firsttouch_job::{Location, Loop, Schedule, Steal};
use firsttouch_pool::Pool;

/// Rounds where the environment does not say.
const ROUNDS: usize = 12;

/// Threads from outside that run loops at once.
const OUTSIDE: u64 = 3;

/// Numbers that follow from a seed and look unlike it.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN)
}

fn options(numbers: &mut Numbers) -> Loop {
    let schedule = match numbers.below(4) {
        0 => Schedule::Auto,
        1 => Schedule::Static,
        2 => Schedule::Dynamic { chunk: 1 + numbers.below(9) },
        _ => Schedule::Guided { min_chunk: 1 + numbers.below(9) },
    };
    let location = [Location::Anywhere, Location::Spread][numbers.below(2)].clone();
    let steal = [Steal::Anywhere, Steal::Node][numbers.below(2)];
    let invite_after = Duration::from_nanos([0, 1, 2_000][numbers.below(3)]);
    Loop::new()
        .schedule(schedule)
        .location(location)
        .steal(steal)
        .invite_after(invite_after)
        .align(1 + numbers.below(3))
        .min_chunk(numbers.below(5))
        .max_threads(at_least_one(1 + numbers.below(6)))
}

/// Counts the leaves of nested loops; the same number on every pool, in any order.
fn nest(pool: &Pool, seed: u64, depth: usize, leaves: &AtomicUsize) -> usize {
    let mut numbers = Numbers(seed);
    let size = numbers.below(40);
    let options = options(&mut numbers);
    if depth == 0 {
        let ran = options.for_each_index(pool, 0..size, |_| {
            leaves.fetch_add(1, Ordering::Relaxed);
        });
        assert!(ran.is_ok());
        return size;
    }
    let size = size.min(6);
    let fold = |sum: usize, part: Range<usize>| {
        let below = part.map(|index| nest(pool, seed ^ (index as u64 + 1), depth - 1, leaves));
        sum + below.sum::<usize>()
    };
    let sum = if numbers.below(2) == 0 {
        options.reduce(pool, 0..size, || 0, fold, |a, b| a + b)
    } else {
        options.reduce_deterministic(pool, 0..size, || 0, fold, |a, b| a + b)
    };
    sum.expect("the options hold")
}

/// A loop in which one iteration panics; the others end, and the pool goes on.
fn panics(pool: &Pool, seed: u64) {
    let mut numbers = Numbers(seed);
    let options = options(&mut numbers);
    let size = 1 + numbers.below(200);
    let fatal = numbers.below(size);
    let mut data = vec![0_u8; size];
    let ended = catch_unwind(AssertUnwindSafe(|| {
        options.for_each_mut(pool, &mut data, |index, x| {
            *x += 1;
            if index == fatal {
                // Without the hook, whose report takes locks that the thread sanitizer does not see.
                resume_unwind(Box::new("on purpose"));
            }
        })
    }));
    assert!(ended.is_err());
    assert!(data[fatal] == 1 && data.iter().all(|&x| x <= 1), "{options:?}");
}

#[test]
fn random_loops_count_every_leaf_once_with_panics_between() {
    let rounds = std::env::var("FIRSTTOUCH_STRESS_ROUNDS");
    let rounds = rounds.ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    for round in 0..rounds {
        let builder = Pool::builder().helpers_per_node(at_least_one(1 + round % 4));
        let pool = builder.build().expect("threads for a test");
        thread::scope(|scope| {
            let run = |outside| {
                let pool = &pool;
                scope.spawn(move || {
                    let mut numbers = Numbers(round as u64 * OUTSIDE + outside);
                    for _ in 0..10 {
                        let leaves = AtomicUsize::new(0);
                        let sum = nest(pool, numbers.next(), 2, &leaves);
                        assert_eq!(sum, leaves.into_inner());
                        panics(pool, numbers.next());
                    }
                })
            };
            let threads: Vec<_> = (0..OUTSIDE).map(run).collect();
            // By hand: of the end of a scope the thread sanitizer sees nothing.
            threads.into_iter().for_each(|thread| thread.join().expect("its loops hold"));
        });
    }
}
