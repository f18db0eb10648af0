//! Locks, atomics and threads' own values: std's, or loom's or shuttle's when a model is checked.
//!
//! What jobs and loops share comes through here, so that a model checks the
//! code that ships. Two things do not, and use std's: page initialisation, which
//! no model runs, and counts and hints that no protocol rests on, which would
//! only make models longer. `docs/protocols/jobs.md` lists both.

#[cfg(loom)]
use loom::sync as imp;
#[cfg(shuttle)]
use shuttle::sync as imp;
#[cfg(not(any(loom, shuttle)))]
use std::sync as imp;
use std::sync::PoisonError;

pub(crate) use imp::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
pub(crate) use imp::{Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::thread::{ThreadId, current};
#[cfg(shuttle)]
pub(crate) use shuttle::thread::{ThreadId, current};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::thread::{ThreadId, current};

#[cfg(shuttle)]
pub(crate) use shuttle::thread_local;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::thread_local;

/// loom's thread-local values, in the form with `const` that std's take.
#[cfg(loom)]
macro_rules! loom_thread_local {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const { $value:expr };) => {
        loom::thread_local! {
            $(#[$attribute])*
            static $name: $type = $value;
        }
    };
}
#[cfg(loom)]
pub(crate) use loom_thread_local as thread_local;

/// Locks; what these mutexes guard is whole even if a thread panicked with the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
