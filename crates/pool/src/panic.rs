//! Panics: caught where they happen, kept, and resumed where they belong.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::sync::Mutex;

/// What a closure panicked with.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs a closure; its panic becomes an error.
///
/// The closure counts as unwind-safe because every payload is resumed in the
/// caller, so nobody sees broken state whom the panic does not pass.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Drops a value whose destructor may panic, and lets no panic out.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch(|| drop(value)) {
        // This payload's own destructor may panic too, and so on without end.
        std::mem::forget(payload);
    }
}

/// The first panic of several closures that run at once.
#[derive(Debug, Default)]
pub(crate) struct FirstPanic(Mutex<Option<Payload>>);

impl FirstPanic {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Keeps the payload of the first panic and discards those of later ones.
    pub(crate) fn keep(&self, payload: Payload) {
        let surplus = {
            let mut first = self.0.lock();
            match *first {
                None => {
                    *first = Some(payload);
                    None
                }
                Some(_) => Some(payload),
            }
        };
        discard(surplus);
    }

    /// Takes the kept panic, if there is one.
    pub(crate) fn take(&mut self) -> Option<Payload> {
        self.0.get_mut().take()
    }

    /// Resumes the kept panic, if there is one, on the calling thread.
    pub(crate) fn resume(&mut self) {
        if let Some(payload) = self.take() {
            resume_unwind(payload);
        }
    }
}
