//! Loops on real threads, on this machine and on one with two nodes of its CPUs.

use std::collections::HashSet;
use std::error::Error;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use firsttouch_pool::Pool;
use firsttouch_topology::Topology;
use proptest::prelude::*;

use super::*;
use crate::job::help::expected::{Entry, Expected};
use crate::loops::chunks::ThreadChunks;
use crate::testing::{four_nodes, node, one_node, two_nodes};
use crate::{JobError, PlanError};

type Result = std::result::Result<(), Box<dyn Error>>;

const SCHEDULES: [Schedule; 6] = [
    Schedule::Auto,
    Schedule::Static,
    Schedule::Dynamic { chunk: 1 },
    Schedule::Dynamic { chunk: 7 },
    Schedule::Guided { min_chunk: 1 },
    Schedule::Guided { min_chunk: 5 },
];

fn pool_on(topology: &Topology) -> Pool {
    let builder = Pool::builder().topology(Arc::new(topology.clone()));
    builder.build().expect("threads for a test")
}

fn pool_of(helpers: usize) -> Pool {
    let builder = Pool::builder().topology(Arc::new(one_node().topology));
    builder.helpers_per_node(n(helpers)).build().expect("threads for a test")
}

/// A pool of two helpers for the many cases of a property.
fn shared_pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| pool_of(2))
}

fn n(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("a number of threads")
}

/// Two parts for node 0 and two for node 1, the first of them first.
fn quarters(size: usize) -> Location {
    let [a, b, c] = [1, 2, 3].map(|quarter| size / 4 * quarter);
    let parts = vec![(node(0), 0..a), (node(1), a..b), (node(0), b..c), (node(1), c..size)];
    Location::PerNode(parts)
}

/// Counts visits of each index.
struct Visits(Vec<AtomicU8>);

impl Visits {
    fn new(size: usize) -> Self {
        Self((0..size).map(|_| AtomicU8::new(0)).collect())
    }

    fn visit(&self, index: usize) {
        self.0[index].fetch_add(1, Ordering::Relaxed);
    }

    fn each_once(&self) -> bool {
        self.0.iter().all(|unit| unit.load(Ordering::Relaxed) == 1)
    }
}

/// The chunks of a loop, ascending.
fn chunks_of(options: &Loop, pool: &Pool, range: Range<usize>) -> Vec<Range<usize>> {
    let chunks = Mutex::new(Vec::new());
    let ran = options.for_each_chunk(pool, range, |chunk| {
        chunks.lock().expect("no panic").push(chunk);
    });
    ran.expect("the options hold");
    let mut chunks = chunks.into_inner().expect("no panic");
    chunks.sort_by_key(|chunk| chunk.start);
    chunks
}

