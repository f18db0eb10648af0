//! Start and exit handlers: when they run, where, and what becomes of their panics.

mod common;

use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{self, ThreadId};

use common::{fib, pool_of, settled_threads_named, watched};
use firsttouch_pool::{Helper, Pin, Pool, PoolBuilder};
use firsttouch_topology::Topology;

/// A builder of so many unpinned helpers on each of two made-up nodes.
fn builder(helpers_per_node: usize) -> PoolBuilder {
    let topology = Topology::synthetic("node:2 core:2 pu:1").expect("it is in the grammar");
    Pool::builder()
        .topology(Arc::new(topology))
        .helpers_per_node(helpers_per_node.try_into().expect("a test asks for helpers"))
        .pin(Pin::None)
}

type Seen = Arc<Mutex<Vec<(Helper, ThreadId)>>>;

/// A handler that notes which helper calls it, on which thread.
fn noting(seen: &Seen) -> impl Fn(&Helper) + Send + Sync + 'static {
    let seen = Arc::clone(seen);
    move |helper| {
        seen.lock().expect("nobody panics with it").push((helper.clone(), thread::current().id()));
    }
}

#[test]
fn each_helper_calls_both_once_on_its_own_thread() {
    let (started, exited) = (Seen::default(), Seen::default());
    let pool = builder(2).start_handler(noting(&started)).exit_handler(noting(&exited)).build();
    let pool = pool.expect("a small pool can be started");
    let helpers = pool.helpers().to_vec();
    let threads = pool.broadcast(|_| thread::current().id());
    let expected: Vec<_> = helpers.into_iter().zip(threads).collect();
    let sorted = |seen: &Seen| {
        let mut seen = seen.lock().expect("nobody panics with it").clone();
        seen.sort_by_key(|(helper, _)| helper.index);
        seen
    };
    // A helper has started before it comes to a broadcast.
    assert_eq!(sorted(&started), expected);
    assert!(sorted(&exited).is_empty());
    drop(pool);
    assert_eq!(sorted(&exited), expected, "dropping waits for them");
    assert_eq!(sorted(&started), expected);
}

#[test]
fn a_start_handler_comes_before_all_work_and_an_exit_handler_after_it() {
    watched("a_start_handler_comes_before_all_work_and_an_exit_handler_after_it", || {
        thread_local! {
            static STATE: std::cell::Cell<&'static str> = const { std::cell::Cell::new("none") };
        }
        let wrong = Arc::new(AtomicUsize::new(0));
        let step = |from: &'static str, to: &'static str| {
            let wrong = Arc::clone(&wrong);
            move || {
                if STATE.replace(to) != from {
                    wrong.fetch_add(1, SeqCst);
                }
            }
        };
        for _ in 0..20 {
            let (start, exit) = (step("none", "works"), step("works", "over"));
            let pool = builder(2).start_handler(move |_| start()).exit_handler(move |_| exit());
            let pool = pool.build().expect("a small pool can be started");
            for _ in 0..50 {
                pool.spawn(step("works", "works"));
            }
        }
        assert_eq!(wrong.load(SeqCst), 0);
    });
}

#[test]
fn panics_in_handlers_go_to_the_panic_handler_and_end_no_helper() {
    watched("panics_in_handlers_go_to_the_panic_handler_and_end_no_helper", || {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let pool = builder(2)
            .start_handler(|helper| panic_any(helper.index))
            .exit_handler(|helper| panic_any(10 + helper.index))
            .panic_handler(move |payload| {
                let number: usize = *payload.downcast().expect("the test panics with numbers");
                kept.lock().expect("nobody panics with it").push(number);
                panic!("as the test wants");
            });
        let pool = pool.thread_name(|_| "ft-handlers".to_owned()).build();
        let pool = pool.expect("a small pool can be started");
        assert_eq!(pool.broadcast(|member| member.index()), [0, 1, 2, 3]);
        assert_eq!(fib(&pool, 10), 55);
        drop(pool);
        let mut seen = seen.lock().expect("nobody panics with it").clone();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 10, 11, 12, 13]);
        assert_eq!(settled_threads_named("ft-handlers", 0), 0);
    });
}

