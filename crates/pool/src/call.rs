//! One fork-join call: the closure, and the parts of it that are not done.
//!
//! The states, both sides' steps, the race and the proof are in
//! `docs/protocols/team.md`.

use std::ptr;

use crossbeam_utils::CachePadded;

use crate::completion::Countdown;
use crate::panic::{FirstPanic, Payload, catch};

/// A thread's arrival at a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// 0 for the caller; a helper's is the number of its ticket.
    pub(crate) order: usize,
    /// The helper's place in the pool; `None` for a caller from outside.
    pub(crate) helper: Option<usize>,
}

/// A fork-join call in its caller's stack frame.
///
/// A helper touches it when it has returned from the closure, and not before.
pub(crate) struct Call {
    /// The caller's part and one for each helper that was invited.
    pub(crate) parts: CachePadded<Countdown>,
    panic: FirstPanic,
}

impl Call {
    pub(crate) fn new(invited: usize) -> Self {
        Self { parts: Countdown::new(1 + invited).into(), panic: FirstPanic::new() }
    }

    /// Keeps a panic for the caller; the first one wins.
    pub(crate) fn keep_panic(&self, payload: Payload) {
        self.panic.keep(payload);
    }

    /// Resumes the first panic of any member, where there was one.
    pub(crate) fn resume_panic(&self) {
        self.panic.resume();
    }
}

/// A call as posts and boards know it: pointers into its caller's frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallRef {
    pub(crate) call: *const Call,
    /// The closure, and the function that calls it.
    pub(crate) work: *const (),
    pub(crate) run: unsafe fn(*const (), Arrival),
}

// SAFETY: a call is shared by the threads that take part: its closure is Sync, as is all else in it.
unsafe impl Send for CallRef {}

impl CallRef {
    /// Refers to a call and its closure. Both stay until all parts are given up.
    pub(crate) fn new<F: Fn(Arrival) + Sync>(call: &Call, work: &F) -> Self {
        Self { call, work: ptr::from_ref(work).cast(), run: run::<F> }
    }

    /// Whether it refers to the same call.
    pub(crate) fn is(&self, other: &Self) -> bool {
        ptr::eq(self.call, other.call)
    }

    /// Runs the call's closure as one member and gives up that member's part. Never unwinds.
    ///
    /// # Safety
    ///
    /// - `[part]` The calling thread owns one part of the call (a post's or
    ///   board's `accept` gave it this reference), and the call's frame stays
    ///   until all parts are given up.
    pub(crate) unsafe fn take_part(self, arrival: Arrival) {
        // SAFETY: [part] the closure is alive, and `run` is its function.
        if let Err(payload) = catch(|| unsafe { (self.run)(self.work, arrival) }) {
            // SAFETY: [part] the frame is alive; the reference ends before the part does.
            unsafe { &*self.call }.keep_panic(payload);
        }
        // SAFETY: [part].
        let parts = unsafe { &raw const (*self.call).parts };
        // SAFETY: [part] a padded value begins with the value.
        unsafe { Countdown::part_done(parts.cast()) };
    }
}

/// Calls a closure of this type.
///
/// # Safety
///
/// - `[closure]` The pointer is to a closure of this type that is alive.
unsafe fn run<F: Fn(Arrival) + Sync>(work: *const (), arrival: Arrival) {
    // SAFETY: [closure].
    let work = unsafe { &*work.cast::<F>() };
    work(arrival);
}
