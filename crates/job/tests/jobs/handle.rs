//! Jobs that run while their starter does something else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use firsttouch_job::{Job, JobError, JobHandle, Piece, Progress, RunError, Steal};
use firsttouch_pool::Pool;

use crate::{Result, keep_busy, n, node, parts, pool};
use firsttouch_testing::watched;

#[test]
fn a_started_job_ends_as_one_that_is_run() -> Result {
    let pool = pool(2, 2);
    let units = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&units);
    let handle = Job::new(0, 1000).start(&pool, move |chunk| {
        counted.fetch_add(chunk.range().len(), Ordering::Relaxed);
    });
    let report = handle.wait()?;
    assert_eq!((report.completed, units.load(Ordering::Relaxed)), (1000, 1000));
    let pieces = (0..9).map(|number| Piece::new(number, 1));
    assert_eq!(Job::over(pieces).start(&pool, |_, _| ()).wait()?.chunks, 9);
    let failed = Job::new(0, 9).try_start(&pool, |_| Err("fails")).wait();
    assert_eq!(failed.expect_err("it fails").into_chunk_error(), Some("fails"));
    let undone = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&undone);
    let failed = Job::new(0, 9).max_chunk(1).max_threads(n(1)).try_start_with_undo(
        &pool,
        |chunk| if chunk.start == 5 { Err(()) } else { Ok(()) },
        move |_| _ = counted.fetch_add(1, Ordering::Relaxed),
    );
    assert!(matches!(failed.wait(), Err(RunError::Chunk(failed)) if failed.undone_chunks == 5));
    assert_eq!(undone.load(Ordering::Relaxed), 5);
    Ok(())
}

#[test]
fn whoever_waits_runs_a_job_that_nobody_has_begun() -> Result {
    let pool = pool(1, 2);
    let busy = keep_busy(&pool);
    let caller = thread::current().id();
    let handle = Job::new(0, 100).start(&pool, move |_| {
        assert_eq!(thread::current().id(), caller);
    });
    assert!(!handle.is_done());
    assert_eq!(handle.wait()?.threads, 1);
    drop(busy);
    Ok(())
}

#[test]
fn a_helper_may_wait_for_a_job_of_its_own_pool() -> Result {
    for helpers in 1..4 {
        let pool = pool(1, helpers);
        for result in pool.broadcast(|_| Job::new(0, 100).start(&pool, |_| ()).wait()) {
            assert_eq!(result?.completed, 100);
        }
        // Started outside, waited for inside.
        let handles: Vec<_> = (0..8).map(|_| Job::new(0, 50).start(&pool, |_| ())).collect();
        let handles = Mutex::new(handles);
        pool.broadcast(|_| {
            while let Some(handle) = { handles.lock().expect("no panic").pop() } {
                assert!(handle.wait().is_ok());
            }
        });
    }
    Ok(())
}

/// Starts a job whose first chunk waits until the sender is dropped.
fn started_and_held(pool: &Arc<Pool>, size: usize) -> (JobHandle, mpsc::Sender<()>) {
    let (end, ended) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let ended = Mutex::new(ended);
    let handle = Job::new(0, size).max_chunk(1).max_threads(n(1)).start(pool, move |chunk| {
        if chunk.start == 0 {
            begun.send(()).expect("it is waited for");
            let _ = ended.lock().expect("no panic").recv();
        }
    });
    has_begun.recv().expect("it begins");
    (handle, end)
}

#[test]
fn a_handle_cancels_and_tells_how_far_the_job_came() {
    let pool = pool(1, 1);
    let (handle, end) = started_and_held(&pool, 10);
    assert!(!handle.is_done());
    assert_eq!((handle.progress().size, handle.progress().completed), (10, 0));
    handle.cancel();
    drop(end);
    let ended = handle.wait().map_err(JobError::from);
    let Err(JobError::Stopped(stopped)) = ended else { panic!("it is stopped: {ended:?}") };
    assert_eq!(stopped.report.completed, 1);
}

