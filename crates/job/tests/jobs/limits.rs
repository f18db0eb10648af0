//! Limits that jobs share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use firsttouch_job::{CancelToken, Job, JobError, JobLimits, Location, Steal};
use firsttouch_pool::Pool;

use crate::{Ranges, Result, keep_busy, n, parts, pool};
use firsttouch_testing::watched;

#[test]
fn jobs_of_many_threads_keep_to_the_limits_and_all_end() -> Result {
    let pool = pool(2, 3);
    let limits = JobLimits::builder().max_jobs(n(2)).max_helpers(n(3)).build();
    let (units, helping) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..6 {
            let (pool, limits, units, helping) = (&pool, &limits, &units, &helping);
            scope.spawn(move || {
                for round in 0..30 {
                    let location = [Location::Anywhere, Location::Spread, parts(60, 2)];
                    let steal = [Steal::Anywhere, Steal::Node][(thread + round) % 2];
                    let job = Job::new(0, 60).location(location[round % 3].clone()).steal(steal);
                    let ran = job.max_chunk(3).limits(limits).run(pool, |chunk| {
                        assert!(limits.jobs() <= 2 && limits.helpers() <= 3, "{limits:?}");
                        let is_helper = usize::from(pool.current_helper().is_some());
                        assert!(helping.fetch_add(is_helper, Ordering::Relaxed) + is_helper <= 3);
                        thread::yield_now();
                        helping.fetch_sub(is_helper, Ordering::Relaxed);
                        units.fetch_add(chunk.range().len(), Ordering::Relaxed);
                    });
                    assert_eq!(ran.expect("it runs").completed, 60);
                }
            });
        }
    });
    assert_eq!(units.into_inner(), 6 * 30 * 60);
    assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
    Ok(())
}

/// Calls `while_held` while another job has the only turn.
fn while_one_has_the_turn(limits: &JobLimits, while_held: impl FnOnce()) {
    let pool = pool(1, 2);
    let (begun, has_begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let (pool, ended) = (&pool, Mutex::new(ended));
        scope.spawn(move || {
            Job::new(0, 2).max_chunk(1).max_threads(n(2)).limits(limits).run(pool, |chunk| {
                if chunk.start == 0 {
                    begun.send(()).expect("it is waited for");
                    let _ = ended.lock().expect("no panic").recv();
                }
            })
        });
        has_begun.recv().expect("it begins");
        while_held();
        drop(end);
    });
}

#[test]
fn a_caller_whose_turn_has_not_come_works_alone_to_the_end() {
    let limits = JobLimits::builder().max_jobs(n(1)).build();
    let pool = pool(1, 2);
    while_one_has_the_turn(&limits, || {
        let caller = thread::current().id();
        let ran = Job::new(0, 100).max_chunk(1).limits(&limits).run(&pool, |_| {
            assert_eq!(thread::current().id(), caller);
            assert_eq!((limits.jobs(), limits.waiting()), (1, 1));
        });
        assert_eq!(ran.expect("it runs").threads, 1);
        assert_eq!((limits.jobs(), limits.waiting()), (1, 0), "it has left the queue");
    });
    assert_eq!(limits.jobs(), 0);
}

#[test]
fn helpers_come_when_the_turn_does() {
    let limits = JobLimits::builder().max_jobs(n(1)).build();
    let pool = pool(1, 2);
    let (first, has_first) = mpsc::channel();
    thread::scope(|scope| {
        let mut waits = None;
        while_one_has_the_turn(&limits, || {
            waits = Some(scope.spawn(|| {
                let caller = thread::current().id();
                let helped = AtomicUsize::new(0);
                let job = Job::new(0, 1 << 30).max_chunk(1).limits(&limits);
                let token = CancelToken::new();
                let ended = job.max_threads(n(2)).cancel(&token).run(&pool, |_| {
                    let _ = first.send(());
                    if thread::current().id() != caller {
                        helped.fetch_add(1, Ordering::Relaxed);
                        // Else it would go on for minutes.
                        token.cancel();
                    }
                });
                assert!(matches!(ended, Err(JobError::Stopped(_))));
                helped.into_inner()
            }));
            has_first.recv().expect("it works alone");
        });
        let helped = waits.expect("it was spawned").join().expect("no panic");
        assert!(helped >= 1);
    });
}

