//! `join`, `scope` and `spawn`.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;

use common::{fib, pool_of, pool_on};
use firsttouch_pool::{Pool, Scope};

fn add_one(count: &AtomicUsize) {
    count.fetch_add(1, Relaxed);
}

#[test]
fn joins_nest() {
    for helpers in [1, 2, 5] {
        assert_eq!(fib(&pool_of(helpers), 16), 987);
    }
}

#[test]
fn joins_nest_on_several_nodes() {
    assert_eq!(fib(&pool_on(3, 2), 16), 987);
}

#[test]
fn a_join_runs_both_closures_at_once_where_a_helper_is_free() {
    let pool = pool_of(1);
    let both = Barrier::new(2);
    // Each half waits for the other, so neither can run after the other.
    pool.join(|| both.wait(), || both.wait());
}

fn spread_over_scopes(pool: &Pool, depth: usize, count: &AtomicUsize) {
    count.fetch_add(1, Relaxed);
    if depth > 0 {
        pool.scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|_| spread_over_scopes(pool, depth - 1, count));
            }
        });
    }
}

#[test]
fn scopes_nest() {
    for helpers in [1, 3] {
        let count = AtomicUsize::new(0);
        spread_over_scopes(&pool_of(helpers), 5, &count);
        assert_eq!(count.into_inner(), (3_usize.pow(6) - 1) / 2);
    }
}

fn spawn_tree<'scope>(scope: &Scope<'scope>, depth: usize, count: &'scope AtomicUsize) {
    count.fetch_add(1, Relaxed);
    if depth > 0 {
        for _ in 0..3 {
            scope.spawn(move |scope| spawn_tree(scope, depth - 1, count));
        }
    }
}

#[test]
fn tasks_spawn_tasks_into_their_scope() {
    for helpers in [1, 3] {
        let (pool, count) = (pool_of(helpers), AtomicUsize::new(0));
        pool.scope(|scope| spawn_tree(scope, 6, &count));
        assert_eq!(count.into_inner(), (3_usize.pow(7) - 1) / 2);
    }
}

#[test]
fn a_scope_returns_what_its_body_returns_and_its_tasks_have_ended() {
    let pool = pool_of(2);
    let mut numbers = vec![0; 1000];
    let answer = pool.scope(|scope| {
        for (index, number) in numbers.iter_mut().enumerate() {
            scope.spawn(move |_| *number = index);
        }
        42
    });
    assert_eq!(answer, 42);
    assert!(numbers.into_iter().eq(0..1000));
}

#[test]
fn threads_from_outside_spawn_into_a_scope() {
    let (pool, count) = (pool_of(2), AtomicUsize::new(0));
    pool.scope(|scope| {
        thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| (0..100).for_each(|_| scope.spawn(|_| add_one(&count))));
            }
        });
    });
    assert_eq!(count.into_inner(), 300);
}

#[test]
fn frames_above_a_scope_spawn_into_it() {
    let (pool, count) = (pool_of(2), AtomicUsize::new(0));
    let add = |_: &Scope<'_>| add_one(&count);
    pool.scope(|outer| {
        for _ in 0..50 {
            pool.join(|| outer.spawn(add), || outer.spawn(add));
            pool.scope(|inner| {
                outer.spawn(add);
                inner.spawn(|_| outer.spawn(add));
            });
            pool.broadcast(|_| outer.spawn(add));
        }
    });
    assert_eq!(count.into_inner(), 50 * 6);
}

#[test]
fn a_thread_that_waits_runs_no_stranger_under_its_lock() {
    common::watched("a_thread_that_waits_runs_no_stranger_under_its_lock", || {
        // A task that wanted the lock would hang if the holder of the lock ran
        // it while it waits.
        let (pool, lock) = (pool_of(2), Mutex::new(()));
        let take = || drop(lock.lock().expect("nobody panics with it"));
        for _ in 0..300 {
            pool.scope(|scope| {
                let held = lock.lock().expect("nobody panics with it");
                pool.join(
                    || (0..4).for_each(|_| scope.spawn(|_| take())),
                    || (0..4).for_each(|_| scope.spawn(|_| take())),
                );
                pool.scope(|inner| inner.spawn(|_| scope.spawn(|_| take())));
                drop(held);
            });
        }
    });
}

#[test]
fn a_spawned_closure_runs_without_anyone_waiting() {
    let pool = pool_of(1);
    let (sender, receiver) = mpsc::channel();
    for number in 0..100 {
        let sender = sender.clone();
        pool.spawn(move || sender.send(number).expect("the test listens"));
    }
    drop(sender);
    let mut numbers: Vec<_> = receiver.iter().collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..100));
}

#[test]
fn a_spawned_closure_spawns_more() {
    let pool = Arc::new(pool_of(1));
    let (sender, receiver) = mpsc::channel();
    let inner = Arc::clone(&pool);
    pool.spawn(move || {
        let sent = sender.clone();
        inner.spawn(move || sent.send(inner_name()).expect("the test listens"));
    });
    assert_eq!(receiver.recv().as_deref(), Ok("firsttouch-0"));
}

fn inner_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

#[test]
fn a_blocked_helpers_tasks_are_stolen() {
    common::watched("a_blocked_helpers_tasks_are_stolen", || {
        let pool = pool_of(2);
        // The helper that runs the first task queues others on its own deque and
        // then blocks until another thread has run them all. The scope's owner
        // waits in its body, so only the other helper can be that thread.
        let (done, finished) = mpsc::channel();
        let finished = Mutex::new(finished);
        let (ended, end) = mpsc::channel();
        pool.scope(|scope| {
            let finished = &finished;
            scope.spawn(move |scope| {
                for _ in 0..10 {
                    let (done, me) = (done.clone(), thread::current().id());
                    scope.spawn(move |_| {
                        assert_ne!(thread::current().id(), me, "the owner of the deque is blocked");
                        done.send(()).expect("the blocked task listens");
                    });
                }
                let finished = finished.lock().expect("nobody else takes it");
                (0..10).for_each(|_| finished.recv().expect("the other helper sends"));
                ended.send(()).expect("the scope's owner listens");
            });
            end.recv().expect("the first task ends");
        });
    });
}

#[test]
fn many_threads_call_at_once() {
    let pool = pool_of(2);
    thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(fib(&pool, 8), 21);
                    let count = AtomicUsize::new(0);
                    pool.scope(|scope| spawn_tree(scope, 2, &count));
                    assert_eq!(count.into_inner(), 13);
                    assert_eq!(pool.broadcast(|member| member.index()), [0, 1]);
                }
            });
        }
    });
}

#[test]
fn callers_from_outside_run_their_own_closures_while_all_helpers_are_busy() {
    common::watched(
        "callers_from_outside_run_their_own_closures_while_all_helpers_are_busy",
        || {
            let pool = pool_of(1);
            let (started, busy) = mpsc::channel();
            let (release, released) = mpsc::channel::<()>();
            pool.spawn(move || {
                started.send(()).expect("the test listens");
                released.recv().expect("the test releases it");
            });
            busy.recv().expect("the helper starts the closure");
            assert_eq!(fib(&pool, 10), 55);
            let count = AtomicUsize::new(0);
            pool.scope(|scope| spawn_tree(scope, 3, &count));
            assert_eq!(count.into_inner(), 40);
            release.send(()).expect("the helper listens");
        },
    );
}
