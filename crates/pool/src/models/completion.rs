//! Completion: all work is visible, no wake-up is lost, and the frame is not touched after.

use std::collections::VecDeque;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::check;
use crate::completion::{Completion, Countdown, Remaining};
use crate::front::look;
use crate::sync::{AtomicUsize, Mutex, Ordering::Relaxed, current};
use crate::wait::wait_idly;

/// A pointer that a model passes to its threads.
struct Shared<T>(*mut T);

// SAFETY: the models keep what it points to alive, and loom checks the accesses.
unsafe impl<T> Send for Shared<T> {}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<T> Shared<T> {
    fn new(value: T) -> Self {
        Self(Box::into_raw(Box::new(value)))
    }

    fn get(&self) -> *mut T {
        self.0
    }
}

/// A frame that lends out one piece of work.
struct JoinFrame {
    result: UnsafeCell<u32>,
    done: Completion,
}

#[test]
fn a_waiter_sees_the_result_and_frees_the_frame() {
    join(|| ());
}

#[test]
fn a_waiter_that_is_unparked_for_no_reason_sees_the_result() {
    // The token makes it look at the state once more while it is registered.
    join(|| current().unpark());
}

/// Lends out one piece of work and waits for it, after `first`.
fn join(first: fn()) {
    check(move || {
        let frame = Shared::new(JoinFrame { result: UnsafeCell::new(0), done: Completion::new() });
        let lent = frame.clone();
        let thief = thread::spawn(move || {
            let frame = lent.get();
            // SAFETY: the frame is alive until completion.
            let result = unsafe { &(*frame).result };
            // SAFETY: loom checks that nobody else has the cell.
            result.with_mut(|result| unsafe { *result = 7 });
            // SAFETY: the frame is alive until completion.
            let done = unsafe { &raw const (*frame).done };
            // SAFETY: [alive] the owner waits for completion. [once] only here.
            unsafe { Completion::complete(done) };
        });
        // SAFETY: the owner frees the frame at the end only.
        let owner = unsafe { &mut *frame.get() };
        first();
        wait_idly(&owner.done, || false);
        // SAFETY: loom checks that nobody else has the cell.
        assert_eq!(owner.result.with(|result| unsafe { *result }), 7);
        owner.done.assert_unused();
        // SAFETY: it comes from a box, and completion means that nobody uses it.
        drop(unsafe { Box::from_raw(frame.get()) });
        thief.join().expect("the thief ends");
    });
}

/// A frame that lends out several pieces of work.
struct ScopeFrame {
    results: [UnsafeCell<u32>; 2],
    parts: Countdown,
}

#[test]
fn an_owner_sees_all_parts_and_frees_the_frame() {
    check(|| {
        let results = [UnsafeCell::new(0), UnsafeCell::new(0)];
        let frame = Shared::new(ScopeFrame { results, parts: Countdown::new(3) });
        let threads = [0, 1].map(|part| {
            let lent = frame.clone();
            thread::spawn(move || {
                let frame = lent.get();
                // SAFETY: the frame is alive until all parts are given up.
                let result = unsafe { &(&(*frame).results)[part] };
                // SAFETY: loom checks that nobody else has the cell.
                result.with_mut(|result| unsafe { *result = 7 });
                // SAFETY: the frame is alive until all parts are given up.
                let parts = unsafe { &raw const (*frame).parts };
                // SAFETY: [part] each thread has one.
                unsafe { Countdown::part_done(parts) };
            })
        });
        // SAFETY: the owner frees the frame at the end only.
        let owner = unsafe { &mut *frame.get() };
        if owner.parts.owner_done(1) == Remaining::Others {
            wait_idly(owner.parts.done(), || false);
        }
        for result in &owner.results {
            // SAFETY: loom checks that nobody else has the cell.
            assert_eq!(result.with(|result| unsafe { *result }), 7);
        }
        owner.parts.assert_unused();
        // SAFETY: it comes from a box, and nobody has a part any more.
        drop(unsafe { Box::from_raw(frame.get()) });
        threads.into_iter().for_each(|thread| thread.join().expect("a thread ends"));
    });
}

#[test]
fn a_waiting_owner_is_woken_for_a_task_spawned_elsewhere() {
    check(|| {
        struct Frame {
            elsewhere: Mutex<VecDeque<u32>>,
            parts: Countdown,
        }
        let frame = Arc::new(Frame { elsewhere: Mutex::default(), parts: Countdown::new(2) });
        let lent = Arc::clone(&frame);
        // A task, with a part of its own, that spawns another.
        let task = thread::spawn(move || {
            lent.parts.add();
            lent.elsewhere.lock().push_back(7);
            lent.parts.done().poke();
            // SAFETY: [part] the task's own.
            unsafe { Countdown::part_done(&raw const lent.parts) };
        });
        let mut run = 0;
        if frame.parts.owner_done(1) == Remaining::Others {
            wait_idly(frame.parts.done(), || {
                let Some(number) = frame.elsewhere.lock().pop_front() else { return false };
                run += number;
                // SAFETY: [part] that of the task just run.
                unsafe { Countdown::part_done(&raw const frame.parts) };
                true
            });
        }
        assert_eq!(run, 7);
        task.join().expect("the task ends");
    });
}

#[test]
fn a_waiting_owner_is_woken_for_a_job_that_its_thief_shows() {
    check(|| {
        struct Frame {
            shown: AtomicUsize,
            done: Completion,
        }
        let frame = Arc::new(Frame { shown: AtomicUsize::new(0), done: Completion::new() });
        let lent = Arc::clone(&frame);
        let thief = thread::spawn(move || {
            lent.shown.store(1, Relaxed);
            look();
            lent.done.poke();
            // The thief is busy for as long as the owner does not take what it shows.
            while lent.shown.load(Relaxed) == 1 {
                thread::yield_now();
            }
            // SAFETY: [alive] the frame is shared. [once] only here.
            unsafe { Completion::complete(&raw const lent.done) };
        });
        wait_idly(&frame.done, || frame.shown.swap(0, Relaxed) == 1);
        thief.join().expect("the thief ends");
    });
}
