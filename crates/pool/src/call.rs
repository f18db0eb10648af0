//! One fork-join call: the closure, and the parts of it that are not done.
//!
//! The states, both sides' steps, the race and the proof are in
//! `docs/protocols/team.md`.

use crate::completion::Countdown;
use crate::panic::{FirstPanic, Payload, catch};
use crate::sync::{AtomicUsize, Ordering};

/// A thread's arrival at a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// 0 for the caller, then in order of arrival.
    pub(crate) order: usize,
    /// The helper's place in the pool; `None` for a caller from outside.
    pub(crate) helper: Option<usize>,
}

/// A fork-join call in its caller's stack frame.
pub(crate) struct Call<'f> {
    work: &'f (dyn Fn(Arrival) + Sync),
    /// Members that have come, the caller included.
    members: AtomicUsize,
    /// The caller's part and one for each helper that was invited.
    pub(crate) parts: Countdown,
    panic: FirstPanic,
}

impl<'f> Call<'f> {
    pub(crate) fn new(invited: usize, work: &'f (dyn Fn(Arrival) + Sync)) -> Self {
        Self {
            work,
            members: AtomicUsize::new(1),
            parts: Countdown::new(1 + invited),
            panic: FirstPanic::new(),
        }
    }

    /// Returns how many members came, the caller included; final once all parts are given up.
    pub(crate) fn members(&self) -> usize {
        // Relaxed: whoever needs the final count has synchronised with all parts.
        self.members.load(Ordering::Relaxed)
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

/// A call as posts and boards know it: a pointer into its caller's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallRef(*mut Call<'static>);

// SAFETY: a call is shared by the threads that take part: its closure is Sync, as is all else in it.
unsafe impl Send for CallRef {}

impl CallRef {
    pub(crate) fn new(call: &Call<'_>) -> Self {
        Self(std::ptr::from_ref(call).cast_mut().cast())
    }

    pub(crate) fn as_ptr(self) -> *mut Call<'static> {
        self.0
    }

    /// Refers to the call that [`CallRef::as_ptr`] returned.
    pub(crate) fn from_ptr(call: *mut Call<'static>) -> Self {
        Self(call)
    }

    /// Runs the call's closure as one member and gives up that member's part. Never unwinds.
    ///
    /// # Safety
    ///
    /// - `[part]` The calling thread owns one part of the call (a post's
    ///   or board's `accept` gave it this reference), and the call's frame stays until all
    ///   parts are given up.
    pub(crate) unsafe fn take_part(self, helper: usize) {
        {
            // SAFETY: [part] the frame is alive; the reference ends before the part does.
            let call = unsafe { &*self.0 };
            // Relaxed: only the number must be unique.
            let order = call.members.fetch_add(1, Ordering::Relaxed);
            if let Err(payload) = catch(|| (call.work)(Arrival { order, helper: Some(helper) })) {
                call.keep_panic(payload);
            }
        }
        // SAFETY: [part].
        let parts = unsafe { &raw const (*self.0).parts };
        // SAFETY: [part].
        unsafe { Countdown::part_done(parts) };
    }
}
