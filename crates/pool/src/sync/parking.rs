//! Parking as std defines it: one token per thread, which `unpark` leaves and `park` takes.
//!
//! loom's own `park` loses its token when the thread blocks on a lock in
//! between, which std's does not.

use loom::sync::{Condvar, Mutex};
use std::cell::RefCell;
use std::sync::Arc;

#[derive(Debug, Default)]
struct Token {
    left: Mutex<bool>,
    changed: Condvar,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Thread(Arc<Token>);

loom::thread_local! {
    static CURRENT: RefCell<Thread> = RefCell::default();
}

impl Thread {
    /// Makes this the calling thread's handle, for one that was given out before.
    #[cfg(test)]
    pub(crate) fn adopt(self) {
        CURRENT.with(|current| current.replace(self));
    }

    /// Names the thread.
    pub(crate) fn id(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }

    pub(crate) fn unpark(&self) {
        *self.0.left.lock().expect("loom's locks are not poisoned") = true;
        self.0.changed.notify_one();
    }
}

pub(crate) fn current() -> Thread {
    CURRENT.with(|current| current.borrow().clone())
}

pub(crate) fn park() {
    let Thread(token) = current();
    let mut left = token.left.lock().expect("loom's locks are not poisoned");
    while !*left {
        left = token.changed.wait(left).expect("loom's locks are not poisoned");
    }
    *left = false;
}

/// Parks without a limit: no model waits for a time.
pub(crate) fn park_timeout(_: std::time::Duration) {
    park();
}