#[test]
fn a_wait_with_a_limit_gives_the_handle_back() -> Result {
    let pool = pool(1, 1);
    let (handle, end) = started_and_held(&pool, 3);
    let handle = match handle.wait_timeout(Duration::from_millis(1)) {
        Err(handle) => handle,
        Ok(ended) => return Err(format!("it is held: {ended:?}").into()),
    };
    drop(end);
    match handle.wait_timeout(Duration::from_secs(60)) {
        Ok(ended) => assert_eq!(ended?.completed, 3),
        Err(handle) => return Err(format!("{handle:?}").into()),
    }
    Ok(())
}

#[test]
fn a_dropped_handle_lets_the_job_run_to_its_end() {
    let pool = pool(1, 1);
    let progress = Progress::new();
    let (done, is_done) = mpsc::channel();
    drop(Job::new(0, 100).progress(&progress).start(&pool, move |chunk| {
        done.send(chunk.range().len()).expect("it is waited for");
    }));
    assert_eq!(is_done.iter().sum::<usize>(), 100);
}

#[test]
fn a_panic_reaches_whoever_waits_or_the_pools_handler() -> Result {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let builder = Pool::builder().helpers_per_node(n(1)).panic_handler(move |payload| {
        log.lock().expect("no panic").push(payload.downcast_ref::<&str>().copied());
    });
    let pool = Arc::new(builder.build()?);
    let handle = Job::new(0, 9).start(&pool, |_| panic!("waited for"));
    let ended = catch_unwind(AssertUnwindSafe(|| handle.wait()));
    assert_eq!(ended.expect_err("it panics").downcast_ref(), Some(&"waited for"));
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    drop(Job::new(0, 9).start(&pool, move |_| {
        let _ = ended.lock().map(|ended| ended.recv());
        panic!("nobody waits");
    }));
    drop(end);
    drop(pool);
    // The pool's last owner may be the job itself; its helper tells before it ends.
    for _ in 0..60_000 {
        if !told.lock().expect("no panic").is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(*told.lock().expect("no panic"), [Some("nobody waits")]);
    Ok(())
}

#[test]
fn a_job_that_waits_for_itself_panics_with_advice() {
    let pool = pool(1, 1);
    let place: Arc<Mutex<Option<JobHandle>>> = Arc::default();
    let inside = Arc::clone(&place);
    let (put, is_put) = mpsc::channel::<()>();
    let is_put = Mutex::new(is_put);
    let told = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&told);
    let busy = keep_busy(&pool);
    let handle = Job::new(0, 1).start(&pool, move |_| {
        let _ = is_put.lock().expect("no panic").recv();
        let handle = inside.lock().expect("no panic").take().expect("it was put there");
        let waited = catch_unwind(AssertUnwindSafe(|| handle.wait()));
        let payload = waited.expect_err("it would wait for itself");
        let advice = payload.downcast_ref::<&str>().copied().unwrap_or_default();
        seen.store(advice.contains("inside of that job"), Ordering::Relaxed);
    });
    *place.lock().expect("no panic") = Some(handle);
    drop((put, busy));
    // Its end is that of the pool's work.
    while place.lock().expect("no panic").is_some() || Arc::strong_count(&place) > 1 {
        thread::yield_now();
    }
    assert!(told.load(Ordering::Relaxed));
}

#[test]
fn a_helper_may_wait_for_the_job_that_is_its_pools_last_owner() {
    watched("handle::a_helper_may_wait_for_the_job_that_is_its_pools_last_owner", || {
        let pool = pool(1, 2);
        let (handle, end) = started_and_held(&pool, 3);
        let (waits, is_waiting) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        pool.spawn(move || {
            waits.send(()).expect("it is waited for");
            done.send(handle.wait().map(|report| report.completed)).expect("it is waited for");
        });
        is_waiting.recv().expect("the other helper is free");
        drop(pool);
        drop(end);
        assert_eq!(is_done.recv().expect("the wait ends").ok(), Some(3));
    });
}

