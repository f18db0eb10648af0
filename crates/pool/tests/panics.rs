//! Panics reach the caller after all work has ended, and the pool goes on.

mod common;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, mpsc};

use common::{fib, pool_of, watched};
use firsttouch_pool::{Pool, Team};
use firsttouch_topology::NodeId;

/// Returns what the call panicked with.
fn panic_of<R>(call: impl FnOnce() -> R) -> Box<dyn Any + Send> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(_) => panic!("the call should have panicked"),
        Err(payload) => payload,
    }
}

/// Returns the number that the call panicked with.
fn number_of<R>(call: impl FnOnce() -> R) -> u32 {
    *panic_of(call).downcast().expect("the tests panic with numbers")
}

fn still_works(pool: &Pool) {
    assert_eq!(fib(pool, 8), 21);
    assert!(pool.broadcast(|member| member.index()).into_iter().eq(0..pool.helpers().len()));
}

#[test]
fn either_half_of_a_join_panics_in_the_caller() {
    let pool = pool_of(2);
    assert_eq!(number_of(|| pool.join(|| panic_any(1_u32), || ())), 1);
    assert_eq!(number_of(|| pool.join(|| (), || panic_any(2_u32))), 2);
    still_works(&pool);
}

#[test]
fn the_first_half_of_a_join_wins_and_the_second_has_ended() {
    let pool = pool_of(2);
    for _ in 0..100 {
        let ended = AtomicUsize::new(0);
        let second = || {
            ended.store(1, SeqCst);
            panic_any(2_u32)
        };
        assert_eq!(number_of(|| pool.join(|| panic_any(1_u32), second)), 1);
        assert_eq!(ended.into_inner(), 1);
    }
    still_works(&pool);
}

#[test]
fn a_stolen_half_panics_in_the_caller() {
    let pool = pool_of(1);
    let both = Barrier::new(2);
    let first = || {
        both.wait();
    };
    let second = || {
        both.wait();
        panic_any(7_u32)
    };
    assert_eq!(number_of(|| pool.join(first, second)), 7);
    still_works(&pool);
}

#[test]
fn a_scope_panics_when_all_its_tasks_have_ended() {
    let pool = pool_of(2);
    let ended = AtomicUsize::new(0);
    let count = |_: &firsttouch_pool::Scope<'_>| {
        ended.fetch_add(1, SeqCst);
    };
    let body = number_of(|| {
        pool.scope(|scope| {
            (0..20).for_each(|_| scope.spawn(count));
            panic_any(3_u32)
        })
    });
    assert_eq!((body, ended.swap(0, SeqCst)), (3, 20));
    let task = number_of(|| {
        pool.scope(|scope| {
            (0..20).for_each(|_| scope.spawn(count));
            scope.spawn(|_| panic_any(4_u32));
            (0..20).for_each(|_| scope.spawn(count));
        })
    });
    assert_eq!((task, ended.into_inner()), (4, 40));
    still_works(&pool);
}

#[test]
fn a_callers_panic_waits_for_the_members() {
    let pool = pool_of(2);
    let (inside, left) = (Barrier::new(3), AtomicUsize::new(0));
    let caught = number_of(|| {
        pool.run(&Team::new().require(NodeId::new(0), 2), |member| {
            inside.wait();
            if member.is_caller() {
                panic_any(5_u32);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            left.fetch_add(1, SeqCst);
        })
    });
    assert_eq!((caught, left.into_inner()), (5, 2));
    still_works(&pool);
}

#[test]
fn a_members_panic_reaches_the_caller() {
    let pool = pool_of(2);
    let team = Team::new().require(NodeId::new(0), 2);
    let caught = number_of(|| {
        pool.run(&team, |member| {
            if !member.is_caller() {
                panic_any(6_u32);
            }
        })
    });
    assert_eq!(caught, 6);
    assert_eq!(number_of(|| pool.broadcast(|member| panic_any(member.index() as u32 / 2))), 0);
    still_works(&pool);
}

/// A panic's payload that panics when it is dropped, for as long as any is left.
struct PanicsInDrop(&'static AtomicUsize);

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        if self.0.fetch_add(1, SeqCst) < 3 {
            panic_any(PanicsInDrop(self.0));
        }
    }
}

#[test]
fn of_two_panics_at_once_one_reaches_the_caller_and_the_others_destructor_harms_nobody() {
    watched(
        "of_two_panics_at_once_one_reaches_the_caller_and_the_others_destructor_harms_nobody",
        || {
            static DROPS: AtomicUsize = AtomicUsize::new(0);
            let pool = pool_of(3);
            let all = Barrier::new(4);
            let payload = panic_of(|| {
                pool.run(&Team::new().require(NodeId::new(0), 3), |_| {
                    all.wait();
                    panic_any(PanicsInDrop(&DROPS));
                })
            });
            assert!(payload.is::<PanicsInDrop>());
            DROPS.store(3, SeqCst);
            drop(payload);
            DROPS.store(0, SeqCst);
            let both = panic_of(|| {
                pool.join(|| panic_any(PanicsInDrop(&DROPS)), || panic_any(PanicsInDrop(&DROPS)))
            });
            DROPS.store(3, SeqCst);
            drop(both);
            still_works(&pool);
        },
    );
}

/// A result that panics when it is dropped.
struct Sour;

