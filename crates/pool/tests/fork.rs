//! A pool that a forked child inherits says so and never hangs.
//!
//! Each test runs in a process of its own, and each child ends itself by an
//! alarm where it hangs.

mod common;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, Barrier, mpsc};

use common::{fib, pool_of, watched};
use firsttouch_pool::{EventCount, Pool, PoolError, Team};
use firsttouch_topology::NodeId;

/// How long a child may take, in seconds.
const LIMIT: u32 = 30;

/// What a child exits with where it has found all as it should be.
const FINE: i32 = 0;

/// What a child exits with where something panicked that should not have.
const PANICKED: i32 = 101;

/// Forks; returns the child in the parent, and nothing in the child.
fn fork() -> Option<libc::pid_t> {
    // SAFETY: the C library makes its own locks usable in the child, and the
    // tests take no other that another thread may hold.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: it sets a timer and nothing else.
            unsafe { libc::alarm(LIMIT) };
            // What the tests want is not worth a backtrace each time.
            let tell = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if !info.payload().downcast_ref::<&str>().is_some_and(|text| is_fork(text)) {
                    tell(info);
                }
            }));
            None
        }
        child => {
            assert!(child > 0, "the system forks a small process");
            Some(child)
        }
    }
}

/// Ends a child without anything that its parent would do at its own end.
fn exit(code: i32) -> ! {
    // SAFETY: it ends the process.
    unsafe { libc::_exit(code) }
}

/// Waits for a child; returns what it exited with.
fn exit_of(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the status is written to a place of its own.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child, "the child is this process's");
    assert!(libc::WIFEXITED(status), "the child was killed: it hung, or aborted; {status:#x}");
    libc::WEXITSTATUS(status)
}

/// Runs `body` in a child, and fails where it fails there or hangs.
fn in_child(body: impl FnOnce()) {
    match fork() {
        Some(child) => assert_eq!(exit_of(child), FINE),
        None => exit(catch_unwind(AssertUnwindSafe(body)).map_or(PANICKED, |()| FINE)),
    }
}

/// Whether a panic's text says that this process is a fork.
fn is_fork(text: &str) -> bool {
    text.contains("is a fork of the one")
}

/// Whether the call panicked and said that this process is a fork.
fn says_fork<R>(call: impl FnOnce() -> R) -> bool {
    let panicked = |payload: Box<dyn Any + Send>| {
        payload.downcast_ref::<&str>().is_some_and(|text| is_fork(text))
    };
    catch_unwind(AssertUnwindSafe(call)).err().is_some_and(panicked)
}

/// Tries everything that a pool can run.
fn assert_every_entry_says_fork(pool: &Pool) {
    assert!(says_fork(|| pool.join(|| (), || ())));
    assert!(says_fork(|| pool.scope(|_| ())));
    assert!(says_fork(|| pool.spawn(|| ())));
    assert!(says_fork(|| pool.install(|| ())));
    assert!(says_fork(|| pool.broadcast(|_| ())));
    assert!(says_fork(|| pool.run(&Team::new(), |_| ())));
    assert!(says_fork(|| pool.run(&Team::new().require(NodeId::new(0), 1), |_| ())));
    // What only reads goes on.
    assert_eq!(pool.counters().len(), pool.helpers().len());
}

#[test]
fn every_entry_from_a_forked_child_panics_and_the_parents_pool_goes_on() {
    watched("every_entry_from_a_forked_child_panics_and_the_parents_pool_goes_on", || {
        let pool = pool_of(2);
        in_child(|| assert_every_entry_says_fork(&pool));
        assert_eq!(fib(&pool, 10), 55);
        // A child's child, too.
        in_child(|| in_child(|| assert_every_entry_says_fork(&pool)));
        assert_eq!(pool.broadcast(|member| member.index()), [0, 1]);
    });
}

