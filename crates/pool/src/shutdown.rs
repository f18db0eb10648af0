//! Shutdown: the flag that tells helpers to end, and the count of those that may still run something.
//!
//! The states, both sides' steps and the proof are in `docs/protocols/shutdown.md`.

use crate::sync::{AtomicBool, AtomicUsize, Ordering};

/// Whether a pool shuts down, and how many of its helpers are not done.
#[derive(Debug)]
pub(crate) struct Shutdown {
    /// Never unset.
    begun: AtomicBool,
    /// Helpers that do not rest. Invariant: never rises from zero.
    busy: AtomicUsize,
    /// Whether there were helpers at all.
    has_helpers: bool,
}

/// Whether others have something to do when a helper comes to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Resting {
    /// A helper that is busy may bring more work.
    Some,
    /// Nothing runs and nothing is queued: it is over.
    All,
}

/// What a helper that rested finds when it wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Woken {
    /// It counts as busy again, and looks for work.
    Busy,
    /// All rested: it ends.
    Over,
}

impl Shutdown {
    /// Starts with so many helpers, all busy.
    pub(crate) fn of(helpers: usize) -> Self {
        Self {
            begun: AtomicBool::new(false),
            busy: AtomicUsize::new(helpers),
            has_helpers: helpers > 0,
        }
    }

    /// Begins shutdown; helpers that sleep must be woken after.
    pub(crate) fn begin(&self) {
        // [shutdown] Release: a helper that sees it also sees what was queued before.
        self.begun.store(true, Ordering::Release);
    }

    /// Whether shutdown has begun; if so, all that was queued before is visible.
    pub(crate) fn has_begun(&self) -> bool {
        // [shutdown] Acquire: see `begin`.
        self.begun.load(Ordering::Acquire)
    }

    /// Counts the calling helper, which has found no job anywhere, as one that rests.
    pub(crate) fn rests(&self) -> Resting {
        // [rest] Release: publishes what this helper has done, and taken from
        // queues, to whoever sees that it rests. Acquire: the last takes over
        // what the others did, and passes it on.
        match self.busy.fetch_sub(1, Ordering::AcqRel) {
            1 => Resting::All,
            _ => Resting::Some,
        }
    }

    /// Counts the calling helper, which rested, as busy again, unless all rested.
    pub(crate) fn wakes(&self) -> Woken {
        let busy = &self.busy;
        // [rest] Acquire: what the others did before they rested. Relaxed on
        // success: a helper publishes nothing by becoming busy, and the count
        // that it raises carries on the others' releases.
        let woken = busy.fetch_update(Ordering::Relaxed, Ordering::Acquire, |busy| {
            (busy > 0).then(|| busy + 1)
        });
        if woken.is_ok() { Woken::Busy } else { Woken::Over }
    }

    /// Whether all helpers rested after shutdown had begun; if so, all they did is visible.
    pub(crate) fn is_over(&self) -> bool {
        // [rest] Acquire: see `rests`.
        self.has_helpers && self.busy.load(Ordering::Acquire) == 0
    }
}
