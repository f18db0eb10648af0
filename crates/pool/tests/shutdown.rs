//! Dropping a pool ends its threads, and what was queued has run.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};

use common::{pool_of, settled_threads_named, watched};
use firsttouch_pool::{Pin, Pool};

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
