//! Which started jobs' chunks lie on the calling thread's stack.

use std::cell::RefCell;

use crate::job::cancel::CancelToken;
use crate::sync::thread_local;

thread_local! {
    /// The handles' tokens of these jobs, which stand for them.
    static INSIDE: RefCell<Vec<CancelToken>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, the calling thread is inside of a started job.
pub(crate) struct InsideStarted(());

impl InsideStarted {
    /// `token` is that of the job's handle.
    pub(crate) fn enter(token: &CancelToken) -> Self {
        // Where the thread-local values are gone, a wait inside of the job is not refused.
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(token.clone()));
        Self(())
    }
}

impl Drop for InsideStarted {
    fn drop(&mut self) {
        // The guards of a thread are dropped in reverse order, so the last is this one's.
        let last = INSIDE.try_with(|inside| inside.borrow_mut().pop());
        drop(last);
    }
}

/// Whether a chunk of the job whose handle has this token lies on the calling thread's stack.
pub(crate) fn is_inside(token: &CancelToken) -> bool {
    let is_it = |inside: &RefCell<Vec<CancelToken>>| {
        inside.borrow().iter().any(|other| other.is_same(token))
    };
    INSIDE.try_with(is_it).unwrap_or(false)
}
