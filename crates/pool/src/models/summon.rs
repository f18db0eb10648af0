//! Summoning: a helper that sleeps is woken for a ticket that those who search do not take.
//!
//! The caller counts on whoever searches when it looks. Here each helper takes
//! the steps of one part of `helper.rs`, so that three of them fit in a model.

use loom::thread;

use super::check_within;
use super::pool::Model;
use crate::shared::NodeWork;
use crate::steal::Steal;
use crate::sync::pause;
use crate::worker::Worker;

/// What helpers write on the only node.
fn node<'w>(worker: &'w Worker<'_>) -> &'w NodeWork {
    &worker.shared().nodes[0].work
}

/// Sleeps, and comes to the call: a helper that nobody wakes is a deadlock.
fn sleeps(worker: &Worker<'_>, helper: usize) {
    let shared = worker.shared();
    node(worker).front.sleep(helper, || shared.has_work_for(worker, helper));
    comes(worker, helper);
}

/// Takes a ticket as a helper that searches, and searches again when its part is done.
fn comes(worker: &Worker<'_>, helper: usize) {
    let shared = worker.shared();
    let (part, searching) = loop {
        match shared.accept_in_search(worker) {
            Some(accepted) => break accepted,
            None => pause(0),
        }
    };
    shared.found_work(0, 0, searching);
    // SAFETY: [part] it was accepted.
    unsafe { part.take(shared, helper, || node(worker).front.begin_search()) };
}

/// Searches, and finds something else that lasts longer than the call.
fn finds_a_job(worker: &Worker<'_>) {
    node(worker).front.begin_search();
    pause(0);
    worker.shared().found_work(0, 0, node(worker).front.end_search());
}

/// Calls so many helpers while those that sleep may do so already; with at most one preemption.
fn call(helpers: &'static [u32], required: usize, helper: fn(&Worker<'_>, usize)) {
    check_within(1, move || {
        let model = Model::of(helpers, Steal::Anywhere, helper);
        thread::yield_now();
        assert_eq!(model.call(required, 0), 1 + required);
        model.join();
    });
}

#[test]
fn the_only_one_to_search_that_finds_a_job_leaves_the_call_to_one_that_sleeps() {
    call(&[0; 2], 1, |worker, helper| match helper {
        0 => sleeps(worker, helper),
        _ => finds_a_job(worker),
    });
}

#[test]
fn one_that_came_and_stops_searching_leaves_the_rest_to_one_that_sleeps() {
    call(&[0; 3], 2, |worker, helper| match helper {
        0 => sleeps(worker, helper),
        1 => finds_a_job(worker),
        _ => {
            node(worker).front.begin_search();
            comes(worker, helper);
            worker.shared().found_tickets_for_others(worker, helper);
            pause(0);
            worker.shared().found_nothing(0);
        }
    });
}

#[test]
fn one_that_came_and_searches_on_leaves_the_rest_to_one_that_sleeps() {
    call(&[0; 3], 2, |worker, helper| match helper {
        0 => sleeps(worker, helper),
        1 => finds_a_job(worker),
        _ => {
            node(worker).front.begin_search();
            comes(worker, helper);
            // It looks for as long as the pool's builder was told, which may be for ever.
            while node(worker).front.all_tickets().required > 0 {
                worker.shared().found_tickets_for_others(worker, helper);
                pause(0);
            }
        }
    });
}

#[test]
fn the_only_one_to_search_that_finds_a_job_leaves_an_invitation_to_one_that_sleeps() {
    check_within(1, || {
        let model = Model::of(&[0; 2], Steal::Anywhere, |worker, helper| match helper {
            0 => sleeps(worker, helper),
            _ => finds_a_job(worker),
        });
        thread::yield_now();
        model.call_until_one_comes();
        model.join();
    });
}

/// Takes tickets as a helper that searches, the post's perhaps, until it has one of the board.
fn comes_to_board(worker: &Worker<'_>, helper: usize) {
    let mut round = worker.round.get();
    loop {
        comes(worker, helper);
        if worker.round.get() == round {
            return;
        }
        round = worker.round.get();
    }
}

/// As [`sleeps`], where the call that requires it is on the board.
fn sleeps_before_board(worker: &Worker<'_>, helper: usize) {
    let shared = worker.shared();
    node(worker).front.sleep(helper, || shared.has_work_for(worker, helper));
    comes_to_board(worker, helper);
}

/// As [`call`], where another call has the post, and so many helpers that never come count as searching.
fn call_on_board(
    away: usize,
    helpers: &'static [u32],
    required: usize,
    helper: fn(&Worker<'_>, usize),
) {
    check_within(1, move || {
        let model = Model::of(helpers, Steal::Anywhere, helper);
        (0..away).for_each(|_| model.shared().nodes[0].work.front.begin_search());
        thread::yield_now();
        model.call_on_board(required);
        model.join();
    });
}

#[test]
fn a_call_on_the_board_wakes_one_that_sleeps() {
    call_on_board(0, &[0; 1], 1, sleeps_before_board);
}

#[test]
fn a_call_on_the_board_is_left_to_one_that_sleeps() {
    call_on_board(0, &[0; 2], 1, |worker, helper| match helper {
        0 => sleeps_before_board(worker, helper),
        _ => finds_a_job(worker),
    });
}

#[test]
fn one_that_came_to_the_board_and_searches_on_leaves_the_rest_to_one_that_sleeps() {
    call_on_board(1, &[0; 2], 2, |worker, helper| match helper {
        0 => sleeps_before_board(worker, helper),
        _ => {
            node(worker).front.begin_search();
            comes_to_board(worker, helper);
            // It searches on, so nobody else is the last to. The second look comes after the
            // caller's, which counts its call when its tickets are there.
            for _ in 0..2 {
                worker.shared().found_tickets_for_others(worker, helper);
                pause(0);
            }
        }
    });
}
