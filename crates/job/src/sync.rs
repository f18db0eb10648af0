//! Locks and atomics: std's, or shuttle's when whole loops are modelled.
//!
//! What jobs and loops share comes through here, so that a model checks the
//! code that ships. Page initialisation, which no model runs, uses std's.

#[cfg(shuttle)]
use shuttle::sync as imp;
#[cfg(not(shuttle))]
use std::sync as imp;
use std::sync::PoisonError;

pub(crate) use imp::atomic::{AtomicU64, AtomicUsize, Ordering};
pub(crate) use imp::{Mutex, MutexGuard};

/// Locks; what these mutexes guard is whole even if a thread panicked with the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
