//! A job's place under limits, and its helpers' there.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use super::shares::Turn;
use crate::sync::Ordering;

/// A job's place under limits; dropping it gives up the turn, or the wait for it.
pub(crate) struct Place {
    pub(super) limits: Arc<Shared>,
    pub(super) turn: Arc<Turn>,
}

impl Place {
    /// The helpers that the job may have; `None` until its turn has come.
    ///
    /// Relaxed: it publishes nothing.
    #[inline]
    pub(crate) fn granted(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.turn.granted())
    }

    /// Waits until the turn has come or the deadline passes; returns whether it has come.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        if !self.turn.is_idle() {
            self.limits.change(|_| self.turn.becomes_idle());
        }
        self.limits.turned.wait_until(deadline, || self.granted().is_some())
    }

    /// Takes a turn at once, with so many helpers, over the limits.
    pub(crate) fn force(&self, helpers: usize) {
        self.limits.change(|state| {
            if self.granted().is_none() {
                state.forget(&self.turn);
                self.turn.grant(helpers.max(self.turn.least()));
                state.running.push(Arc::clone(&self.turn));
            }
        });
    }

    /// Counts a helper that need not stay as there, until what it gets is dropped; `None` where the job may not have it any more.
    pub(crate) fn come(&self) -> Option<Present<'_>> {
        let comes = self.limits.change(|_| self.turn.comes());
        // Made only then: one that is dropped counts as a helper that leaves.
        comes.then(|| Present(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limits.change(|state| state.forget(&self.turn));
    }
}

/// A helper that is at a job under limits.
///
/// Its place is another job's only when this is dropped, so that no more helpers than may be are at work.
pub(crate) struct Present<'p>(pub(super) &'p Place);

impl Present<'_> {
    /// Asked between chunks: whether the helper is to leave the job, for one that waits.
    #[inline]
    pub(crate) fn gives_up(&self) -> bool {
        self.0.limits.lacking.load(Ordering::Relaxed) > 0 && self.try_give_up()
    }

    fn try_give_up(&self) -> bool {
        self.0.limits.change(|state| state.give_up(&self.0.turn))
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.limits.change(|_| self.0.turn.leaves());
    }
}
