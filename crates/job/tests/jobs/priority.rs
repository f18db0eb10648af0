//! Helpers at a lower priority.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use firsttouch_job::{Job, Priority, PriorityReport, Steal};
use firsttouch_pool::Pool;
use firsttouch_topology::affinity;
use firsttouch_topology::scheduling::{self, Nice, SchedPolicy, Scheduling, ThreadId};

use crate::{Result, keep_busy, n, parts, pool};
use firsttouch_testing::watched;

const PRIORITIES: [Priority; 3] = [Priority::Nice(Nice::MAX), Priority::Batch, Priority::Idle];

fn expected(priority: Priority, own: Scheduling) -> Scheduling {
    match priority {
        Priority::Nice(nice) => Scheduling { nice, ..own },
        Priority::Batch => Scheduling { policy: SchedPolicy::Batch, ..own },
        Priority::Idle => Scheduling { policy: SchedPolicy::Idle, ..own },
        _ => own,
    }
}

/// Whether this machine's threads are what most are: time-shared, at nice 0.
fn is_usual() -> bool {
    scheduling::current().is_ok_and(|own| own.policy == SchedPolicy::Other && own.nice.get() == 0)
}

/// Runs a job of which the helpers have most, and returns how its helpers were scheduled.
fn run(pool: &Pool, priority: Priority) -> (Vec<Scheduling>, PriorityReport) {
    let seen = Mutex::new(Vec::new());
    let caller = thread::current().id();
    let own = scheduling::current().expect("a thread can read its own");
    let job = Job::new(0, 40).max_chunk(1).location(parts(40, 2)).steal(Steal::Node);
    let report = job.priority(priority).run(pool, |_| {
        let now = scheduling::current().expect("a thread can read its own");
        if thread::current().id() == caller {
            assert_eq!(now, own, "the caller stays as it is");
        } else {
            seen.lock().expect("no panic").push(now);
        }
    });
    let report = report.expect("it runs").priority.expect("it asked for one");
    (seen.into_inner().expect("no panic"), report)
}

fn of_helpers(pool: &Pool) -> Vec<Scheduling> {
    pool.broadcast(|_| scheduling::current().expect("a thread can read its own"))
}

#[test]
fn helpers_run_chunks_at_the_jobs_priority_or_as_they_were_and_get_theirs_back() {
    if !is_usual() {
        return;
    }
    let pool = pool(2, 2);
    let before = of_helpers(&pool);
    for priority in PRIORITIES {
        for _ in 0..10 {
            let (seen, report) = run(&pool, priority);
            let low = expected(priority, before[0]);
            let restorable =
                priority == Priority::Batch || scheduling::can_restore(&before[0], &low);
            if restorable {
                assert!(report.lowered > 0 && report.refused == 0, "{report:?}");
                // One that the caller has raised runs on as it was before.
                assert!(seen.iter().all(|now| *now == low || *now == before[0]));
                assert!(seen.contains(&low) || report.raised > 0);
            } else {
                assert!(report.lowered == 0 && report.refused > 0, "{report:?}");
                assert!(seen.iter().all(|now| *now == before[0]));
            }
            assert_eq!(report.not_restored, 0);
            assert_eq!(of_helpers(&pool), before);
        }
    }
}

#[test]
fn a_panic_restores_the_helpers_priority() {
    let pool = pool(2, 2);
    let before = of_helpers(&pool);
    for priority in PRIORITIES {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let job = Job::new(0, 40).max_chunk(1).location(parts(40, 2)).steal(Steal::Node);
            job.priority(priority).run(&pool, |_| {
                assert!(pool.current_helper().is_none(), "on purpose");
            })
        }));
        assert!(ended.is_err());
        assert_eq!(of_helpers(&pool), before);
    }
}

/// The helpers give way to the caller, on the only CPU that they all have. So the caller runs as soon
/// as anything wakes it, and looks before its helper, which unwinds, does anything more.
#[test]
fn a_caller_that_waits_for_a_helper_that_panics_sees_that_no_chunk_is_left() {
    watched(
        "priority::a_caller_that_waits_for_a_helper_that_panics_sees_that_no_chunk_is_left",
        || {
            let pool = pool(2, 1);
            let one = affinity::current().expect("the kernel tells").iter().take(1).collect();
            pool.broadcast(|_| {
                affinity::set_current(&one).expect("it is one of this process's CPUs");
                let own = scheduling::current().expect("a thread can read its own");
                let idle = Scheduling { policy: SchedPolicy::Idle, ..own };
                scheduling::set_current(&idle).expect("a thread may lower itself");
            });
            affinity::set_current(&one).expect("it is one of this process's CPUs");
            let caller = thread::current().id();
            for _ in 0..50 {
                let job = Job::new(0, 40).max_chunk(1).location(parts(40, 2)).steal(Steal::Node);
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    job.priority(Priority::Batch).run(&pool, |_| {
                        assert!(thread::current().id() == caller, "on purpose");
                    })
                }));
                assert!(ended.is_err());
            }
        },
    );
}