#[test]
fn an_inherited_pool_is_dropped_at_once() {
    watched("an_inherited_pool_is_dropped_at_once", || {
        let mut pool = Some(pool_of(2));
        in_child(|| drop(pool.take()));
        let inherited = pool.take().expect("the child took its own copy");
        // Its handles name none of the threads that the child starts then.
        in_child(|| {
            drop(inherited);
            let own = pool_of(2);
            assert_eq!(fib(&own, 10), 55);
            drop(own);
        });
    });
}

#[test]
fn a_child_builds_a_pool_of_its_own() {
    watched("a_child_builds_a_pool_of_its_own", || {
        let inherited = pool_of(2);
        in_child(|| {
            let own = pool_of(2);
            assert_eq!(own.broadcast(|member| member.index()), [0, 1]);
            // Neither knows of the other.
            own.install(|| assert!(says_fork(|| inherited.join(|| (), || ()))));
            in_child(|| {
                assert_every_entry_says_fork(&own);
                assert_every_entry_says_fork(&inherited);
            });
            assert_eq!(fib(&own, 10), 55);
        });
    });
}

#[test]
fn forks_while_helpers_are_busy_leave_no_child_hanging() {
    watched("forks_while_helpers_are_busy_leave_no_child_hanging", || {
        let pool = pool_of(3);
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            // So that some lock is held at some of the forks.
            for _ in 0..2 {
                threads.spawn(|| {
                    while !stop.load(Relaxed) {
                        pool.spawn(|| ());
                        pool.scope(|scope| (0..8).for_each(|_| scope.spawn(|_| ())));
                        pool.broadcast(|_| fib(&pool, 4));
                    }
                });
            }
            for _ in 0..40 {
                in_child(|| assert_every_entry_says_fork(&pool));
            }
            stop.store(true, Relaxed);
        });
        for _ in 0..20 {
            (0..50).for_each(|_| pool.spawn(|| ()));
            // SAFETY: only one of the two is used in each process.
            let copy = unsafe { std::ptr::read(&pool) };
            match fork() {
                Some(child) => {
                    std::mem::forget(copy);
                    assert_eq!(exit_of(child), FINE);
                }
                None => {
                    drop(copy);
                    exit(FINE)
                }
            }
        }
    });
}

#[test]
fn a_fork_in_a_helper_panics_in_the_copy_and_that_one_ends() {
    watched("a_fork_in_a_helper_panics_in_the_copy_and_that_one_ends", || {
        let pool = pool_of(1);
        let children = pool.broadcast(|_| {
            let child = fork();
            if child.is_none() {
                let fine = catch_unwind(AssertUnwindSafe(|| {
                    assert_every_entry_says_fork(&pool);
                    assert!(says_fork(|| firsttouch_pool::join(|| (), || ())));
                    assert!(says_fork(|| firsttouch_pool::spawn(|| ())));
                }));
                if fine.is_err() {
                    exit(PANICKED);
                }
            }
            // The copy goes on as far as a helper can, and its process ends with its last thread.
            child
        });
        for child in children {
            assert_eq!(exit_of(child.expect("only the parent is here")), FINE);
        }
        assert_eq!(fib(&pool, 10), 55);
    });
}

/// Starts a task that lasts as long as the test wants; returns what ends it.
fn blocked() -> (impl FnOnce() + Send, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (started, starts) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let task = move || {
        started.send(()).expect("the test listens");
        ends.recv().expect("the test ends it");
    };
    (task, starts, end)
}