impl Drop for Sour {
    fn drop(&mut self) {
        panic_any(9_u32);
    }
}

#[test]
fn a_result_that_panics_in_drop_does_not_hide_the_panic_of_the_other_half() {
    let pool = pool_of(1);
    assert_eq!(number_of(|| pool.join(|| panic_any(1_u32), || Sour)), 1);
    assert_eq!(number_of(|| pool.join(|| Sour, || panic_any(2_u32))), 2);
    still_works(&pool);
}

#[test]
fn results_that_panic_in_drop_do_not_hide_the_panic_of_a_scope_or_a_broadcast() {
    // In a process of its own: a second panic during the first would abort it.
    watched("results_that_panic_in_drop_do_not_hide_the_panic_of_a_scope_or_a_broadcast", || {
        let pool = pool_of(3);
        let scope = || {
            pool.scope(|scope| {
                scope.spawn(|_| panic_any(1_u32));
                Sour
            })
        };
        assert_eq!(number_of(scope), 1);
        let broadcast = || {
            pool.broadcast(|member| match member.index() {
                0 => panic_any(2_u32),
                _ => Sour,
            })
        };
        assert_eq!(number_of(broadcast), 2);
        still_works(&pool);
    });
}

/// A closure's captured value panics when the closure ends; each call says so with a number.
#[test]
fn what_a_closure_holds_may_panic_in_drop() {
    watched("what_a_closure_holds_may_panic_in_drop", || {
        let pool = pool_of(2);
        let holds = || {
            let sour = Sour;
            move || drop(sour)
        };
        assert_eq!(number_of(|| pool.join(holds(), || ())), 9);
        assert_eq!(number_of(|| pool.join(|| (), holds())), 9);
        assert_eq!(number_of(|| pool.scope(|scope| scope.spawn(|_| holds()()))), 9);
        assert_eq!(number_of(|| pool.broadcast(|_| holds()())), 9);
        let (sender, receiver) = mpsc::channel();
        let held = (Sour, sender);
        pool.spawn(move || {
            let (sour, sender) = held;
            // Sent when the panic of the other has begun.
            let _sends = OnDrop(Some(move || sender.send(()).expect("the test listens")));
            drop(sour);
        });
        assert_eq!(receiver.recv(), Ok(()));
        still_works(&pool);
    });
}

struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|f| f());
    }
}

#[test]
fn payloads_of_tasks_and_broadcasts_that_panic_in_drop_harm_nobody() {
    watched("payloads_of_tasks_and_broadcasts_that_panic_in_drop_harm_nobody", || {
        static DROPS: AtomicUsize = AtomicUsize::new(0);
        let sour = |call: &dyn Fn()| {
            DROPS.store(0, SeqCst);
            let payload = panic_of(call);
            assert!(payload.is::<PanicsInDrop>());
            DROPS.store(3, SeqCst);
            drop(payload);
        };
        let pool = pool_of(3);
        sour(&|| {
            pool.scope(|scope| {
                (0..4).for_each(|_| scope.spawn(|_| panic_any(PanicsInDrop(&DROPS))));
                panic_any(PanicsInDrop(&DROPS))
            })
        });
        sour(&|| {
            let all = Barrier::new(3);
            pool.broadcast(|_| {
                all.wait();
                panic_any(PanicsInDrop(&DROPS))
            });
        });
        still_works(&pool);
    });
}

#[test]
fn a_spawned_closures_panic_goes_to_the_handler() {
    let (sender, receiver) = mpsc::channel();
    let pool = Pool::builder()
        .panic_handler(move |payload| {
            let number = *payload.downcast::<u32>().expect("the test panics with a number");
            sender.send(number).expect("the test listens");
            panic_any(11_u32);
        })
        .build()
        .expect("a pool can be started");
    for number in 0..5_u32 {
        pool.spawn(move || panic_any(number));
        assert_eq!(receiver.recv(), Ok(number));
    }
    still_works(&pool);
}

#[test]
fn a_helper_outlives_a_spawned_closures_panic_without_a_handler() {
    let pool = pool_of(1);
    pool.spawn(|| panic!("as the test wants"));
    pool.spawn(|| panic_any(Sour));
    still_works(&pool);
}

/// A subscriber that panics at every warning.
struct PanicsAtWarnings;

impl tracing::Subscriber for PanicsAtWarnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn event(&self, _: &tracing::Event<'_>) {
        panic_any(Sour);
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_subscriber_that_panics_at_a_panic_ends_no_helper() {
    // In a process of its own, for a subscriber of its own.
    watched("a_subscriber_that_panics_at_a_panic_ends_no_helper", || {
        tracing::subscriber::set_global_default(PanicsAtWarnings).expect("there is no other");
        let pool = pool_of(1);
        pool.spawn(|| panic_any(Sour));
        pool.spawn(|| panic!("as the test wants"));
        still_works(&pool);
    });
}

#[test]
fn nested_calls_unwind_one_by_one() {
    let pool = pool_of(2);
    let caught = number_of(|| {
        pool.scope(|scope| {
            scope.spawn(|_| {
                pool.join(
                    || pool.broadcast(|member| assert!(member.index() < 2)),
                    || pool.run(&Team::new().invite(NodeId::new(0), 1), |_| panic_any(12_u32)),
                );
            });
        })
    });
    assert_eq!(caught, 12);
    still_works(&pool);
}