#[test]
fn every_index_is_run_once_under_every_schedule_wherever_the_range_lives() -> Result {
    const SIZE: usize = 1003;
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    for schedule in SCHEDULES {
        for steal in [Steal::Node, Steal::Anywhere] {
            for location in [Location::Anywhere, quarters(SIZE), Location::Spread] {
                for threads in 1..5 {
                    for invite_after in [Duration::ZERO, Duration::from_nanos(1)] {
                        let visits = Visits::new(SIZE);
                        let options = Loop::new().schedule(schedule).location(location.clone());
                        let options = options.steal(steal).invite_after(invite_after);
                        let options = options.max_threads(n(threads));
                        options.for_each_index(&pool, 0..SIZE, |index| visits.visit(index))?;
                        assert!(visits.each_once(), "{options:?}");
                    }
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn chunks_cover_any_range_in_order_aligned_and_within_their_schedules_bounds(
        start in prop_oneof![0_usize..1000, (0..1000_usize).prop_map(|less| usize::MAX - 2000 - less)],
        size in 0_usize..2000,
        align in 1_usize..70,
        min_chunk in 0_usize..300,
        threads in 1_usize..6,
        length in 1_usize..200,
        which in 0_usize..4,
    ) {
        let schedule = [
            Schedule::Auto,
            Schedule::Static,
            Schedule::Dynamic { chunk: length },
            Schedule::Guided { min_chunk: length },
        ][which];
        let options = Loop::new().schedule(schedule).align(align).min_chunk(min_chunk);
        let chunks = chunks_of(&options.max_threads(n(threads)), shared_pool(), start..start + size);
        let mut at = start;
        for chunk in &chunks {
            prop_assert_eq!(chunk.start, at);
            prop_assert!(chunk.start < chunk.end);
            prop_assert!(chunk.start == start || chunk.start % align == 0);
            at = chunk.end;
        }
        prop_assert_eq!(at, start + size);
        let longest = chunks.iter().map(Range::len).max().unwrap_or(0);
        match schedule {
            Schedule::Static => prop_assert!(chunks.len() <= threads),
            Schedule::Dynamic { chunk } => prop_assert!(longest <= chunk.next_multiple_of(align)),
            Schedule::Guided { min_chunk } => for chunk in &chunks {
                // What an end that is no multiple of align cuts off, in full.
                let cut_off = chunk.start % align + (align - chunk.end % align) % align;
                prop_assert!(chunks.len() == 1 || chunk.len() + cut_off >= min_chunk);
            },
            _ => {}
        }
    }

    #[test]
    fn ranges_become_shorter_towards_the_end_of_a_part(
        start in 0_usize..1000,
        per_thread in 1000_usize..5000,
        // The pool's two helpers, and the caller.
        threads in 1_usize..4,
    ) {
        let options = Loop::new().invite_after(Duration::ZERO).max_threads(n(threads));
        let mut lengths: Vec<_> = chunks_of(&options, shared_pool(), start..start + per_thread * threads)
            .iter()
            .map(Range::len)
            .collect();
        if threads == 1 {
            prop_assert_eq!(lengths, [per_thread]);
            return Ok(());
        }
        lengths.sort_unstable();
        // Chunks are of a length but for one unit, and so are parts but for one chunk.
        let (part, chunk) = (per_thread, per_thread / 255 + 1);
        prop_assert!(lengths.iter().all(|&length| length <= part / 4 + 2 * chunk));
        prop_assert!(lengths[..threads].iter().all(|&length| length <= chunk));
        prop_assert!((8 * threads..12 * threads).contains(&lengths.len()), "{:?}", lengths);
    }

    #[test]
    fn a_sum_is_the_same_under_every_schedule(
        start in 0_usize..1000,
        size in 0_usize..3000,
        threads in 1_usize..6,
        which in 0..SCHEDULES.len(),
    ) {
        let options = Loop::new().schedule(SCHEDULES[which]).max_threads(n(threads));
        let range = start..start + size;
        let fold = |sum: usize, part: Range<usize>| sum + part.sum::<usize>();
        let sum = options.reduce(shared_pool(), range.clone(), || 0, fold, |a, b| a + b);
        prop_assert_eq!(sum.expect("the options hold"), range.sum::<usize>());
    }
}

#[test]
fn a_static_loop_has_one_chunk_for_each_thread() {
    let pool = pool_of(3);
    let options = Loop::new().schedule(Schedule::Static);
    assert_eq!(chunks_of(&options, &pool, 0..10), [0..4, 4..7, 7..10]);
    assert_eq!(chunks_of(&options.clone().max_threads(n(2)), &pool, 0..10), [0..5, 5..10]);
    let most = options.clone().max_threads(n(1000));
    assert_eq!(chunks_of(&most, &pool, 0..8), [0..2, 2..4, 4..6, 6..8], "helpers and caller");
    assert_eq!(chunks_of(&options.min_chunk(4), &pool, 0..9), [0..5, 5..9]);
}

#[test]
fn a_guided_loop_of_one_thread_at_work_takes_ever_shorter_chunks() {
    // The caller is alone until long after its last chunk.
    let pool = pool_of(2);
    let options = Loop::new().schedule(Schedule::Guided { min_chunk: 4 });
    let chunks = chunks_of(&options.invite_after(Duration::from_secs(600)), &pool, 0..64);
    assert_eq!(chunks[..3], [0..16, 16..28, 28..36]);
    assert!(chunks.windows(2).all(|pair| pair[0].len() >= pair[1].len()), "{chunks:?}");
    assert_eq!(chunks.last(), Some(&(60..64)));
}

#[test]
fn a_loop_worth_one_thread_is_a_plain_call_and_keeps_a_dynamic_chunks_length() -> Result {
    let pool = pool_of(4);
    let caller = thread::current().id();
    let options = Loop::new().min_chunk(600);
    options.for_each_chunk(&pool, 0..1000, |chunk| {
        assert_eq!((thread::current().id(), chunk), (caller, 0..1000));
    })?;
    let options = options.schedule(Schedule::Dynamic { chunk: 400 });
    assert_eq!(chunks_of(&options, &pool, 0..1000), [0..334, 334..667, 667..1000]);
    Ok(())
}

#[test]
fn an_empty_range_runs_nothing() -> Result {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    let reversed = Range { start: 9, end: 3 };
    for_each_index(&pool, reversed.clone(), |_| panic!("no index"));
    for_each_mut(&pool, &mut [0; 0], |_, _| panic!("no element"));
    for location in [Location::Anywhere, Location::Spread, Location::PerNode(Vec::new())] {
        for schedule in SCHEDULES {
            let options = Loop::new().location(location.clone()).schedule(schedule);
            for range in [0..0, usize::MAX..usize::MAX, reversed.clone()] {
                options.for_each_chunk(&pool, range.clone(), |_| panic!("no chunk"))?;
                let fold = |_, _| panic!("no chunk");
                let identity = options.reduce(&pool, range.clone(), || 7, fold, |_, _| 0)?;
                assert_eq!(identity, 7);
                let identity = options.reduce_deterministic(&pool, range, || 8, fold, |_, _| 0)?;
                assert_eq!(identity, 8);
            }
        }
    }
    Ok(())
}

#[test]
fn a_range_up_to_the_maximum_is_run_to_its_end() -> Result {
    let pool = pool_of(2);
    for schedule in [
        Schedule::Auto,
        Schedule::Static,
        Schedule::Dynamic { chunk: usize::MAX / 10 },
        Schedule::Guided { min_chunk: usize::MAX / 1000 },
    ] {
        let seen = AtomicUsize::new(0);
        Loop::new().schedule(schedule).for_each_chunk(&pool, 0..usize::MAX, |chunk| {
            seen.fetch_add(chunk.len(), Ordering::Relaxed);
        })?;
        assert_eq!(seen.into_inner(), usize::MAX, "{schedule:?}");
    }
    Ok(())
}

#[test]
fn slices_are_handed_out_in_disjoint_parts_that_cover_them() -> Result {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    let size = 1000;
    for schedule in SCHEDULES {
        for location in [Location::Anywhere, quarters(size), Location::Spread] {
            let options = Loop::new().schedule(schedule).location(location);
            let mut data = vec![0; size];
            options.for_each_chunk_mut(&pool, &mut data, |start, part| {
                assert!(!part.is_empty());
                part.iter_mut().enumerate().for_each(|(offset, x)| *x += start + offset + 1);
            })?;
            options.for_each_mut(&pool, &mut data, |index, x| *x += index)?;
            assert!(data.iter().enumerate().all(|(index, &x)| x == 2 * index + 1), "{options:?}");
        }
    }
    let mut unit = [(); 100];
    let count = AtomicUsize::new(0);
    for_each_chunk_mut(&pool, &mut unit, |_, part| {
        count.fetch_add(part.len(), Ordering::Relaxed);
    });
    assert_eq!(count.into_inner(), 100, "elements without a size count too");
    Ok(())
}

#[test]
fn absurd_numbers_are_errors_and_run_nothing() {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    let error = |options: Loop| {
        let fold = |_, _| panic!("no chunk");
        let reduced = options.reduce_deterministic(&pool, 0..9, || 0, fold, |_, _| 0);
        assert!(reduced.is_err());
        options.for_each_chunk(&pool, 0..9, |_| panic!("no chunk")).expect_err("absurd")
    };
    assert!(matches!(error(Loop::new().align(0)), JobError::Plan(PlanError::ZeroAlign)));
    for schedule in [Schedule::Dynamic { chunk: 0 }, Schedule::Guided { min_chunk: 0 }] {
        let zero = error(Loop::new().schedule(schedule));
        assert!(matches!(zero, JobError::Plan(PlanError::ZeroChunk)));
        let located = error(Loop::new().schedule(schedule).location(Location::Spread));
        assert!(matches!(located, JobError::Plan(PlanError::ZeroChunk)));
    }
    let unknown = error(Loop::new().location(Location::PerNode(vec![(node(7), 0..9)])));
    assert!(matches!(unknown, JobError::UnknownNode { .. }));
    let short = error(Loop::new().location(Location::PerNode(vec![(node(0), 0..8)])));
    assert!(matches!(short, JobError::PartsMiss { gap } if gap == (8..9)));
}

#[test]
fn a_panic_reaches_the_caller_and_stops_the_others() -> Result {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    for schedule in SCHEDULES {
        for location in [Location::Anywhere, Location::Spread] {
            let begun = AtomicUsize::new(0);
            let options = Loop::new().schedule(schedule).location(location);
            let options = options.max_threads(n(2));
            let result = catch_unwind(AssertUnwindSafe(|| {
                options.for_each_chunk(&pool, 0..1 << 16, |_| {
                    begun.fetch_add(1, Ordering::Relaxed);
                    panic!("on purpose");
                })
            }));
            let payload = result.expect_err("it panics");
            assert_eq!(payload.downcast_ref(), Some(&"on purpose"));
            assert!(begun.into_inner() <= 2, "no thread begins a second chunk");
            let visits = Visits::new(100);
            options.for_each_index(&pool, 0..100, |index| visits.visit(index))?;
            assert!(visits.each_once(), "the pool is as good as new");
        }
    }
    Ok(())
}

#[test]
fn a_panic_on_one_thread_keeps_the_other_from_the_rest() {
    let pool = pool_of(2);
    let caller = thread::current().id();
    for schedule in
        [Schedule::Auto, Schedule::Dynamic { chunk: 1 }, Schedule::Guided { min_chunk: 1 }]
    {
        let (begun, both) = (AtomicUsize::new(0), Barrier::new(2));
        // At once, whatever is expected: the caller alone would wait for nobody.
        let options = Loop::new().schedule(schedule).invite_after(Duration::ZERO);
        let chunks = chunks_of(&options, &pool, 0..16).len();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            options.for_each_chunk(&pool, 0..16, |_| {
                // The first two chunks are two threads', as each waits for the other.
                if begun.fetch_add(1, Ordering::Relaxed) < 2 {
                    both.wait();
                } else {
                    thread::sleep(Duration::from_millis(50));
                }
                if thread::current().id() == caller {
                    resume_unwind(Box::new("on purpose"));
                }
            })
        }));
        assert_eq!(ended.expect_err("it panics").downcast_ref(), Some(&"on purpose"));
        assert!(begun.into_inner() < chunks, "{schedule:?}");
    }
}

#[test]
fn a_panic_in_a_reductions_closures_reaches_the_caller() {
    let pool = pool_of(3);
    let sum = |what: &'static str| {
        let maybe = move |now: &str| assert!(what != now, "{what}");
        let reduced = catch_unwind(AssertUnwindSafe(|| {
            let identity = || maybe("identity");
            let fold = |(), _: Range<usize>| maybe("fold");
            let combine = |(), ()| maybe("combine");
            Loop::new().reduce_deterministic(&pool, 0..100, identity, fold, combine)
        }));
        reduced.is_err()
    };
    assert!(["identity", "fold", "combine"].into_iter().all(sum));
    assert!(!sum("nothing"));
}