#[test]
fn a_part_that_only_its_node_may_run_waits_for_its_turn_and_can_be_cancelled() {
    let limits = JobLimits::builder().max_jobs(n(1)).build();
    let pool = pool(2, 1);
    while_one_has_the_turn(&limits, || {
        let token = CancelToken::new();
        let ran = Ranges::default();
        let ended = thread::scope(|scope| {
            scope.spawn(|| {
                while limits.waiting() == 0 {
                    thread::yield_now();
                }
                token.cancel();
            });
            let job = Job::new(0, 1000).location(parts(1000, 2)).steal(Steal::Node);
            job.max_chunk(1).limits(&limits).cancel(&token).run(&pool, |chunk| ran.add(chunk))
        });
        let Err(JobError::Stopped(stopped)) = ended else { panic!("it waits: {ended:?}") };
        assert_eq!(stopped.report.completed, ran.sorted().len());
    });
}

#[test]
fn limited_jobs_nest_and_run_in_helpers_without_waiting_for_each_other() -> Result {
    let pool = pool(2, 2);
    let limits = JobLimits::builder().max_jobs(n(1)).max_helpers(n(1)).build();
    let units = AtomicUsize::new(0);
    let job = || {
        let job = Job::new(0, 12).location(parts(12, 2)).steal(Steal::Node);
        job.max_chunk(1).limits(&limits)
    };
    for _ in 0..20 {
        job().run(&pool, |_| {
            // Stolen by helpers, which are inside of a limited job and do not know it.
            let inner = || job().run(&pool, |_| _ = units.fetch_add(1, Ordering::Relaxed));
            let (left, right) = pool.join(inner, inner);
            assert!(left.is_ok() && right.is_ok());
        })?;
    }
    assert_eq!(units.into_inner(), 20 * 12 * 2 * 12);
    assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
    Ok(())
}

#[test]
fn what_is_undone_may_run_jobs_under_the_same_limits() {
    watched("limits::what_is_undone_may_run_jobs_under_the_same_limits", || {
        let pool = pool(2, 1);
        let limits = JobLimits::builder().max_jobs(n(1)).build();
        let job = || {
            let job = Job::new(0, 8).location(parts(8, 2)).steal(Steal::Node);
            job.max_chunk(1).limits(&limits)
        };
        let (ran, units) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failed = job().try_run_with_undo(
            &pool,
            |_| if ran.fetch_add(1, Ordering::Relaxed) < 4 { Ok(()) } else { Err(()) },
            |_| {
                assert_eq!((limits.jobs(), limits.helpers()), (0, 0));
                let inner = job().run(&pool, |chunk| {
                    units.fetch_add(chunk.range().len(), Ordering::Relaxed);
                });
                assert!(inner.is_ok());
            },
        );
        assert!(failed.is_err());
        assert_eq!(units.into_inner(), 4 * 8);
    });
}

#[test]
fn a_panic_gives_the_turn_back() {
    let pool = pool(1, 2);
    let limits = JobLimits::builder().max_jobs(n(1)).build();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Job::new(0, 10).limits(&limits).run(&pool, |_| panic!("on purpose"))
    }));
    assert!(ended.is_err());
    assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
}

#[test]
fn a_panic_in_a_helper_gives_the_turn_to_who_waits() {
    watched("limits::a_panic_in_a_helper_gives_the_turn_to_who_waits", || {
        let pool = pool(2, 1);
        let limits = JobLimits::builder().max_jobs(n(1)).build();
        let job = |steal| Job::new(0, 8).location(parts(8, 2)).steal(steal).limits(&limits);
        thread::scope(|scope| {
            let waits = || {
                let waits = job(Steal::Node).max_chunk(1).run(&pool, |_| ());
                assert_eq!(waits.expect("it runs").completed, 8);
            };
            let (limits, pool) = (&limits, &pool);
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                job(Steal::Node).run(pool, |_| {
                    if pool.current_helper().is_some() {
                        scope.spawn(waits);
                        while limits.waiting() == 0 {
                            thread::yield_now();
                        }
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                })
            }));
            assert!(ended.is_err());
        });
        assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
    });
}

