//! The global pool, and the functions that use the pool of the calling thread.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use common::{pool_of, settled_threads_named, threads_named, watched};
use firsttouch_pool::{Pool, PoolError};
use firsttouch_topology::Topology;

/// The name of the thread that runs a closure of the pool's.
fn name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

#[test]
fn it_is_built_at_its_first_use_once_and_with_the_defaults() {
    watched("it_is_built_at_its_first_use_once_and_with_the_defaults", || {
        assert!(threads_named("firsttouch-0").is_empty());
        let together = Barrier::new(8);
        let pools: Vec<usize> = thread::scope(|threads| {
            let one = || {
                together.wait();
                std::ptr::from_ref(Pool::global().expect("it can be built")).addr()
            };
            let threads: Vec<_> = (0..8).map(|_| threads.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends well")).collect()
        });
        assert!(pools.iter().all(|pool| *pool == pools[0]));
        assert_eq!(threads_named("firsttouch-0").len(), 1, "no second one was started");
        let topology = Topology::discover().expect("the machine can be read");
        let helpers = Pool::global().expect("it is there").helpers().len();
        assert_eq!(helpers, topology.allowed().parallelism().get());
        assert_eq!(firsttouch_pool::broadcast(|_| ()).len(), helpers);
        let again = Pool::builder().build_global();
        assert!(matches!(again, Err(PoolError::GlobalExists { helpers: n }) if n == helpers));
    });
}

#[test]
fn it_is_what_the_program_builds_before() {
    watched("it_is_what_the_program_builds_before", || {
        let three = 3.try_into().expect("three is not zero");
        let builder = || Pool::builder().helpers(three).thread_name(|_| "ft-global".to_owned());
        let pool = builder().build_global().expect("nothing has used it");
        assert!(std::ptr::eq(pool, Pool::global().expect("it is there")));
        assert_eq!(firsttouch_pool::broadcast(|_| name()), ["ft-global"; 3]);
        assert!(matches!(builder().build_global(), Err(PoolError::GlobalExists { helpers: 3 })));
        assert_eq!(settled_threads_named("ft-global", 3), 3, "the refused one started none");
    });
}

#[test]
fn one_that_cannot_be_built_is_an_error_and_the_next_try_counts() {
    watched("one_that_cannot_be_built_is_an_error_and_the_next_try_counts", || {
        let error = Pool::builder().stack_size(1).build_global();
        assert!(matches!(error, Err(PoolError::StackSize { bytes: 1, .. })));
        // A name that panics leaves nothing locked.
        let panics = || Pool::builder().thread_name(|_| panic!("as the test wants"));
        let caught = std::panic::catch_unwind(|| panics().build_global().map(|_| ()));
        assert!(caught.is_err());
        assert_eq!(Pool::builder().build_global().expect("it can be had").join(|| 1, || 2), (1, 2));
    });
}

#[test]
fn a_machine_that_refuses_threads_makes_an_error_or_a_panic_that_says_so() {
    // With 1 GiB of address space there is no room for a stack of 2 GiB.
    let limit = "export RUST_MIN_STACK=2147483648 && ulimit -v 1048576";
    let test = "a_machine_that_refuses_threads_makes_an_error_or_a_panic_that_says_so";
    // The test harness cannot start a thread either, so the test runs on its main thread.
    common::watched_on_main_under(limit, test, || {
        assert!(matches!(Pool::global(), Err(PoolError::Spawn { started: 0, .. })));
        let caught = std::panic::catch_unwind(|| firsttouch_pool::join(|| 1, || 2));
        let text = caught.expect_err("there is no pool").downcast::<String>();
        let text = text.expect("it says what is wrong");
        assert!(text.contains("could not be started") && text.contains("Pool::global"), "{text}");
    });
}

#[test]
fn using_it_while_building_it_panics_and_does_not_hang() {
    watched("using_it_while_building_it_panics_and_does_not_hang", || {
        let uses =
            || Pool::builder().thread_name(|_| (firsttouch_pool::join(name, || ()).0, name()).1);
        let caught = std::panic::catch_unwind(|| uses().build_global().map(|_| ()));
        let text = caught.expect_err("it would wait for itself").downcast::<&str>();
        assert!(text.expect("it says what is wrong").contains("while this thread builds it"));
        assert_eq!(firsttouch_pool::join(|| 1, || 2), (1, 2));
    });
}

#[test]
fn a_thread_that_works_for_a_pool_uses_that_pool() {
    watched("a_thread_that_works_for_a_pool_uses_that_pool", || {
        let named = |name: &'static str| {
            let topology = Arc::clone(pool_of(1).topology());
            let pool = Pool::builder().topology(topology).thread_name(move |_| name.to_owned());
            pool.helpers(1.try_into().expect("one is not zero")).build().expect("it starts")
        };
        let (one, other) = (named("ft-one"), named("ft-other"));
        let helpers = || firsttouch_pool::broadcast(|_| name());
        assert_eq!(one.broadcast(|_| helpers()), [["ft-one"]]);
        assert_eq!(one.install(helpers), ["ft-one"]);
        assert_eq!(one.join(helpers, helpers), (vec!["ft-one".to_owned()], vec!["ft-one".into()]));
        // The innermost counts, also for a thread that is another's helper.
        assert_eq!(one.install(|| other.install(helpers)), ["ft-other"]);
        assert_eq!(one.broadcast(|_| other.install(helpers)), [["ft-other"]]);
        let spawned = |pool: &Pool| {
            let (sender, receiver) = mpsc::channel();
            pool.install(|| {
                firsttouch_pool::spawn(move || sender.send(name()).expect("it listens"))
            });
            receiver.recv().expect("it is sent")
        };
        assert_eq!((spawned(&one), spawned(&other)), ("ft-one".to_owned(), "ft-other".to_owned()));
        let scoped = || firsttouch_pool::scope(|scope| (scope.spawn(|_| ()), helpers()).1);
        assert_eq!(one.install(scoped), ["ft-one"]);
        // Which pool's helper a thread is does not change.
        let index = || firsttouch_pool::current_helper().map(|helper| helper.index);
        assert_eq!(one.broadcast(|_| other.install(index)), [Some(0)]);
        assert_eq!(one.install(index), None);
        assert!(threads_named("firsttouch-0").is_empty(), "the global pool was not needed");
    });
}

