//! Limits: a job that waits for its turn has it as soon as there is room.

use std::num::NonZeroUsize;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::check;
use crate::JobLimits;
use crate::job::limits::{Helpers, Place, Present};

const MANY: Helpers = Helpers::MANY;

fn limits(max_helpers: usize) -> JobLimits {
    JobLimits::builder().max_helpers(NonZeroUsize::new(max_helpers).expect("not zero")).build()
}

/// As many helpers come as the job may have.
fn all_come(place: &Place) -> Vec<Present<'_>> {
    std::iter::from_fn(|| place.come()).collect()
}

/// Starts a job that needs one helper and could use so many, and ends when its turn has come.
fn waiter(limits: &JobLimits, wanted: usize) -> thread::JoinHandle<()> {
    let place = limits.enter(MANY, 1, wanted);
    // Where the wake-up is lost it sleeps on, which is a deadlock.
    thread::spawn(move || assert!(place.wait(None)))
}

/// Looks that nobody is left.
fn nobody_is_left(limits: &JobLimits) {
    assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
}

#[test]
fn a_turn_comes_when_another_job_ends() {
    check(|| {
        let limits = limits(1);
        let first = limits.enter(MANY, 1, 1);
        let second = waiter(&limits, 1);
        drop(first);
        second.join().expect("its turn comes");
        nobody_is_left(&limits);
    });
}

#[test]
fn a_turn_comes_when_a_job_before_it_gives_up_its_wait() {
    check(|| {
        let limits = limits(2);
        let first = limits.enter(MANY, 1, 1);
        // Needs more than is free, and nobody overtakes it.
        let second = limits.enter(MANY, 2, 2);
        let third = waiter(&limits, 1);
        drop(second);
        third.join().expect("its turn comes");
        drop(first);
        nobody_is_left(&limits);
    });
}

/// Runs others beside a job that has so many helpers, all of them there, of as many as the limits allow.
fn beside_a_job(
    max_helpers: usize,
    helpers: usize,
    others: impl Fn(&JobLimits, &mut Vec<Present<'_>>) + Send + Sync + 'static,
) {
    check(move || {
        let limits = limits(max_helpers);
        let first = limits.enter(MANY, 0, helpers);
        let mut helpers = all_come(&first);
        others(&limits, &mut helpers);
        drop(helpers);
        drop(first);
        nobody_is_left(&limits);
    });
}

#[test]
fn a_turn_comes_when_a_helper_gives_up_another_job() {
    beside_a_job(2, 2, |limits, helpers| {
        let second = waiter(limits, 1);
        // As the first job's helpers do between chunks.
        while !helpers[0].gives_up() {
            thread::yield_now();
        }
        helpers.pop();
        second.join().expect("its turn comes");
    });
}

#[test]
fn a_turn_comes_when_the_helper_that_gives_up_has_left_and_no_sooner() {
    beside_a_job(2, 2, |limits, helpers| {
        let at_work = Arc::new(AtomicUsize::new(2));
        let place = limits.enter(MANY, 1, 1);
        let second = thread::spawn({
            let at_work = Arc::clone(&at_work);
            move || {
                assert!(place.wait(None));
                // A turn publishes nothing, but an exchange reads what was written last.
                assert!(at_work.fetch_add(1, Ordering::Relaxed) < 2, "no more than two");
                at_work.fetch_sub(1, Ordering::Relaxed);
            }
        });
        while !helpers[1].gives_up() {
            thread::yield_now();
        }
        // It has still to finish what it has of the job.
        at_work.fetch_sub(1, Ordering::Relaxed);
        helpers.pop();
        second.join().expect("its turn comes");
    });
}

#[test]
fn a_turn_comes_when_a_helper_has_nothing_left_to_do_at_another_job() {
    beside_a_job(2, 2, |limits, helpers| {
        let second = waiter(limits, 1);
        helpers.pop();
        second.join().expect("its turn comes");
    });
}

#[test]
fn a_turn_comes_with_less_than_a_share_when_a_caller_has_but_to_wait() {
    beside_a_job(4, 3, |limits, _| {
        // One is free, which is all that it needs.
        let second = waiter(limits, 4);
        second.join().expect("its turn comes");
    });
}

#[test]
fn of_two_helpers_that_are_asked_at_once_one_leaves_for_one_job() {
    check(|| {
        let limits = limits(3);
        let first = Arc::new(limits.enter(MANY, 0, 3));
        let here = Arc::new(AtomicBool::new(false));
        let helper = thread::spawn({
            let (first, here) = (Arc::clone(&first), Arc::clone(&here));
            move || {
                let helper = first.come().expect("it may come");
                here.store(true, Ordering::Release);
                usize::from(helper.gives_up())
            }
        });
        while !here.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let mut helpers: Vec<_> = (0..2).filter_map(|_| first.come()).collect();
        assert_eq!(helpers.len(), 2);
        let second = limits.enter(MANY, 1, 1);
        let given_up = usize::from(helpers[0].gives_up());
        helpers.truncate(2 - given_up);
        let given_up = given_up + helper.join().expect("it leaves or stays");
        assert!(given_up <= 1, "one is enough");
        assert!(second.granted().is_some());
        drop(second);
        drop(helpers);
        drop(first);
        nobody_is_left(&limits);
    });
}
