//! One fork-join call: the closure, and the parts of it that are not done.
//!
//! The states, both sides' steps, the race and the proof are in
//! `docs/protocols/team.md`.

use std::ptr;

use crossbeam_utils::CachePadded;

use crate::completion::{Completion, Countdown, Remaining};
use crate::panic::{FirstPanic, Payload, catch};
use crate::shared::Shared;

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
    /// A part for each helper that was invited; the caller has none, as it waits for all of them.
    parts: CachePadded<Countdown>,
    panic: FirstPanic,
}

/// What each member of a call runs.
pub(crate) trait Share: Sync {
    /// Runs one member's share.
    fn run(&self, shared: &Shared, arrival: Arrival);
}

impl Call {
    #[inline]
    pub(crate) fn new(invited: usize) -> Self {
        Self { parts: Countdown::new(invited).into(), panic: FirstPanic::new() }
    }

    /// Gives up the parts that were taken back, of which there was one at least that was not; returns whether others have any.
    #[inline]
    pub(crate) fn give_up(&self, withdrawn: usize) -> Remaining {
        self.parts.owner_done(withdrawn)
    }

    /// The flag to wait for where others have parts.
    #[inline]
    pub(crate) fn done(&self) -> &Completion {
        self.parts.done()
    }

    /// Keeps a panic for the caller; the first one wins.
    pub(crate) fn keep_panic(&self, payload: Payload) {
        self.panic.keep(payload);
    }

    /// Resumes the first panic of any member, where there was one.
    #[inline]
    pub(crate) fn resume_panic(&mut self) {
        self.panic.resume();
    }
}

/// A call as posts and boards know it: pointers into its caller's frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallRef {
    pub(crate) call: *const Call,
    /// The share, and the function that runs it.
    pub(crate) share: *const (),
    pub(crate) run: Run,
}

/// Runs a share of a certain type.
pub(crate) type Run = unsafe fn(*const (), &Shared, Arrival);

// SAFETY: a call is shared by the threads that take part: what they run is Sync, as is all else in it.
unsafe impl Send for CallRef {}

impl CallRef {
    /// Refers to a call and what its members run. Both stay until all parts are given up.
    pub(crate) fn new<S: Share>(call: &Call, share: &S) -> Self {
        Self { call, share: ptr::from_ref(share).cast(), run: run::<S> }
    }

    /// Whether it refers to the same call.
    pub(crate) fn is(&self, other: &Self) -> bool {
        ptr::eq(self.call, other.call)
    }

    /// Runs a member's share, then `done`, and gives up that member's part. Never unwinds.
    ///
    /// # Safety
    ///
    /// - `[part]` The calling thread owns one part of the call (a post's or
    ///   board's `accept` gave it this reference), and the call's frame stays
    ///   until all parts are given up.
    #[inline]
    pub(crate) unsafe fn take_part(self, shared: &Shared, arrival: Arrival, done: impl FnOnce()) {
        // SAFETY: [share] it is alive by [part], and `run` is for its type.
        if let Err(payload) = catch(|| unsafe { (self.run)(self.share, shared, arrival) }) {
            // SAFETY: [part] the frame is alive; the reference ends before the part does.
            unsafe { &*self.call }.keep_panic(payload);
        }
        done();
        // SAFETY: [part].
        let parts = unsafe { &raw const (*self.call).parts };
        // SAFETY: [part] a padded value begins with the value.
        unsafe { Countdown::part_done(parts.cast()) };
    }
}

/// Runs a share of this type.
///
/// # Safety
///
/// - `[share]` The pointer is to one of this type that is alive.
unsafe fn run<S: Share>(share: *const (), shared: &Shared, arrival: Arrival) {
    // SAFETY: [share].
    let share = unsafe { &*share.cast::<S>() };
    share.run(shared, arrival);
}
