//! Loops allocate nothing of their own; counted on the calling thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use firsttouch_job::{
    CancelToken, Job, Loop, Progress, Schedule, for_each_chunk_mut, for_each_index, reduce,
};
use firsttouch_pool::{Pool, Team};

/// The system's allocator, which counts each thread's calls.
struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends allocates without being counted.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: all is passed on to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's obligations are the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most allocations of the calling thread in one of a hundred calls, once warm.
fn allocations(mut f: impl FnMut()) -> usize {
    // The pool keeps what its first calls allocate.
    for _ in 0..100 {
        f();
    }
    let calls = (0..100).map(|_| {
        let before = CALLS.get();
        f();
        CALLS.get() - before
    });
    calls.max().unwrap_or(0)
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
}

#[test]
fn a_loop_allocates_no_more_than_the_pools_call_it_makes() -> Result<(), Box<dyn Error>> {
    let helpers = NonZeroUsize::new(4).ok_or("4 is not 0")?;
    let pool = Pool::builder().helpers_per_node(helpers).build()?;
    let mut nodes = pool.nodes();
    let (Some((node, _)), None) = (nodes.next(), nodes.next()) else {
        // With several nodes the nearest are looked for, which does allocate.
        return Ok(());
    };
    // Helpers that are busy with something else: what it takes to wake one is
    // the pool's, and depends on whether it sleeps. All are invited even so.
    let started = Arc::new(Barrier::new(pool.helpers().len() + 1));
    let busy: Vec<mpsc::Sender<()>> = pool
        .helpers()
        .iter()
        .map(|_| {
            let (busy, ended) = mpsc::channel();
            let started = Arc::clone(&started);
            pool.spawn(move || {
                started.wait();
                // Ends when the sender is dropped, also where an assertion fails.
                let _ = ended.recv();
            });
            busy
        })
        .collect();
    started.wait();
    let call = allocations(|| {
        pool.run(&Team::new().keep_caller(false).invite(node, 3), |_| ());
    });
    let mut data = [1_u64; 4000];
    for size in [2, 40, 4000] {
        for schedule in [
            Schedule::Auto,
            Schedule::Static,
            Schedule::Dynamic { chunk: 1 },
            Schedule::Guided { min_chunk: 1 },
        ] {
            let options = Loop::new().schedule(schedule);
            let of_loop = allocations(|| {
                let ran = options.for_each_index(&pool, 0..size, |index| {
                    black_box(index);
                });
                assert!(ran.is_ok());
            });
            assert!(of_loop <= call, "{schedule:?}: {of_loop}, and the pool's call {call}");
            let alone = options.clone().min_chunk(size);
            let alone =
                allocations(|| assert!(alone.for_each_index(&pool, 0..size, |_| ()).is_ok()));
            assert_eq!(alone, 0, "{schedule:?}");
            let in_time = options.invite_after(Duration::from_secs(600));
            let in_time =
                allocations(|| assert!(in_time.for_each_index(&pool, 0..size, |_| ()).is_ok()));
            assert_eq!(in_time, 0, "{schedule:?}");
        }
        assert!(allocations(|| for_each_index(&pool, 0..size, |_| ())) <= call);
        let part = &mut data[..size];
        assert!(allocations(|| for_each_chunk_mut(&pool, part, |_, part| part[0] += 1)) <= call);
        let data = &data;
        let sum = || {
            let fold = |sum: u64, part: Range<usize>| sum + data[part].iter().sum::<u64>();
            black_box(reduce(&pool, 0..size, || 0, fold, |a, b| a + b));
        };
        assert!(allocations(sum) <= call);
    }
    drop(busy);
    Ok(())
}

#[test]
fn a_job_allocates_nothing_for_a_chunk_whatever_it_is_asked_for() -> Result<(), Box<dyn Error>> {
    let pool = Pool::new()?;
    let (token, progress) = (CancelToken::new(), Progress::new());
    let later = Instant::now() + Duration::from_secs(3600);
    let asked: [(&str, &dyn Fn(Job) -> Job); 6] = [
        ("nothing", &|job| job),
        ("cancel", &|job| job.cancel(&token)),
        ("deadline", &|job| job.deadline(later)),
        ("progress", &|job| job.progress(&progress)),
        ("stall_after", &|job| job.stall_after(Duration::from_secs(3600))),
        ("all", &|job| {
            let job = job.cancel(&token).deadline(later).progress(&progress);
            job.stall_after(Duration::from_secs(3600)).undo_when_stopped(true)
        }),
    ];
    let mut of_none = 0;
    for (what, ask) in asked {
        let of = |chunks: usize| {
            allocations(|| {
                let job = Job::new(0, chunks).max_chunk(1).max_threads(NonZeroUsize::MIN);
                let report = ask(job).run(&pool, |chunk| _ = black_box(chunk.start));
                assert_eq!(report.map(|report| report.chunks).ok(), Some(chunks));
            })
        };
        let (few, many) = (of(3), of(300));
        assert_eq!(few, many, "{what}");
        if what == "nothing" {
            of_none = few;
        }
        // What is not asked for is not made.
        assert!(few >= of_none, "{what}: {few}, and without {of_none}");
    }
    Ok(())
}