#[test]
fn loops_nest_in_loops_joins_scopes_and_helpers() -> Result {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    let count = AtomicUsize::new(0);
    let inner = |size: usize| {
        for schedule in SCHEDULES {
            let options = Loop::new().schedule(schedule).location(Location::Spread);
            options.steal(Steal::Node).for_each_index(&pool, 0..size, |_| {
                for_each_chunk(&pool, 0..3, |chunk| {
                    count.fetch_add(chunk.len(), Ordering::Relaxed);
                });
            })?;
        }
        Ok::<(), JobError>(())
    };
    let each = SCHEDULES.len() * 3;
    for_each_index(&pool, 0..10, |_| inner(5).expect("the options hold"));
    assert_eq!(count.swap(0, Ordering::Relaxed), 10 * 5 * each);
    let (left, right) = pool.join(|| inner(4), || inner(7));
    left.and(right)?;
    assert_eq!(count.swap(0, Ordering::Relaxed), 11 * each);
    pool.scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|_| inner(2).expect("the options hold"));
        }
    });
    assert_eq!(count.swap(0, Ordering::Relaxed), 8 * each);
    let ran =
        pool.broadcast(|_| inner(3)).into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
    assert_eq!(count.into_inner(), ran.len() * 3 * each);
    Ok(())
}