#[test]
fn a_closure_uses_its_pool_while_that_is_dropped() {
    watched("a_closure_uses_its_pool_while_that_is_dropped", || {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // Spawns and broadcasts on the pool it runs in, which it does not own.
        fn tree(depth: usize) {
            COUNT.fetch_add(1, SeqCst);
            if depth > 0 {
                assert_eq!(firsttouch_pool::broadcast(|member| member.index()), [0, 1, 2]);
                (0..2).for_each(|_| firsttouch_pool::spawn(move || tree(depth - 1)));
                firsttouch_pool::scope(|scope| scope.spawn(|_| ()));
            }
        }
        for _ in 0..100 {
            COUNT.store(0, SeqCst);
            let pool = pool_of(3);
            pool.spawn(|| tree(5));
            drop(pool);
            assert_eq!(COUNT.load(SeqCst), (1 << 6) - 1);
        }
    });
}

#[test]
fn a_closure_that_has_dropped_its_own_pool_is_alone_there() {
    watched("a_closure_that_has_dropped_its_own_pool_is_alone_there", || {
        for _ in 0..50 {
            let pool = Arc::new(pool_of(3));
            let (sender, receiver) = mpsc::channel();
            let inside = Arc::clone(&pool);
            pool.spawn(move || {
                while Arc::strong_count(&inside) > 1 {
                    thread::yield_now();
                }
                drop(inside);
                // The others have ended.
                let met = firsttouch_pool::broadcast(|_| ()).len();
                assert_eq!(firsttouch_pool::join(|| 1, || 2), (1, 2));
                firsttouch_pool::spawn(move || sender.send(met).expect("the test listens"));
            });
            drop(pool);
            assert_eq!(receiver.recv(), Ok(1));
        }
    });
}