#[test]
fn a_caller_that_waits_raises_the_helper_it_waits_for() -> Result {
    if !is_usual() {
        return Ok(());
    }
    let pool = pool(1, 2);
    let raised = AtomicBool::new(false);
    let begun = AtomicBool::new(false);
    let caller = thread::current().id();
    let report = Job::new(0, 2).max_chunk(1).max_threads(n(2)).priority(Priority::Batch).run(
        &pool,
        |_| {
            if thread::current().id() == caller {
                // The helper has the other chunk.
                while !begun.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                return;
            }
            begun.store(true, Ordering::Relaxed);
            // Ends when the caller, which has nothing else to do, has raised this thread.
            for _ in 0..10_000 {
                if scheduling::current().is_ok_and(|now| now.policy == SchedPolicy::Other) {
                    raised.store(true, Ordering::Relaxed);
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
        },
    )?;
    assert!(raised.into_inner());
    let priority = report.priority.ok_or("it asked for one")?;
    assert_eq!((priority.lowered, priority.raised, priority.not_restored), (1, 1, 0));
    assert!(of_helpers(&pool).iter().all(|now| now.policy == SchedPolicy::Other));
    Ok(())
}

#[test]
fn a_caller_that_waits_already_raises_a_helper_that_comes_late() -> Result {
    // Needs no right, whatever the nice value.
    if !scheduling::current().is_ok_and(|own| own.policy == SchedPolicy::Other) {
        return Ok(());
    }
    let pool = pool(2, 1);
    let busy = keep_busy(&pool);
    let (caller, caller_id) = (thread::current().id(), ThreadId::current().os_id());
    let raised = AtomicBool::new(false);
    // No scoped thread: when that ends, it unparks the caller.
    let releases = thread::spawn(move || {
        // Helpers come only when the caller sleeps, which the kernel tells; it is no matter if it is too soon.
        let stat = format!("/proc/self/task/{caller_id}/stat");
        let sleeps = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S "));
        for _ in 0..20 {
            while !sleeps() {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(1));
        }
        drop(busy);
    });
    let job = Job::new(0, 2).max_chunk(1).location(parts(2, 2)).steal(Steal::Node);
    let report = job.priority(Priority::Batch).run(&pool, |_| {
        if thread::current().id() == caller {
            return;
        }
        // Ends when the caller has raised this thread.
        for _ in 0..5_000 {
            if scheduling::current().is_ok_and(|now| now.policy == SchedPolicy::Other) {
                raised.store(true, Ordering::Relaxed);
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    })?;
    releases.join().expect("it only looks and lets go");
    assert!(raised.into_inner(), "{:?}", report.priority);
    Ok(())
}

#[test]
fn without_the_right_to_raise_them_helpers_stay_as_they_are_and_the_report_says_so() {
    // Rights are each thread's own, and helpers inherit those of the thread that builds the pool.
    let checked = thread::spawn(|| {
        if !is_usual() || !give_up_the_right_to_raise() {
            return;
        }
        let pool = pool(2, 2);
        let before = of_helpers(&pool);
        for priority in [Priority::Idle, Priority::Nice(Nice::MAX)] {
            let (seen, report) = run(&pool, priority);
            assert!(seen.iter().all(|now| *now == before[0]), "{seen:?}");
            assert!(report.lowered == 0 && report.refused > 0, "{report:?}");
        }
        let (_, report) = run(&pool, Priority::Batch);
        assert!(report.lowered > 0 && report.refused == 0, "that needs no right: {report:?}");
        assert_eq!(of_helpers(&pool), before);
    });
    checked.join().expect("the thread's assertions hold");
}

/// Gives up `CAP_SYS_NICE` of the calling thread; says whether it can raise no thread now.
fn give_up_the_right_to_raise() -> bool {
    /// `struct __user_cap_header_struct` of `linux/capability.h`.
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    /// Two `struct __user_cap_data_struct`: effective, permitted, inheritable, of 32 capabilities each.
    type Data = [[u32; 3]; 2];
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_SYS_NICE: u32 = 23;
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data: Data = [[0; 3]; 2];
    // SAFETY: both live for the call, and have the kernel's layout for this version.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut data) };
    for set in &mut data[0] {
        *set &= !(1 << CAP_SYS_NICE);
    }
    // SAFETY: as above.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const data) };
    let Ok(own) = scheduling::current() else { return false };
    let idle = Scheduling { policy: SchedPolicy::Idle, ..own };
    // RLIMIT_NICE may allow it all the same.
    read == 0 && set == 0 && !scheduling::can_restore(&own, &idle)
}

#[test]
fn a_job_that_asks_for_no_priority_reports_none() -> Result {
    assert_eq!(Job::new(0, 9).run(&pool(1, 2), |_| ())?.priority, None);
    Ok(())
}