#[test]
fn loops_run_at_once_from_many_threads_and_across_pools() {
    let (first, second) = (pool_of(2), pool_of(2));
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        for pool in [&first, &second, &first] {
            scope.spawn(|| {
                for _ in 0..50 {
                    for_each_index(pool, 0..8, |_| {
                        for_each_index(&second, 0..4, |_| {
                            for_each_index(&first, 0..2, |_| {
                                count.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    });
                }
            });
        }
    });
    assert_eq!(count.into_inner(), 3 * 50 * 64);
}

#[test]
fn a_caller_that_is_done_in_time_asks_for_no_help() -> Result {
    let pool = pool_of(3);
    let caller = thread::current().id();
    for schedule in SCHEDULES {
        let options = Loop::new().schedule(schedule).invite_after(Duration::from_secs(600));
        let visits = Visits::new(1000);
        options.for_each_index(&pool, 0..1000, |index| {
            assert_eq!(thread::current().id(), caller);
            visits.visit(index);
        })?;
        assert!(visits.each_once());
    }
    Ok(())
}

#[test]
fn help_that_is_asked_for_late_comes_and_the_sum_is_whole() -> Result {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    for location in [Location::Anywhere, quarters(64)] {
        for schedule in SCHEDULES {
            let options = Loop::new().schedule(schedule).location(location.clone());
            let options = options.invite_after(Duration::from_nanos(1)).max_threads(n(3));
            let threads = Mutex::new(HashSet::new());
            let fold = |sum: usize, part: Range<usize>| {
                threads.lock().expect("no panic").insert(thread::current().id());
                thread::sleep(Duration::from_millis(2));
                sum + part.sum::<usize>()
            };
            let sum = options.reduce(&pool, 0..64, || 0, fold, |a, b| a + b)?;
            assert_eq!(sum, 2016);
            assert!(threads.into_inner().expect("no panic").contains(&thread::current().id()));
        }
    }
    Ok(())
}

#[test]
fn a_deterministic_sum_of_floats_has_the_same_bits_however_it_is_run() -> Result {
    let two = two_nodes();
    let pools = [pool_of(1), pool_of(3), pool_on(&two.topology)];
    let terms: Vec<f64> = (0..5000).map(|n| 1e9 / (f64::from(n) * 0.37 + 0.1)).collect();
    for (align, min_chunk) in [(1, 0), (8, 100), (1, 4999)] {
        let mut bits = HashSet::new();
        for pool in &pools {
            for schedule in SCHEDULES {
                for threads in [1, 2, 5] {
                    let options = Loop::new().schedule(schedule).align(align).min_chunk(min_chunk);
                    let options = options.max_threads(n(threads));
                    let fold = |sum, part: Range<usize>| terms[part].iter().fold(sum, |a, b| a + b);
                    let sum =
                        options.reduce_deterministic(pool, 0..5000, || 0.0, fold, |a, b| a + b);
                    bits.insert(f64::to_bits(sum?));
                }
            }
        }
        assert_eq!(bits.len(), 1, "align {align}, min_chunk {min_chunk}");
    }
    for location in [quarters(5000), Location::Spread] {
        let sum = |options: Loop| {
            let fold = |sum, part: Range<usize>| terms[part].iter().fold(sum, |a, b| a + b);
            options.reduce_deterministic(&pools[2], 0..5000, || 0.0, fold, |a, b| a + b)
        };
        let located = sum(Loop::new().location(location).steal(Steal::Node))?;
        assert_eq!(f64::to_bits(located), f64::to_bits(sum(Loop::new())?));
    }
    Ok(())
}

#[test]
fn a_deterministic_reduction_combines_neighbours_in_the_ranges_order() -> Result {
    let pool = pool_of(3);
    for schedule in SCHEDULES {
        // Concatenation is not commutative: any other order shows.
        let options = Loop::new().schedule(schedule).min_chunk(10);
        let fold = |mut all: Vec<usize>, part: Range<usize>| {
            all.extend(part);
            all
        };
        let combine = |mut left: Vec<usize>, right: Vec<usize>| {
            left.extend(right);
            left
        };
        let all = options.reduce_deterministic(&pool, 3..777, Vec::new, fold, combine)?;
        assert!(all.into_iter().eq(3..777));
    }
    Ok(())
}

#[test]
fn node_sums_are_put_together_once_each() -> Result {
    let four = four_nodes();
    let pool = pool_on(&four.topology);
    for location in [Location::Anywhere, Location::Spread] {
        for _ in 0..20 {
            let options = Loop::new().location(location.clone());
            // A set of indices: one counted twice or not at all shows.
            let fold = |mut seen: Vec<usize>, part: Range<usize>| {
                seen.extend(part);
                seen
            };
            let mut seen = options.reduce(&pool, 0..500, Vec::new, fold, |mut left, right| {
                left.extend(right);
                left
            })?;
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..500));
        }
    }
    Ok(())
}

