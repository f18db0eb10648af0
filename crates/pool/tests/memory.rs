//! What a queued task costs in memory, counted by an allocator.
//!
//! One test, as the allocator counts all threads of the process.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;

use common::{pool_of, watched};
use firsttouch_pool::Pool;

/// The system's allocator, which counts what is allocated.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
/// Bytes allocated and not freed.
static LIVE: AtomicIsize = AtomicIsize::new(0);

fn count(calls: usize, bytes: isize) {
    CALLS.fetch_add(calls, Relaxed);
    LIVE.fetch_add(bytes, Relaxed);
}

// SAFETY: all is passed on to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TASKS: usize = 1_000_000;

/// What was allocated per task: bytes that lived at once, and calls.
#[derive(Debug)]
struct PerTask {
    bytes: f64,
    calls: f64,
}

/// Counts what is allocated while `queue` queues a million tasks, of which none runs.
fn per_task(queue: impl FnOnce()) -> PerTask {
    let (calls, live) = (CALLS.load(Relaxed), LIVE.load(Relaxed));
    queue();
    PerTask {
        bytes: (LIVE.load(Relaxed) - live) as f64 / TASKS as f64,
        calls: (CALLS.load(Relaxed) - calls) as f64 / TASKS as f64,
    }
}

/// Keeps the pool's only helper busy until what it returns is used.
fn keep_busy(pool: &Pool) -> impl FnOnce() {
    let (started, busy) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    pool.spawn(move || {
        started.send(()).expect("the test listens");
        released.recv().expect("the test releases it");
    });
    busy.recv().expect("the helper starts it");
    move || release.send(()).expect("the helper listens")
}

/// Waits until what a helper has run is freed.
fn settles_below(live: isize) -> bool {
    (0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        LIVE.load(Relaxed) < live
    })
}

static RAN: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_million_queued_tasks_cost_a_few_words_each() {
    watched("a_million_queued_tasks_cost_a_few_words_each", || {
        let pool = pool_of(1);
        let before = LIVE.load(Relaxed);
        let release = keep_busy(&pool);
        // A closure that holds one word. A word of its own for each task would
        // be seen, and so would an allocation.
        let spawned = per_task(|| {
            for task in 0..TASKS {
                pool.spawn(move || {
                    RAN.fetch_add(usize::from(task < TASKS), Relaxed);
                });
            }
        });
        // The closure, and a slot in the injector: a job's two words and the slot's state.
        assert!(spawned.bytes < 8.0 + 24.0 + 4.0, "{spawned:?}");
        assert!(spawned.calls < 1.1, "{spawned:?}");
        release();
        drop(pool);
        assert_eq!(RAN.swap(0, Relaxed), TASKS);
        assert!(settles_below(before + TASKS as isize / 10), "nothing is kept of them");

        let pool = pool_of(1);
        let before = LIVE.load(Relaxed);
        let release = keep_busy(&pool);
        let scoped = pool.scope(|scope| {
            let scoped = per_task(|| {
                for task in 0..TASKS {
                    scope.spawn(move |_| {
                        RAN.fetch_add(usize::from(task < TASKS), Relaxed);
                    });
                }
            });
            // The closure and its scope; and the deque's slots of two words, up
            // to a power of two, with older buffers for those who may still read them.
            assert!(scoped.bytes < 16.0 + 2.0 * 16.8 + 4.0, "{scoped:?}");
            scoped
        });
        assert!(scoped.calls < 1.1, "{scoped:?}");
        release();
        assert_eq!(RAN.load(Relaxed), TASKS);
        drop(pool);
        assert!(settles_below(before + TASKS as isize / 10), "nothing is kept of these");

        tasks_of_a_warm_scope_allocate_nothing();
    });
}

/// A scope of a few hundred tasks, with one of as many in its first, and some that are large.
fn scopes_in_a_scope(pool: &Pool) -> usize {
    let ran = AtomicUsize::new(0);
    let (ran, large, aligned) = (&ran, [1_usize; 20], Aligned(1));
    pool.scope(|scope| {
        for task in 0..300 {
            scope.spawn(move |_| {
                ran.fetch_add(1, Relaxed);
                if task == 0 {
                    let small = [1_usize; 5];
                    pool.scope(|scope| {
                        for _ in 0..300 {
                            scope.spawn(move |_| {
                                ran.fetch_add(small.into_iter().sum(), Relaxed);
                            });
                        }
                    });
                }
            });
        }
    });
    pool.scope(|scope| {
        scope.spawn(move |_| {
            ran.fetch_add(large.into_iter().sum(), Relaxed);
        });
        scope.spawn(move |_| {
            let Aligned(one) = aligned;
            ran.fetch_add(one, Relaxed);
        });
    });
    ran.load(Relaxed)
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Aligned(usize);

fn tasks_of_a_warm_scope_allocate_nothing() {
    let before = LIVE.load(Relaxed);
    let pool = pool_of(1);
    // On the only helper, so that nobody takes what it spawns.
    pool.broadcast(|_| {
        let calls = || {
            let before = CALLS.load(Relaxed);
            assert_eq!(scopes_in_a_scope(&pool), 300 + 300 * 5 + 20 + 1);
            CALLS.load(Relaxed) - before
        };
        let cold = calls();
        assert!(cold > 300, "the tasks of one scope have memory of their own each: {cold}");
        let warm = calls().min(calls());
        // The two that are too large, and the deque's buffers, which grow and shrink.
        assert!(warm < 60, "a tenth: {warm}");
    });
    drop(pool);
    let left = LIVE.load(Relaxed) - before;
    // The 300 of the inner scope alone had more than 16 KiB; what the deques' collector keeps is less.
    assert!(left < 16 << 10, "{left} bytes are left");
}
