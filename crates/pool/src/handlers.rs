//! What the pool's user wants called: when a helper starts and ends, and at a panic that no caller waits for.

use std::fmt;

use crate::helper::Helper;
use crate::panic::{Payload, catch, discard};

/// Called on a helper's thread.
pub(crate) type HelperHandler = Box<dyn Fn(&Helper) + Send + Sync>;

/// What becomes of a panic that no caller waits for.
pub(crate) type PanicHandler = Box<dyn Fn(Payload) + Send + Sync>;

/// A pool's handlers. No panic comes out of any.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) start: Option<HelperHandler>,
    pub(crate) exit: Option<HelperHandler>,
    pub(crate) panic: Option<PanicHandler>,
}

impl Handlers {
    /// Tells that a helper is about to look for its first work.
    pub(crate) fn started(&self, helper: &Helper) {
        self.tell(self.start.as_ref(), helper, "a start handler panicked");
    }

    /// Tells that a helper has run its last work.
    pub(crate) fn exits(&self, helper: &Helper) {
        self.tell(self.exit.as_ref(), helper, "an exit handler panicked");
    }

    fn tell(&self, handler: Option<&HelperHandler>, helper: &Helper, panicked: &str) {
        let Some(handler) = handler else { return };
        if let Err(payload) = catch(|| handler(helper)) {
            self.panicked(payload, panicked);
        }
    }

    /// Hands a panic that no caller waits for to the panic handler; without one, it is a warning event.
    pub(crate) fn panicked(&self, payload: Payload, what: &str) {
        match &self.panic {
            Some(handler) => discard(catch(|| handler(payload))),
            None => {
                let message = message(&payload);
                // A subscriber is user code: its panic must not drop the payload.
                discard(catch(|| tracing::warn!(message, "{what}")));
                discard(payload);
            }
        }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers")
            .field("start", &self.start.is_some())
            .field("exit", &self.exit.is_some())
            .field("panic", &self.panic.is_some())
            .finish()
    }
}

/// Returns what a panic said, where it said something.
fn message(payload: &Payload) -> &str {
    let string = || payload.downcast_ref::<String>().map(String::as_str);
    payload.downcast_ref::<&str>().copied().or_else(string).unwrap_or("no message")
}
