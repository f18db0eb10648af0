//! Origin: who waits for a job takes only jobs that stem from it.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;

use super::check;
use crate::completion::Completion;
use crate::origin::{JobId, Origin};
use crate::process::Process;

/// What a deque of one place holds.
const EMPTY: usize = 0;
const OF_THE_JOB: usize = 1;
const OF_ANOTHER: usize = 2;

#[test]
fn an_owner_takes_nothing_that_was_queued_before_its_job_or_after() {
    check(|| {
        let done = Arc::new([Completion::new(), Completion::new()]);
        // Taken and queued in single steps that order nothing: that is the origin's part.
        let shared = Arc::new((Origin::default(), AtomicUsize::new(OF_ANOTHER)));
        let thief = thread::spawn({
            let (shared, done) = (Arc::clone(&shared), Arc::clone(&done));
            move || {
                let (origin, deque) = &*shared;
                let name = |place: usize| JobId::of(&raw const done[place]);
                // Whatever was queued before is gone when the job begins.
                deque.store(EMPTY, Relaxed);
                let before = origin.change(name(0), &Process);
                deque.store(OF_THE_JOB, Relaxed);
                // The owner may take it; else the thief takes it back.
                deque.swap(EMPTY, Relaxed);
                assert_eq!(origin.change(before, &Process), name(0));
                deque.store(OF_ANOTHER, Relaxed);
                origin.change(name(1), &Process);
            }
        });
        let (origin, deque) = &*shared;
        let job = JobId::of(&raw const done[0]);
        let taken = origin.while_at(job, || match deque.load(Relaxed) {
            EMPTY => None,
            seen => deque.compare_exchange(seen, EMPTY, Relaxed, Relaxed).ok(),
        });
        assert!(matches!(taken, None | Some(OF_THE_JOB)), "{taken:?}");
        thief.join().expect("the thief ends");
    });
}

#[test]
fn what_is_taken_is_of_the_job_that_the_helper_is_at() {
    struct Helper {
        origin: Origin,
        /// What the helper is at, as its deque would show it.
        queued: UnsafeCell<u32>,
    }
    // SAFETY: loom checks every access of the cell.
    unsafe impl Sync for Helper {}
    // SAFETY: as above.
    unsafe impl Send for Helper {}

    check(|| {
        let helper = Arc::new(Helper { origin: Origin::default(), queued: UnsafeCell::new(0) });
        let done = Completion::new();
        let job = JobId::of(&raw const done);
        let owner = Arc::clone(&helper);
        let thief = thread::spawn(move || {
            let queue = |job| {
                // SAFETY: loom checks that no owner takes meanwhile.
                helper.queued.with_mut(|queued| unsafe { *queued = job });
            };
            queue(1);
            let before = helper.origin.change(job, &Process);
            helper.origin.change(before, &Process);
            queue(2);
        });
        let taken = owner.origin.while_at(job, || {
            // SAFETY: loom checks that the helper queues nothing else meanwhile.
            Some(owner.queued.with(|queued| unsafe { *queued }))
        });
        assert!(matches!(taken, None | Some(1)));
        thief.join().expect("the thief ends");
    });
}