/// Runs a loop over 8 indices that is expected to be brief; returns whether it was, and whether helpers took part.
fn run_as_brief(pool: &Pool, item: impl Fn(usize) + Sync) -> (bool, bool) {
    fn entry_of<B: Fn(&mut ThreadChunks<'_, '_>) + Sync>(_: &B, units: usize) -> Entry {
        Entry::of(chunks::run_anywhere::<B> as *const () as usize, units)
    }
    let (caller, helped) = (thread::current().id(), AtomicUsize::new(0));
    let visits = Visits::new(8);
    let body = |chunks: &mut ThreadChunks<'_, '_>| {
        for chunk in chunks {
            if thread::current().id() != caller {
                helped.fetch_add(1, Ordering::Relaxed);
            }
            chunk.for_each(|index| {
                visits.visit(index);
                item(index);
            });
        }
    };
    let entry = entry_of(&body, 8);
    entry.note(Expected::Brief);
    let options = Loop::new().schedule(Schedule::Static).options;
    chunks::run(pool, &options, Help::default(), 0..8, body).expect("it can be cut");
    assert!(visits.each_once());
    (entry.expected() == Expected::Brief, helped.into_inner() > 0)
}

#[test]
fn a_loop_that_is_brief_as_expected_is_its_callers_alone() {
    let pool = pool_of(3);
    // Where the machine pauses the caller in the middle, it takes longer and asks for help.
    let runs: Vec<_> = (0..100).map(|_| run_as_brief(&pool, |_| ())).collect();
    assert!(runs.iter().all(|&(brief, helped)| !(brief && helped)), "{runs:?}");
    assert!(runs.iter().any(|&(brief, _)| brief), "{runs:?}");
}

#[test]
fn a_loop_that_is_longer_than_expected_asks_for_help_after_a_chunk() {
    let pool = pool_of(3);
    let first = |index| {
        if index == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    };
    let (brief, _) = run_as_brief(&pool, first);
    assert!(!brief, "its first chunk took a millisecond");
}
