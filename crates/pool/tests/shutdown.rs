//! Dropping a pool ends its threads, and what was queued has run.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};

use common::{builder_on, pool_of, settled_threads_named, watched};
use firsttouch_pool::{Pin, Pool, Steal};

fn add_one(count: &AtomicUsize) {
    count.fetch_add(1, Relaxed);
}

/// Starts a pool whose threads all have this name.
fn pool_named(name: &'static str, helpers: usize) -> Pool {
    Pool::builder()
        .topology(Arc::clone(pool_of(1).topology()))
        .helpers_per_node(helpers.try_into().expect("a test asks for helpers"))
        .thread_name(move |_| name.to_owned())
        .pin(Pin::None)
        .build()
        .expect("a small pool can be started")
}

#[test]
fn no_thread_is_left_after_a_drop() {
    let pool = pool_named("ft-dropped", 3);
    assert_eq!(settled_threads_named("ft-dropped", 3), 3);
    pool.broadcast(|_| ());
    drop(pool);
    assert_eq!(settled_threads_named("ft-dropped", 0), 0);
}

#[test]
fn a_pool_is_dropped_at_once_after_its_start() {
    watched("a_pool_is_dropped_at_once_after_its_start", || {
        for helpers in 1..4 {
            (0..50).for_each(|_| drop(pool_of(helpers)));
        }
    });
}

#[test]
fn queued_closures_run_before_a_drop_returns() {
    watched("queued_closures_run_before_a_drop_returns", || {
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let pool = pool_of(2);
            for _ in 0..200 {
                let count = Arc::clone(&count);
                pool.spawn(move || add_one(&count));
            }
        }
        assert_eq!(count.load(Relaxed), 20 * 200);
    });
}