/// One of many kinds of jobs, by its number.
fn any_job(pool: &Pool, limits: &JobLimits, number: usize, depth: usize) {
    let size = 24;
    let steal = [Steal::Anywhere, Steal::Near, Steal::Node][number % 3];
    let location = [Location::Anywhere, parts(size, 2)][number / 3 % 2].clone();
    let job = Job::new(0, size).location(location).steal(steal).max_chunk(1).limits(limits);
    let (token, units) = (CancelToken::new(), AtomicUsize::new(0));
    let fatal = number / 6 % size;
    let what = number / 7 % 4;
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        job.cancel(&token).run(pool, |chunk| {
            units.fetch_add(1, Ordering::Relaxed);
            match what {
                1 if chunk.start == fatal => std::panic::resume_unwind(Box::new("on purpose")),
                2 if chunk.start == fatal => token.cancel(),
                3 if depth > 0 && chunk.start % 8 == fatal % 8 => {
                    any_job(pool, limits, number + chunk.start, depth - 1);
                }
                _ => thread::yield_now(),
            }
        })
    }));
    match ended {
        Ok(Ok(report)) => assert_eq!((report.completed, units.into_inner()), (size, size)),
        Ok(Err(JobError::Stopped(stopped))) => {
            assert_eq!((what, stopped.report.completed), (2, units.into_inner()));
        }
        Ok(Err(error)) => panic!("{error}"),
        Err(_) => assert_eq!(what, 1),
    }
}

#[test]
fn jobs_that_end_in_any_way_on_two_pools_leave_nothing_behind() {
    watched("limits::jobs_that_end_in_any_way_on_two_pools_leave_nothing_behind", || {
        let pools = [pool(2, 2), pool(2, 1)];
        let builders = [
            JobLimits::builder(),
            JobLimits::builder().max_jobs(n(2)),
            JobLimits::builder().max_helpers(n(2)),
            JobLimits::builder().max_jobs(n(3)).max_helpers(n(4)),
        ];
        for limits in builders.map(|builder| builder.build()) {
            thread::scope(|scope| {
                for thread in 0..6 {
                    let (limits, pool) = (&limits, &pools[thread % 2]);
                    scope.spawn(move || {
                        for round in 0..8 {
                            any_job(pool, limits, thread * 31 + round * 5, 1);
                        }
                    });
                }
            });
            assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
        }
    });
}

#[test]
fn a_job_worth_one_thread_takes_no_turn() -> Result {
    let pool = pool(1, 2);
    let limits = JobLimits::builder().build();
    let job = Job::new(0, 10).max_threads(n(1)).limits(&limits);
    job.run(&pool, |_| assert_eq!(limits.jobs(), 0))?;
    Ok(())
}

#[test]
fn two_jobs_that_go_on_have_an_even_share_of_a_pools_helpers_each() {
    watched("limits::two_jobs_that_go_on_have_an_even_share_of_a_pools_helpers_each", || {
        let pool = pool(1, 4);
        let limits = JobLimits::builder().build();
        let token = CancelToken::new();
        let helpers = [const { Mutex::new(BTreeSet::new()) }; 2];
        let at = |job: usize| helpers[job].lock().expect("no panic");
        let until_there_are = |job: usize, count: usize| {
            while at(job).len() < count {
                thread::yield_now();
            }
        };
        let run = |number: usize| {
            let job = Job::new(0, 1 << 40).max_chunk(1).max_threads(n(5));
            let ended = job.limits(&limits).cancel(&token).run(&pool, |_| {
                at(number).extend(pool.current_helper().map(|helper| helper.index));
                thread::yield_now();
            });
            assert!(matches!(ended, Err(JobError::Stopped(_))), "{ended:?}");
        };
        thread::scope(|scope| {
            scope.spawn(|| run(0));
            until_there_are(0, 4);
            scope.spawn(|| run(1));
            until_there_are(1, 2);
            // Two have left the first job before they came to the second; the others are still there.
            at(0).clear();
            until_there_are(0, 2);
            assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (2, 4, 0));
            token.cancel();
        });
        assert_eq!((at(0).len(), at(1).len()), (2, 2));
        assert!(at(0).is_disjoint(&at(1)));
        assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
    });
}

#[test]
fn busy_helpers_hold_up_no_limited_job() -> Result {
    let pool = pool(1, 2);
    let busy = keep_busy(&pool);
    let limits = JobLimits::builder().max_helpers(n(1)).build();
    assert_eq!(Job::new(0, 100).limits(&limits).run(&pool, |_| ())?.threads, 1);
    drop(busy);
    Ok(())
}
