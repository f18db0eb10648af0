//! Shutdown: the flag that tells helpers to end when no work is left.
//!
//! Both sides' steps and the proof are in `docs/protocols/shutdown.md`.

use crate::sync::{AtomicBool, Ordering};

/// Whether a pool shuts down; never unset.
#[derive(Debug)]
pub(crate) struct Shutdown(AtomicBool);

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Begins shutdown; helpers that sleep must be woken after.
    pub(crate) fn begin(&self) {
        // [shutdown] Release: a helper that sees it also sees what was queued before.
        self.0.store(true, Ordering::Release);
    }

    /// Whether shutdown has begun; if so, all that was queued before is visible.
    pub(crate) fn has_begun(&self) -> bool {
        // [shutdown] Acquire: see `begin`.
        self.0.load(Ordering::Acquire)
    }
}
