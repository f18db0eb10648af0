//! Whether a thread is inside of a limited job, where it may not wait for a turn.

use std::cell::Cell;

use firsttouch_pool::Helper;

use crate::sync::thread_local;

thread_local! {
    /// How many limited jobs' chunks lie on this thread's stack.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// Whether a wait on the calling thread could hold up a job that has a turn.
pub(crate) fn may_hold_up_others() -> bool {
    // Where the thread-local values are gone, nothing is known.
    Helper::is_current_thread() || INSIDE.try_with(Cell::get).unwrap_or(1) > 0
}

/// While it lives, the calling thread is inside of a limited job.
pub(crate) struct Inside(());

impl Inside {
    pub(crate) fn enter() -> Self {
        let _ = INSIDE.try_with(|inside| inside.set(inside.get() + 1));
        Self(())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| inside.set(inside.get() - 1));
    }
}
