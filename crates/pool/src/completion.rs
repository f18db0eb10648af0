//! Completion: one thread waits until the work it lent out is done.
//!
//! The states, both sides' steps, the race and the proof are in
//! `docs/protocols/completion.md`.

use crate::sync::{AtomicU8, AtomicUsize, Ordering, Thread, UnsafeCell, current};

const EMPTY: u8 = 0;
const WAITING: u8 = 1;
const COMPLETE: u8 = 2;

/// A flag that one thread waits for and one other thread sets, once.
///
/// It lies in the waiter's stack frame, so whoever sets it touches it for the
/// last time with the store that sets it.
#[derive(Debug)]
pub(crate) struct Completion {
    state: AtomicU8,
    /// Invariant: written only by the waiter, and only while the state is `EMPTY`;
    /// read by others only after they saw `WAITING`.
    waiter: UnsafeCell<Option<Thread>>,
}

// SAFETY: the invariant of `waiter` keeps its one write apart from every read.
unsafe impl Sync for Completion {}

/// What the waiter finds when it announces that it is about to park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Registered {
    /// The thread that completes will unpark the waiter.
    Waiting,
    /// The work is done; there is nothing to wait for.
    Complete,
}

impl Completion {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), waiter: UnsafeCell::new(None) }
    }

    /// Whether the work is done; if so, all its writes are visible.
    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        // [done] Acquire: takes over what the Release in `complete` published.
        self.state.load(Ordering::Acquire) == COMPLETE
    }

    /// Announces that the calling thread is about to park until completion.
    ///
    /// Only one thread, the owner of the frame, may call this. It may do so again.
    pub(crate) fn register(&self) -> Registered {
        // Relaxed: only this thread ever stores WAITING.
        match self.state.load(Ordering::Relaxed) {
            EMPTY => {}
            WAITING => return Registered::Waiting,
            _ => return self.completed(),
        }
        self.waiter.with_mut(|waiter| {
            // SAFETY: the state is not WAITING, so nobody else looks at the cell.
            unsafe { *waiter = Some(current()) }
        });
        // [handle] Release: publishes the handle to the Acquire of `complete` and `poke`.
        let state = &self.state;
        match state.compare_exchange(EMPTY, WAITING, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => Registered::Waiting,
            Err(_) => self.completed(),
        }
    }

    fn completed(&self) -> Registered {
        // [done] Acquire, as in `is_complete`.
        let complete = self.is_complete();
        debug_assert!(complete, "a state that is neither EMPTY nor WAITING is COMPLETE");
        Registered::Complete
    }

    /// Wakes the waiter, if there is one, without completing.
    pub(crate) fn poke(&self) {
        // [handle] Acquire: makes the handle visible.
        if self.state.load(Ordering::Acquire) == WAITING {
            self.handle().inspect(Thread::unpark);
        }
    }

    /// Returns a handle of the waiter. The caller has seen `WAITING` with Acquire.
    fn handle(&self) -> Option<Thread> {
        self.waiter.with(|waiter| {
            // SAFETY: the state is past EMPTY, so nobody writes the cell any more.
            let waiter = unsafe { &*waiter };
            waiter.clone()
        })
    }

    /// Completes: publishes everything this thread did before, and wakes the waiter.
    ///
    /// # Safety
    ///
    /// - `[alive]` `this` is alive until this call's last store to it, which
    ///   holds where its owner does not free it before it saw completion.
    /// - `[once]` Nobody else calls this for `this`.
    #[inline]
    pub(crate) unsafe fn complete(this: *const Self) {
        // SAFETY: [alive].
        if unsafe { complete_unwaited(this) } {
            return;
        }
        // The handle is read before the store that lets the waiter free it.
        // SAFETY: [alive]; the reference ends before that store.
        let waiter = unsafe { &*this }.handle();
        // SAFETY: [alive].
        let state = unsafe { &(*this).state };
        // [done] Release: publishes the work to the waiter's Acquire.
        state.store(COMPLETE, Ordering::Release);
        waiter.inspect(Thread::unpark);
    }
}

/// Turns EMPTY into COMPLETE; returns whether nobody was waiting.
///
/// # Safety
///
/// - `[alive]` as in [`Completion::complete`].
#[inline]
unsafe fn complete_unwaited(this: *const Completion) -> bool {
    // SAFETY: [alive].
    let state = unsafe { &(*this).state };
    // [done] Release: publishes the work to the waiter's Acquire.
    // [handle] Acquire on failure: makes the handle visible.
    state.compare_exchange(EMPTY, COMPLETE, Ordering::Release, Ordering::Acquire).is_ok()
}

/// A count of work that is lent out or not yet given up by its owner; completes when it reaches zero.
///
/// Where parts are added later, the owner's own counts as one until it adds
/// no more, so that the count cannot reach zero and rise again.
#[derive(Debug)]
pub(crate) struct Countdown {
    /// Invariant: never rises again when no part or one is left, but by whoever has that part.
    pending: AtomicUsize,
    done: Completion,
}

/// What is left when the owner gives up its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Remaining {
    /// Nobody else has anything left; all they wrote is visible.
    Nothing,
    /// Others are not done; the completion tells when they are.
    Others,
}

impl Countdown {
    /// Starts with this many parts, the owner's included.
    pub(crate) fn new(parts: usize) -> Self {
        Self { pending: AtomicUsize::new(parts), done: Completion::new() }
    }

    /// Adds one part. The caller holds one itself, or is called by one who does.
    pub(crate) fn add(&self) {
        // Relaxed: the part is handed over by whatever hands over the work.
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives up the owner's parts and those it took back; there are others where these are none.
    #[inline]
    pub(crate) fn owner_done(&self, parts: usize) -> Remaining {
        if parts == 0 {
            // Whoever else takes the count to zero completes, or has done so.
            return Remaining::Others;
        }
        // [parts] Acquire: takes over what each other part's Release published.
        // Release is not needed: nobody else completes if this is the last.
        match self.pending.fetch_sub(parts, Ordering::Acquire) == parts {
            true => Remaining::Nothing,
            false => Remaining::Others,
        }
    }

    /// The flag to wait for when [`Countdown::owner_done`] said that others are left.
    #[inline]
    pub(crate) fn done(&self) -> &Completion {
        &self.done
    }

    /// Gives up one part that is not the owner's.
    ///
    /// # Safety
    ///
    /// - `[part]` The caller holds this part, and gives it up only here. The
    ///   owner keeps `this` alive until it saw the last one given up.
    #[inline]
    pub(crate) unsafe fn part_done(this: *const Self) {
        // SAFETY: [part].
        let pending = unsafe { &(*this).pending };
        // [parts] Acquire: takes over the other parts, to publish them with completion.
        // The only part left is this one, and nobody needs the count to say so.
        let is_last = pending.load(Ordering::Acquire) == 1
            // [parts] Release: publishes this part to whoever has the last. Acquire: as above.
            || pending.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last {
            // SAFETY: [part]: the owner, who is not the last, waits for `done`.
            let done = unsafe { &raw const (*this).done };
            // SAFETY: [alive] the owner waits for it. [once] there is one last part.
            unsafe { Completion::complete(done) };
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::{Completion, Countdown};

    impl Completion {
        /// Makes loom check that nobody uses this any more, as freeing it would need.
        pub(crate) fn assert_unused(&mut self) {
            self.state.with_mut(|_| ());
            self.waiter.with_mut(|_| ());
        }
    }

    impl Countdown {
        /// As [`Completion::assert_unused`].
        pub(crate) fn assert_unused(&mut self) {
            self.pending.with_mut(|_| ());
            self.done.assert_unused();
        }
    }
}