#[test]
fn a_helper_that_waits_for_the_job_whose_chunk_it_runs_panics_with_advice() {
    watched(
        "handle::a_helper_that_waits_for_the_job_whose_chunk_it_runs_panics_with_advice",
        || {
            let pool = pool(2, 1);
            let hold = || {
                let (held, ended) = mpsc::channel::<()>();
                let (begin, begun) = mpsc::channel();
                let own = Arc::clone(&pool);
                pool.spawn(move || {
                    begin.send(own.current_helper().map(|helper| helper.node)).expect("it is read");
                    drop(own);
                    let _ = ended.recv();
                });
                (begun.recv().expect("a helper is free"), held)
            };
            // The helper of node 0 becomes the caller, as the other is not free before it has begun.
            let mut held = [hold(), hold()];
            held.sort_by_key(|(of, _)| *of != Some(node(0)));
            let [(_, first), (_, second)] = held;
            let second = Mutex::new(Some(second));
            let place: Arc<Mutex<Option<JobHandle>>> = Arc::default();
            let inside = Arc::clone(&place);
            let (put, is_put) = mpsc::channel::<()>();
            let is_put = Mutex::new(is_put);
            let (tell, told) = mpsc::channel();
            let job = Job::new(0, 2).max_chunk(1).location(parts(2, 2)).steal(Steal::Node);
            let handle = job.start(&pool, move |chunk| {
                if chunk.start == 0 {
                    drop(second.lock().expect("no panic").take());
                    return;
                }
                let _ = is_put.lock().expect("no panic").recv();
                let handle = inside.lock().expect("no panic").take().expect("it was put there");
                let waited = catch_unwind(AssertUnwindSafe(|| handle.wait()));
                let payload = waited.expect_err("it would wait for itself");
                let advice = payload.downcast_ref::<&str>().copied().unwrap_or_default();
                tell.send(advice.contains("inside of that job")).expect("it is waited for");
            });
            *place.lock().expect("no panic") = Some(handle);
            drop((put, first));
            assert_eq!(told.recv(), Ok(true));
        },
    );
}

#[test]
fn the_job_keeps_its_pool() -> Result {
    let pool = pool(1, 2);
    let (handle, end) = started_and_held(&pool, 50);
    drop(pool);
    drop(end);
    assert_eq!(handle.wait()?.completed, 50);
    Ok(())
}

#[cfg(feature = "future")]
mod future {
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;

    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[test]
    fn a_handle_is_a_future_of_what_the_job_comes_to() -> Result {
        let pool = pool(1, 2);
        for _ in 0..50 {
            assert_eq!(block_on(Job::new(0, 100).start(&pool, |_| ()))?.completed, 100);
        }
        let failed = block_on(Job::new(0, 9).try_start(&pool, |_| Err("fails")));
        assert_eq!(failed.expect_err("it fails").into_chunk_error(), Some("fails"));
        Ok(())
    }

    #[test]
    fn a_poll_leaves_the_work_to_the_pool_and_the_last_waker_is_woken() {
        let pool = pool(1, 1);
        let (handle, end) = started_and_held(&pool, 2);
        let mut handle = pin!(handle);
        let noop = Context::from_waker(Waker::noop()).waker().clone();
        assert!(handle.as_mut().poll(&mut Context::from_waker(&noop)).is_pending());
        drop(end);
        let ended = block_on(handle.as_mut());
        assert_eq!(ended.map(|report| report.completed).ok(), Some(2));
    }

    #[test]
    fn a_wait_after_the_poll_that_was_ready_panics_with_advice() {
        type Wait = fn(JobHandle);
        let waits: [Wait; 3] = [
            |handle| _ = handle.wait(),
            |handle| _ = handle.wait_timeout(Duration::ZERO),
            |handle| _ = block_on(handle),
        ];
        let pool = pool(1, 1);
        for wait in waits {
            let mut handle = Job::new(0, 9).start(&pool, |_| ());
            assert!(block_on(pin!(&mut handle)).is_ok());
            assert!(handle.is_done());
            let waited = catch_unwind(AssertUnwindSafe(|| wait(handle)));
            let payload = waited.expect_err("the result is given out");
            let advice = payload.downcast_ref::<&str>().copied().unwrap_or_default();
            assert!(advice.contains("after a poll was ready"), "{advice}");
        }
    }

    #[test]
    fn a_panic_comes_out_of_the_poll() {
        let pool = pool(1, 1);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            block_on(Job::new(0, 9).start(&pool, |_| panic!("polled for")))
        }));
        assert_eq!(ended.expect_err("it panics").downcast_ref(), Some(&"polled for"));
    }
}
