//! Tokens and deadlines.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use firsttouch_job::{CancelToken, Job, JobError, Location, RunError, Steal, StopReason};

use crate::{Ranges, Result, n, parts, pool};

#[test]
fn a_job_cancelled_at_any_chunk_stops_and_says_how_far_it_came() -> Result {
    let pool = pool(2, 2);
    for cancels in 0..24 {
        for threads in [1, 4] {
            for location in [Location::Anywhere, parts(24, 2)] {
                let token = CancelToken::new();
                let ran = Ranges::default();
                let job = Job::new(0, 24).max_chunk(1).max_threads(n(threads)).cancel(&token);
                let ended = job.location(location).run(&pool, |chunk| {
                    ran.add(chunk);
                    if chunk.start == cancels {
                        token.cancel();
                    }
                });
                let done = ran.sorted().len();
                match ended {
                    Ok(report) => assert_eq!((report.completed, done), (24, 24)),
                    Err(JobError::Stopped(stopped)) => {
                        assert_eq!(stopped.reason, StopReason::Cancelled);
                        let report = &stopped.report;
                        assert_eq!((report.completed, report.chunks), (done, done));
                        assert!((1..24).contains(&done));
                        assert_eq!(stopped.undone_chunks, 0);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(())
}

#[test]
fn one_thread_stops_right_after_the_chunk_that_cancels() {
    let pool = pool(1, 2);
    for cancels in 0..24 {
        let token = CancelToken::new();
        let job = Job::new(0, 24).max_chunk(1).max_threads(n(1)).cancel(&token);
        let ended = job.run(&pool, |chunk| {
            if chunk.start == cancels {
                token.cancel();
            }
        });
        match ended {
            Ok(report) => assert_eq!((report.completed, cancels), (24, 23)),
            Err(JobError::Stopped(stopped)) => assert_eq!(stopped.report.completed, cancels + 1),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_job_cancelled_before_it_begins_runs_nothing() {
    let pool = pool(2, 1);
    let token = CancelToken::new();
    token.cancel();
    for steal in [Steal::Node, Steal::Anywhere] {
        let job = Job::new(5, 10).location(Location::Spread).steal(steal).cancel(&token);
        let Err(JobError::Stopped(stopped)) = job.run(&pool, |_| panic!("no chunk")) else {
            panic!("it is stopped")
        };
        let report = stopped.report;
        assert_eq!((report.size, report.completed, report.threads), (10, 0, 0));
    }
    let empty = Job::new(5, 0).cancel(&token).run(&pool, |_| panic!("no chunk"));
    assert_eq!(empty.map(|report| report.size).ok(), Some(0), "there was nothing to stop");
}

#[test]
fn a_deadline_that_has_passed_stops_and_a_far_one_does_not() {
    let pool = pool(1, 2);
    let ended = Job::new(0, 10).deadline(Instant::now()).run(&pool, |_| panic!("no chunk"));
    let Err(JobError::Stopped(stopped)) = ended else { panic!("it is stopped") };
    assert_eq!(stopped.reason, StopReason::Deadline);
    let told = stopped.to_string();
    assert!(told.starts_with("the job's deadline passed, with 0 of 10 units"), "{told}");
    let far = Instant::now() + Duration::from_secs(3600);
    assert!(Job::new(0, 10).deadline(far).run(&pool, |_| ()).is_ok());
}

#[test]
fn a_deadline_passes_between_chunks() {
    let pool = pool(1, 1);
    let deadline = Instant::now() + Duration::from_millis(5);
    let ran = AtomicUsize::new(0);
    let job = Job::new(0, 10).max_chunk(1).max_threads(n(1)).deadline(deadline);
    let ended = job.run(&pool, |chunk| {
        ran.fetch_add(1, Ordering::Relaxed);
        while chunk.start == 3 && Instant::now() < deadline {
            std::thread::yield_now();
        }
    });
    let Err(JobError::Stopped(stopped)) = ended else { panic!("it is stopped") };
    assert_eq!(stopped.report.completed, ran.into_inner());
    assert!(stopped.report.completed <= 4);
}

#[test]
fn a_stopped_job_is_undone_where_that_is_asked_for() {
    let pool = pool(2, 2);
    for undo in [false, true] {
        let (ran, undone) = (Ranges::default(), Ranges::default());
        let token = CancelToken::new();
        let job = Job::new(0, 50).max_chunk(1).cancel(&token).undo_when_stopped(undo);
        let ended = job.location(parts(50, 2)).try_run_with_undo(
            &pool,
            |chunk| {
                ran.add(chunk);
                if ran.in_order().len() == 7 {
                    token.cancel();
                }
                Ok::<(), ()>(())
            },
            |chunk| undone.add(chunk),
        );
        let Err(RunError::Job(JobError::Stopped(stopped))) = ended else { panic!("it is stopped") };
        let expected = if undo { ran.sorted() } else { Vec::new() };
        assert_eq!(undone.sorted(), expected);
        assert_eq!(stopped.undone_chunks, expected.len());
        assert_eq!(stopped.report.chunks, ran.sorted().len());
    }
}

#[test]
fn a_token_that_nobody_cancels_changes_nothing() -> Result {
    let pool = pool(1, 2);
    let ran = Ranges::default();
    let report = Job::new(0, 100).cancel(&CancelToken::new()).run(&pool, |chunk| ran.add(chunk))?;
    assert_eq!((report.completed, ran.sorted().len()), (100, report.chunks));
    Ok(())
}

#[test]
fn chunks_are_no_longer_than_asked_for_and_zero_is_an_error() -> Result {
    let pool = pool(1, 2);
    let ran = Ranges::default();
    Job::new(3, 1000).align(8).max_chunk(20).min_chunk(100).run(&pool, |chunk| ran.add(chunk))?;
    assert!(ran.sorted().iter().all(|range| range.len() <= 16), "{ran:?}");
    assert!(Job::new(0, 10).max_chunk(0).run(&pool, |_| ()).is_err());
    Ok(())
}
