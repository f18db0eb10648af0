//! Progress, calls at a rate, and chunks that stall.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use firsttouch_job::{Job, Progress, ProgressSnapshot, Steal};

use crate::{Result, n, node, parts, pool};

#[test]
fn another_thread_sees_a_job_come_on_node_by_node() -> Result {
    let pool = pool(2, 2);
    let progress = Progress::new();
    assert_eq!(progress.snapshot(), ProgressSnapshot::default());
    let reader = progress.clone();
    let seen = Mutex::new(Vec::new());
    let job = Job::new(0, 100).max_chunk(1).location(parts(100, 2)).progress(&progress);
    job.run(&pool, |_| seen.lock().expect("no panic").push(reader.snapshot()))?;
    let seen = seen.into_inner()?;
    assert!(seen.is_sorted_by_key(|snapshot| snapshot.completed), "never backwards");
    for snapshot in &seen {
        assert!(!snapshot.is_over && snapshot.size == 100 && snapshot.completed < 100);
        let of_nodes: usize = snapshot.nodes.iter().map(|row| row.completed).sum();
        assert_eq!(of_nodes, snapshot.completed);
    }
    let over = progress.snapshot();
    assert!(over.is_over && over.fraction() == 1.0);
    let rows: Vec<_> = over.nodes.iter().map(|row| (row.node, row.size, row.completed)).collect();
    assert_eq!(rows, [(Some(node(0)), 50, 50), (Some(node(1)), 50, 50)]);
    Ok(())
}

#[test]
fn progress_ends_with_a_job_that_panics_and_begins_with_the_next() -> Result {
    let pool = pool(1, 1);
    let progress = Progress::new();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let job = Job::new(0, 10).max_chunk(1).max_threads(n(1)).progress(&progress);
        job.run(&pool, |chunk| assert!(chunk.start < 4))
    }));
    assert!(ended.is_err());
    let over = progress.snapshot();
    assert!(over.is_over && over.completed == 4, "{over:?}");
    Job::new(0, 7).progress(&progress).run(&pool, |_| ())?;
    assert_eq!(progress.snapshot().completed, 7);
    Job::new(0, 0).progress(&progress).run(&pool, |_| ())?;
    assert_eq!(progress.snapshot().fraction(), 1.0);
    Ok(())
}

#[test]
fn calls_are_made_by_the_caller_and_no_more_often_than_stated() -> Result {
    let pool = pool(2, 2);
    let every = Duration::from_millis(3);
    let calls: Arc<Mutex<Vec<(Instant, usize)>>> = Arc::default();
    let (caller, log) = (thread::current().id(), Arc::clone(&calls));
    let began = Instant::now();
    let job = Job::new(0, 200).max_chunk(1).location(parts(200, 2)).steal(Steal::Node);
    let job = job.on_progress(every, move |snapshot| {
        assert_eq!(thread::current().id(), caller);
        log.lock().expect("no panic").push((Instant::now(), snapshot.completed));
    });
    // The other node's part takes longer, so the caller calls while it waits.
    job.run(&pool, |chunk| {
        let long = pool.current_helper().is_some() || chunk.start % 10 == 0;
        thread::sleep(Duration::from_micros(if long { 500 } else { 0 }));
    })?;
    let calls = calls.lock().expect("no panic");
    assert!(!calls.is_empty());
    let mut last = began;
    for &(at, _) in calls.iter() {
        assert!(at - last >= every, "{:?}", at - last);
        last = at;
    }
    assert!(calls.is_sorted_by_key(|&(_, completed)| completed));
    Ok(())
}

#[test]
fn a_call_that_panics_ends_the_job_and_reaches_the_caller() {
    let pool = pool(1, 2);
    let undone = AtomicUsize::new(0);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let job = Job::new(0, 1 << 30).max_chunk(1);
        job.on_progress(Duration::from_millis(1), |_| panic!("no display")).try_run_with_undo(
            &pool,
            |_| {
                thread::sleep(Duration::from_micros(50));
                Ok::<(), ()>(())
            },
            |_| {
                undone.fetch_add(1, Ordering::Relaxed);
            },
        )
    }));
    assert_eq!(ended.expect_err("it panics").downcast_ref(), Some(&"no display"));
    assert!(undone.into_inner() > 0);
}

#[test]
fn a_chunk_that_stalls_is_found_with_helper_cpu_and_range_while_it_does() -> Result {
    let pool = pool(1, 2);
    let progress = Progress::new();
    let job = Job::new(0, 8).max_chunk(1).progress(&progress).stall_after(Duration::from_millis(2));
    let found = Mutex::new(Vec::new());
    job.run(&pool, |chunk| {
        if chunk.start == 3 {
            while found.lock().expect("no panic").is_empty() {
                *found.lock().expect("no panic") = progress.stalls();
                thread::yield_now();
            }
            let found = found.lock().expect("no panic");
            let stall = found.iter().find(|stall| stall.start == 3).expect("this one");
            assert_eq!((stall.end, stall.cpu, stall.piece), (4, chunk.cpu, None));
            assert_eq!(stall.helper, pool.current_helper().map(|helper| helper.index));
            assert!(stall.since >= Duration::from_millis(2));
        }
    })?;
    assert!(progress.stalls().is_empty(), "the job is over");
    Ok(())
}

#[test]
fn nothing_stalls_where_no_time_was_stated() -> Result {
    let progress = Progress::new();
    Job::new(0, 8).max_chunk(1).progress(&progress).run(&pool(1, 2), |_| {
        thread::sleep(Duration::from_millis(1));
        assert!(progress.stalls().is_empty());
    })?;
    Ok(())
}

#[test]
fn a_waiting_helper_that_watches_its_job_comes_to_calls_that_require_it() -> Result {
    // Every helper calls a watched job that every node must take part in.
    let pool = pool(3, 1);
    for result in pool.broadcast(|_| {
        let job = Job::new(0, 30).location(parts(30, 3)).steal(Steal::Node).max_chunk(1);
        let job = job.stall_after(Duration::from_secs(60)).on_progress(Duration::ZERO, |_| ());
        job.run(&pool, |_| ()).map(|report| report.completed)
    }) {
        assert_eq!(result?, 30);
    }
    Ok(())
}
