//! Errors, panics, and what is undone after them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use firsttouch_job::{Job, JobError, RunError, Steal};

use crate::{Ranges, Result, n, parts, pool};

/// Runs a job of 40 chunks whose chunk `fails` fails; checks all that must hold then.
fn fail_at(job: Job, pool: &firsttouch_pool::Pool, fails: usize) {
    let (ran, undone) = (Ranges::default(), Ranges::default());
    let inside = AtomicUsize::new(0);
    let caller = thread::current().id();
    let failed = job.try_run_with_undo(
        pool,
        |chunk| {
            inside.fetch_add(1, Ordering::Relaxed);
            let result = if chunk.range().contains(&fails) { Err(fails) } else { Ok(()) };
            if result.is_ok() {
                ran.add(chunk);
            }
            inside.fetch_sub(1, Ordering::Relaxed);
            result
        },
        |chunk| {
            assert_eq!(thread::current().id(), caller);
            assert_eq!(inside.load(Ordering::Relaxed), 0, "all helpers are done");
            undone.add(chunk);
        },
    );
    let Err(RunError::Chunk(failed)) = failed else { panic!("chunk {fails} fails: {failed:?}") };
    assert_eq!(failed.error, fails);
    assert!(failed.chunk.range().contains(&fails));
    assert_eq!(undone.sorted(), ran.sorted(), "each once, and no other");
    let order = undone.in_order();
    assert!(order.is_sorted_by(|later, earlier| later.start > earlier.start), "the last first");
    assert_eq!(failed.undone_chunks, order.len());
    assert_eq!(failed.report.chunks, order.len());
    assert_eq!(failed.report.completed, order.iter().map(|range| range.len()).sum::<usize>());
}

#[test]
fn every_completed_chunk_is_undone_once_whichever_fails() {
    let pool = pool(2, 2);
    for fails in 0..40 {
        for steal in [Steal::Node, Steal::Anywhere] {
            for threads in [1, 3, 5] {
                let job = Job::new(0, 40).max_chunk(1).steal(steal).max_threads(n(threads));
                fail_at(job.clone(), &pool, fails);
                fail_at(job.location(parts(40, 2)), &pool, fails);
            }
        }
    }
}

#[test]
fn without_an_undo_what_completed_stays_and_the_error_says_how_much() -> Result {
    let pool = pool(1, 3);
    let ran = Ranges::default();
    let failed = Job::new(0, 100).max_chunk(1).try_run(&pool, |chunk| {
        if chunk.start == 60 {
            return Err("sixty");
        }
        ran.add(chunk);
        Ok(())
    });
    let Err(RunError::Chunk(failed)) = failed else { return Err("it fails".into()) };
    assert_eq!(failed.report.completed, ran.sorted().len());
    assert_eq!((failed.undone_chunks, failed.report.size), (0, 100));
    let told = failed.to_string();
    assert!(told.contains("chunk 60..61 failed") && told.contains("of 100 units"), "{told}");
    Ok(())
}

#[test]
fn an_error_has_the_users_error_as_its_source() {
    let failed = Job::new(0, 1).try_run(&pool(1, 1), |_| "x".parse::<u8>().map(drop));
    let failed = failed.expect_err("x is no number");
    let source = std::error::Error::source(&failed).expect("the user's");
    assert!(source.is::<std::num::ParseIntError>());
    assert_eq!(failed.report().map(|report| report.completed), Some(0));
}

#[test]
fn what_cannot_begin_is_not_undone() {
    let undo = |_: &_| panic!("nothing has run");
    let bad = Job::new(0, 9).align(0).try_run_with_undo(&pool(1, 1), |_| Err(()), undo);
    assert!(matches!(bad, Err(RunError::Job(JobError::Plan(_)))), "{bad:?}");
}

#[test]
fn a_panic_undoes_what_completed_and_then_reaches_the_caller() {
    let pool = pool(2, 2);
    for panics in 0..20 {
        let (ran, undone) = (Ranges::default(), Ranges::default());
        let job = Job::new(0, 20).max_chunk(1).location(parts(20, 2));
        let ended = catch_unwind(AssertUnwindSafe(|| {
            job.try_run_with_undo(
                &pool,
                |chunk| {
                    assert!(chunk.start != panics, "chunk {panics}");
                    ran.add(chunk);
                    Ok::<(), ()>(())
                },
                |chunk| undone.add(chunk),
            )
        }));
        let payload = ended.expect_err("it panics");
        assert_eq!(payload.downcast_ref::<String>(), Some(&format!("chunk {panics}")));
        assert_eq!(undone.sorted(), ran.sorted());
    }
}

#[test]
fn an_undo_that_panics_keeps_no_other_chunk_from_being_undone() {
    let pool = pool(1, 2);
    let (ran, undone) = (Ranges::default(), Ranges::default());
    let ended = catch_unwind(AssertUnwindSafe(|| {
        Job::new(0, 20).max_chunk(1).max_threads(n(1)).try_run_with_undo(
            &pool,
            |chunk| {
                if chunk.start == 10 {
                    return Err("the error");
                }
                ran.add(chunk);
                Ok(())
            },
            |chunk| {
                undone.add(chunk);
                assert!(chunk.start % 4 != 0, "undo of {}", chunk.start);
            },
        )
    }));
    let payload = ended.expect_err("an undo panics");
    assert_eq!(
        payload.downcast_ref::<String>().map(String::as_str),
        Some("undo of 8"),
        "the first"
    );
    assert_eq!(undone.sorted(), ran.sorted());
}

#[test]
fn the_functions_panic_comes_before_that_of_its_undo() {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        Job::new(0, 9).max_chunk(1).max_threads(n(1)).try_run_with_undo(
            &pool(1, 1),
            |chunk| {
                assert!(chunk.start < 5, "the function");
                Ok::<(), ()>(())
            },
            |_| panic!("its undo"),
        )
    }));
    let payload = ended.expect_err("both panic");
    assert_eq!(payload.downcast_ref(), Some(&"the function"));
}

#[test]
fn random_failures_are_undone_exactly_once_under_stealing() {
    let rounds = std::env::var("FIRSTTOUCH_STRESS_ROUNDS").ok();
    let rounds: usize = rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(40);
    let pool = pool(3, 2);
    thread::scope(|scope| {
        for outside in 0..3 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..rounds {
                    let size = 50 + 7 * (round % 9);
                    let fails = (round * 31 + outside * 17) % size;
                    let counts: Vec<AtomicUsize> = (0..size).map(|_| AtomicUsize::new(0)).collect();
                    let panics = round % 3 == 0;
                    let ended = catch_unwind(AssertUnwindSafe(|| {
                        // Most of the work on one node, so that the others steal it.
                        let location = firsttouch_job::Location::PerNode(vec![
                            (crate::node(outside as u32), 0..size - 4),
                            (crate::node((outside as u32 + 1) % 3), size - 4..size),
                        ]);
                        Job::new(0, size)
                            .max_chunk(1 + round % 3)
                            .location(location)
                            .try_run_with_undo(
                                pool,
                                |chunk| {
                                    if chunk.range().contains(&fails) {
                                        assert!(!panics, "on purpose");
                                        return Err(());
                                    }
                                    for unit in chunk.range() {
                                        counts[unit].fetch_add(1, Ordering::Relaxed);
                                    }
                                    Ok(())
                                },
                                |chunk| {
                                    for unit in chunk.range() {
                                        counts[unit].fetch_sub(1, Ordering::Relaxed);
                                    }
                                },
                            )
                    }));
                    assert!(!matches!(ended, Ok(Ok(_))));
                    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 0));
                }
            });
        }
    });
}
