//! Limits: a job that waits for its turn has it as soon as there is room.

use std::num::NonZeroUsize;

use loom::sync::Arc;
use loom::thread;

use super::check;
use crate::JobLimits;

fn limits(max_helpers: usize) -> JobLimits {
    JobLimits::builder().max_helpers(NonZeroUsize::new(max_helpers).expect("not zero")).build()
}

/// Starts a job that needs one helper, and ends when its turn has come.
fn waiter(limits: &JobLimits) -> thread::JoinHandle<()> {
    let place = limits.enter(1, 1);
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
        let first = limits.enter(1, 1);
        let second = waiter(&limits);
        drop(first);
        second.join().expect("its turn comes");
        nobody_is_left(&limits);
    });
}

#[test]
fn a_turn_comes_when_a_job_before_it_gives_up_its_wait() {
    check(|| {
        let limits = limits(2);
        let first = limits.enter(1, 1);
        // Needs more than is free, and nobody overtakes it.
        let second = limits.enter(2, 2);
        let third = waiter(&limits);
        drop(second);
        third.join().expect("its turn comes");
        drop(first);
        nobody_is_left(&limits);
    });
}

#[test]
fn a_turn_comes_when_a_helper_leaves_another_job() {
    check(|| {
        let limits = limits(2);
        let first = limits.enter(1, 2);
        let second = waiter(&limits);
        // As the first job's helpers do between chunks.
        while !first.gives_up_one() {
            thread::yield_now();
        }
        second.join().expect("its turn comes");
        drop(first);
        nobody_is_left(&limits);
    });
}

#[test]
fn two_helpers_that_leave_give_up_one_place_each() {
    check(|| {
        let limits = limits(4);
        let first = Arc::new(limits.enter(1, 4));
        let others = [limits.enter(2, 2), limits.enter(1, 1)];
        let helper = thread::spawn({
            let first = Arc::clone(&first);
            move || usize::from(first.gives_up_one())
        });
        let given_up = usize::from(first.gives_up_one());
        let given_up = given_up + helper.join().expect("it leaves or stays");
        let granted = first.granted().map_or(0, NonZeroUsize::get);
        assert_eq!(granted, 4 - given_up);
        drop(others);
        assert_eq!(limits.helpers(), granted);
        drop(first);
        nobody_is_left(&limits);
    });
}