#[test]
fn panics_in_handlers_without_a_panic_handler_end_no_helper() {
    let pool = builder(1).start_handler(|_| panic!("as the test wants"));
    let pool = pool.exit_handler(|_| panic!("as the test wants")).build();
    let pool = pool.expect("a small pool can be started");
    assert_eq!(pool.broadcast(|member| member.index()), [0, 1]);
}

#[test]
fn a_start_handler_that_takes_its_time_delays_only_its_own_helper() {
    watched("a_start_handler_that_takes_its_time_delays_only_its_own_helper", || {
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let pool = builder(1).start_handler(move |helper| {
            if helper.index == 0 {
                released.lock().expect("nobody else takes it").recv().expect("the test sends");
            }
        });
        // It would hang here if it waited for the handler.
        let pool = pool.build().expect("a small pool can be started");
        let (sender, receiver) = mpsc::channel();
        pool.spawn(move || sender.send(()).expect("the test listens"));
        receiver.recv().expect("the other helper runs it");
        release.send(()).expect("the handler listens");
        assert_eq!(pool.broadcast(|member| member.index()), [0, 1]);
    });
}

/// Every kind of call on the pool of the calling thread; returns how many helpers a broadcast met.
fn use_own_pool(count: &'static AtomicUsize) -> usize {
    assert_eq!(firsttouch_pool::join(|| 1, || 2), (1, 2));
    firsttouch_pool::scope(|scope| {
        (0..10).for_each(|_| {
            scope.spawn(|_| {
                count.fetch_add(1, SeqCst);
            });
        });
    });
    firsttouch_pool::spawn(|| {
        count.fetch_add(1, SeqCst);
    });
    firsttouch_pool::broadcast(|_| ()).len()
}

#[test]
fn handlers_may_use_their_pool_in_every_way() {
    watched("handlers_may_use_their_pool_in_every_way", || {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        for _ in 0..50 {
            COUNT.store(0, SeqCst);
            let pool = builder(2)
                .start_handler(|_| assert_eq!(use_own_pool(&COUNT), 4))
                // The others may have ended.
                .exit_handler(|_| assert_eq!(use_own_pool(&COUNT), 1))
                .panic_handler(|_| std::process::exit(1));
            drop(pool.build().expect("a small pool can be started"));
            assert_eq!(COUNT.load(SeqCst), 2 * 4 * 11, "all that was queued has run");
        }
    });
}

#[test]
fn an_exit_handler_may_use_another_pool_whose_helper_waits_for_it() {
    watched("an_exit_handler_may_use_another_pool_whose_helper_waits_for_it", || {
        let outer = Arc::new(pool_of(1));
        for _ in 0..20 {
            let inside = Arc::clone(&outer);
            outer.broadcast(|_| {
                let inside = Arc::clone(&inside);
                let pool = builder(1).exit_handler(move |_| drop(inside.broadcast(|_| ())));
                // The drop waits for a handler that requires the helper that drops.
                drop(pool.build().expect("a small pool can be started"));
            });
        }
    });
}

#[test]
fn a_handler_may_drop_the_pool() {
    watched("a_handler_may_drop_the_pool", || {
        static POOL: OnceLock<Mutex<Option<Pool>>> = OnceLock::new();
        let pool = builder(2).thread_name(|_| "ft-own-drop".to_owned()).start_handler(|helper| {
            if helper.index == 1 {
                drop(POOL.wait_for().lock().expect("nobody panics with it").take());
            }
        });
        let pool = pool.build().expect("a small pool can be started");
        assert!(POOL.set(Mutex::new(Some(pool))).is_ok());
        assert_eq!(settled_threads_named("ft-own-drop", 0), 0);
    });
}

/// `OnceLock::wait` is newer than the oldest compiler.
trait WaitFor<T> {
    fn wait_for(&self) -> &T;
}

impl<T> WaitFor<T> for OnceLock<T> {
    fn wait_for(&self) -> &T {
        loop {
            match self.get() {
                Some(value) => return value,
                None => thread::yield_now(),
            }
        }
    }
}