#[test]
fn a_call_that_was_open_at_the_fork_panics_in_the_child_where_others_took_part() {
    watched("a_call_that_was_open_at_the_fork_panics_in_the_child_where_others_took_part", || {
        let pool = pool_of(1);
        // Forks in `inside`, and unwinds to here in the child only.
        let forks = |call: &dyn Fn(&(dyn Fn() + Sync))| {
            let child = AtomicI32::new(0);
            let said = says_fork(|| call(&|| child.store(fork().unwrap_or(0), Relaxed)));
            match child.into_inner() {
                0 => exit(if said { FINE } else { PANICKED }),
                child => {
                    assert!(!said, "the parent's call goes on");
                    assert_eq!(exit_of(child), FINE);
                }
            }
        };
        forks(&|inside| {
            let (task, starts, end) = blocked();
            pool.scope(|scope| {
                scope.spawn(move |_| task());
                starts.recv().expect("the helper starts it");
                inside();
                end.send(()).expect("the task listens");
            });
        });
        forks(&|inside| {
            let (task, starts, end) = blocked();
            let first = move || {
                starts.recv().expect("the helper steals the second half");
                inside();
                end.send(()).expect("the second half listens");
            };
            pool.join(first, task);
        });
        forks(&|inside| {
            let (entered, left) = (Barrier::new(2), Barrier::new(2));
            let parent = std::process::id();
            pool.run(&Team::new().require(NodeId::new(0), 1), |member| {
                entered.wait();
                if member.is_caller() {
                    inside();
                }
                if std::process::id() == parent {
                    left.wait();
                }
            });
        });
        assert_eq!(fib(&pool, 10), 55);
    });
}

#[test]
fn a_call_that_was_open_at_the_fork_ends_in_the_child_where_it_waits_for_nobody() {
    watched("a_call_that_was_open_at_the_fork_ends_in_the_child_where_it_waits_for_nobody", || {
        let pool = pool_of(1);
        // As a C library's `daemon` would, in the midst of a call.
        let child = pool.install(fork);
        match child {
            Some(child) => assert_eq!(exit_of(child), FINE),
            None => exit(FINE),
        }
        assert_eq!(fib(&pool, 10), 55);
    });
}

#[test]
fn a_wait_at_an_event_count_that_was_open_at_the_fork_panics_in_the_child() {
    watched("a_wait_at_an_event_count_that_was_open_at_the_fork_panics_in_the_child", || {
        let (event, mut child, mut looks) = (EventCount::new(), None, 0);
        let said = says_fork(|| {
            event.wait_until(None, || {
                looks += 1;
                // The second look is one of a thread that is about to sleep.
                if looks == 2 {
                    child = fork();
                }
                child.is_some()
            })
        });
        match child {
            None => exit(if said { FINE } else { PANICKED }),
            Some(child) => {
                assert!(!said, "the parent's wait ends");
                assert_eq!(exit_of(child), FINE);
            }
        }
    });
}

#[test]
fn the_global_pool_is_an_error_in_a_child() {
    watched("the_global_pool_is_an_error_in_a_child", || {
        // Not built yet: the child builds its own.
        in_child(|| assert_eq!(Pool::global().expect("it can be built").join(|| 1, || 2), (1, 2)));
        let global = Pool::global().expect("it can be built");
        in_child(|| {
            assert!(matches!(Pool::global(), Err(PoolError::Forked)));
            let again = Pool::builder().build_global();
            assert!(matches!(again, Err(PoolError::GlobalExists { .. })));
            let text = catch_unwind(|| firsttouch_pool::join(|| (), || ())).expect_err("a panic");
            let text = text.downcast::<String>().expect("it says what is wrong");
            assert!(is_fork(&text), "{text}");
            assert_every_entry_says_fork(global);
        });
        assert_eq!(fib(global, 10), 55);
    });
}

#[test]
fn forks_while_the_global_pool_is_built_leave_no_child_hanging() {
    watched("forks_while_the_global_pool_is_built_leave_no_child_hanging", || {
        let start = Arc::new(Barrier::new(2));
        let builder = std::thread::spawn({
            let start = Arc::clone(&start);
            move || {
                start.wait();
                let pool = Pool::builder().thread_name(|_| {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    "ft-slow".to_owned()
                });
                pool.build_global().expect("nobody else builds it").helpers().len()
            }
        });
        start.wait();
        for _ in 0..20 {
            // It finds none, or the parent's; never one that is being built.
            in_child(|| match Pool::global() {
                Ok(pool) => assert_eq!(pool.join(|| 1, || 2), (1, 2)),
                Err(error) => assert!(matches!(error, PoolError::Forked)),
            });
        }
        assert!(builder.join().expect("it ends well") > 0);
    });
}
