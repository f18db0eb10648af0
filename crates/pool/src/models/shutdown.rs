//! Shutdown: what was queued before is seen by a helper that sees the flag, and what all did by one that sees the end.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::check;
use crate::shutdown::{Resting, Shutdown, Woken};

struct Queue {
    job: UnsafeCell<bool>,
    shutdown: Shutdown,
}

// SAFETY: loom checks every access of the cell.
unsafe impl Sync for Queue {}

#[test]
fn a_helper_that_sees_shutdown_sees_what_was_queued_before() {
    check(|| {
        let queue = Arc::new(Queue { job: UnsafeCell::new(false), shutdown: Shutdown::of(1) });
        let helper = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                if queue.shutdown.has_begun() {
                    // SAFETY: loom checks that the write is over.
                    assert!(queue.job.with(|job| unsafe { *job }));
                }
            }
        });
        // SAFETY: loom checks that nobody reads yet.
        queue.job.with_mut(|job| unsafe { *job = true });
        queue.shutdown.begin();
        helper.join().expect("the helper ends");
    });
}

#[test]
fn a_helper_that_sees_the_end_sees_what_all_did() {
    check(|| {
        let shared = Arc::new((Shutdown::of(2), [Place::new(), Place::new()]));
        let helper = |own: usize| {
            let shared = Arc::clone(&shared);
            move || {
                let (shutdown, places) = &*shared;
                // SAFETY: loom checks that nobody reads yet.
                places[own].0.with_mut(|done| unsafe { *done = true });
                let last = shutdown.rests() == Resting::All;
                // One may have rested where it dropped the pool, and looks without waking.
                let over = last || (own == 0 && shutdown.is_over());
                if over || shutdown.wakes() == Woken::Over {
                    // SAFETY: loom checks that the other's write is over.
                    assert!(places.iter().all(|place| place.0.with(|done| unsafe { *done })));
                    assert_eq!(shutdown.wakes(), Woken::Over, "nobody is busy after the end");
                } else {
                    let _ = shutdown.rests();
                }
            }
        };
        let helpers = [thread::spawn(helper(0)), thread::spawn(helper(1))];
        helpers.into_iter().for_each(|helper| helper.join().expect("a helper ends"));
        assert!(shared.0.is_over());
    });
}

struct Place(UnsafeCell<bool>);

impl Place {
    fn new() -> Self {
        Self(UnsafeCell::new(false))
    }
}

// SAFETY: loom checks every access of the cell.
unsafe impl Sync for Place {}
