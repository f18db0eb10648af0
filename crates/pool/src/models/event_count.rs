//! The event count: no wake-up is lost.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;

use super::check;
use crate::event_count::EventCount;

struct Shared {
    event: EventCount,
    set: AtomicUsize,
}

fn shared() -> Arc<Shared> {
    Arc::new(Shared { event: EventCount::new(), set: AtomicUsize::new(0) })
}

#[test]
fn a_waiter_wakes_when_its_condition_has_become_true() {
    check(|| {
        let shared = shared();
        let waiter = thread::spawn({
            let shared = Arc::clone(&shared);
            // Where the wake-up is lost it sleeps on, which is a deadlock.
            move || shared.event.wait_until(None, || shared.set.load(Relaxed) == 1)
        });
        shared.set.store(1, Relaxed);
        shared.event.notify();
        assert!(waiter.join().expect("the waiter ends"));
    });
}

#[test]
fn two_waiters_wake_by_one_notification() {
    check(|| {
        let shared = shared();
        let waiters = [(), ()].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.event.wait_until(None, || shared.set.load(Relaxed) == 1))
        });
        shared.set.store(1, Relaxed);
        shared.event.notify();
        for waiter in waiters {
            assert!(waiter.join().expect("the waiter ends"));
        }
    });
}

#[test]
fn a_notification_for_another_condition_does_not_end_a_wait() {
    check(|| {
        let shared = shared();
        let waiter = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.event.wait_until(None, || shared.set.load(Relaxed) == 2)
        });
        for set in 1..=2 {
            shared.set.store(set, Relaxed);
            shared.event.notify();
        }
        assert!(waiter.join().expect("the waiter ends"));
    });
}