#[test]
fn a_pool_dropped_in_its_own_helper_runs_what_no_other_node_may() {
    watched("a_pool_dropped_in_its_own_helper_runs_what_no_other_node_may", || {
        for _ in 0..20 {
            // One helper on each node, each the only one that may run its node's closures.
            let pool = builder_on(2, 1).steal(Steal::Node).build().expect("a small pool");
            let pool = Arc::new(pool);
            let node = pool.helpers()[0].node;
            let count = Arc::new(AtomicUsize::new(0));
            let (sender, receiver) = mpsc::channel::<Arc<Pool>>();
            let counts = Arc::clone(&count);
            let drops = move || {
                let pool = receiver.recv().expect("the test sends its pool");
                for _ in 0..3 {
                    let count = Arc::clone(&counts);
                    pool.spawn_on(node, move || add_one(&count)).expect("the node has a helper");
                }
                let last = Arc::into_inner(pool).expect("nobody else has it");
                drop(last);
                // They have run though this thread is the one that had to.
                assert_eq!(counts.load(Relaxed), 3);
                add_one(&counts);
            };
            pool.spawn_on(node, drops).expect("the node has a helper");
            sender.send(pool).expect("the closure waits for it");
            while count.load(Relaxed) < 4 {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn closures_that_queued_closures_spawn_run_too() {
    watched("closures_that_queued_closures_spawn_run_too", || {
        let (sender, receiver) = mpsc::channel();
        let pool = Arc::new(pool_of(1));
        let inside = Arc::clone(&pool);
        pool.spawn(move || {
            let more = sender.clone();
            inside.spawn(move || more.send(2).expect("the test listens"));
            sender.send(1).expect("the test listens");
            // This may be the last reference: the pool is dropped in its own helper then.
        });
        drop(pool);
        assert!(receiver.iter().eq([1, 2]));
    });
}

#[test]
fn a_pool_dropped_in_its_own_helper_joins_the_others_and_ends_that_one() {
    watched("a_pool_dropped_in_its_own_helper_joins_the_others_and_ends_that_one", || {
        let pool = Arc::new(pool_named("ft-inside", 3));
        let (sender, receiver) = mpsc::channel();
        let inside = Arc::clone(&pool);
        pool.spawn(move || {
            while Arc::strong_count(&inside) > 1 {
                std::thread::yield_now();
            }
            drop(inside);
            sender.send(settled_threads_named("ft-inside", 1)).expect("the test listens");
        });
        drop(pool);
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(settled_threads_named("ft-inside", 0), 0);
    });
}

#[test]
fn a_pool_is_dropped_while_a_panic_unwinds() {
    let unwound = std::panic::catch_unwind(|| {
        let _pool = pool_named("ft-unwound", 2);
        panic!("as the test wants");
    });
    assert!(unwound.is_err());
    assert_eq!(settled_threads_named("ft-unwound", 0), 0);
}

#[test]
fn a_drop_returns_after_all_that_the_threads_do_at_their_ends() {
    /// What a thread has until its very end.
    struct Last(Arc<AtomicUsize>);

    impl Drop for Last {
        fn drop(&mut self) {
            // Late, so that a drop that does not join the threads would be first.
            std::thread::sleep(std::time::Duration::from_millis(20));
            add_one(&self.0);
        }
    }

    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }

    let (pool, ended) = (pool_of(3), Arc::new(AtomicUsize::new(0)));
    pool.broadcast(|_| LAST.set(Some(Last(Arc::clone(&ended)))));
    drop(pool);
    assert_eq!(ended.load(Relaxed), 3);
}

#[test]
fn a_pool_dropped_in_a_helper_of_another_runs_what_is_queued() {
    watched("a_pool_dropped_in_a_helper_of_another_runs_what_is_queued", || {
        let (outer, count) = (pool_of(2), Arc::new(AtomicUsize::new(0)));
        for round in 1..=20 {
            outer.broadcast(|_| {
                let pool = pool_named("ft-inner", 2);
                for _ in 0..100 {
                    let count = Arc::clone(&count);
                    pool.spawn(move || add_one(&count));
                }
                let queued = count.load(Relaxed);
                drop(pool);
                assert!(count.load(Relaxed) >= queued.max(100));
            });
            assert_eq!(count.load(Relaxed), round * 200);
        }
        assert_eq!(settled_threads_named("ft-inner", 0), 0);
    });
}

#[test]
fn a_pool_dropped_in_its_own_helper_runs_what_is_queued() {
    watched("a_pool_dropped_in_its_own_helper_runs_what_is_queued", || {
        for helpers in [1, 3] {
            let (pool, count) = (Arc::new(pool_named("ft-queued", helpers)), mpsc::channel());
            let inside = Arc::clone(&pool);
            pool.spawn(move || {
                for _ in 0..100 {
                    let sender = count.0.clone();
                    inside.spawn(move || sender.send(()).expect("the test listens"));
                }
                while Arc::strong_count(&inside) > 1 {
                    std::thread::yield_now();
                }
                drop(inside);
            });
            drop(pool);
            assert_eq!(count.1.iter().count(), 100);
            assert_eq!(settled_threads_named("ft-queued", 0), 0);
        }
    });
}

#[test]
fn helpers_wait_for_each_other_until_all_work_is_done() {
    watched("helpers_wait_for_each_other_until_all_work_is_done", || {
        for _ in 0..20 {
            let pool = pool_named("ft-patient", 3);
            let (met, all) = (Arc::new(AtomicUsize::new(0)), mpsc::channel());
            pool.spawn(move || {
                // The others have nothing to do by now, and shutdown has begun.
                std::thread::sleep(std::time::Duration::from_millis(2));
                for _ in 0..2 {
                    let (met, sender) = (Arc::clone(&met), all.0.clone());
                    firsttouch_pool::spawn(move || {
                        add_one(&met);
                        while met.load(Relaxed) < 2 {
                            std::thread::yield_now();
                        }
                        sender.send(()).expect("the test listens");
                    });
                }
            });
            drop(pool);
            // Each needed a helper of its own.
            assert_eq!(all.1.iter().count(), 2);
        }
    });
}
