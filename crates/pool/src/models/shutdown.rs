//! Shutdown: what was queued before is seen by a helper that sees the flag.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::check;
use crate::shutdown::Shutdown;

struct Queue {
    job: UnsafeCell<bool>,
    shutdown: Shutdown,
}

// SAFETY: loom checks every access of the cell.
unsafe impl Sync for Queue {}

#[test]
fn a_helper_that_sees_shutdown_sees_what_was_queued_before() {
    check(|| {
        let queue = Arc::new(Queue { job: UnsafeCell::new(false), shutdown: Shutdown::new() });
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
