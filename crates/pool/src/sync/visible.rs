//! Locks and channels whose every step the thread sanitizer sees.
//!
//! std is compiled without the sanitizer, which misses what its locks and
//! channels order, and reports what they guard. These do the same with atomics
//! that are compiled here. Whoever has to wait offers its CPU to others.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::LockResult;
pub(crate) use std::sync::atomic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A lock; a panic does not poison it.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    taken: AtomicBool,
    /// Invariant: used only by whoever has set `taken`.
    value: UnsafeCell<T>,
}

// SAFETY: by the invariant of `value`, one thread at a time uses it.
unsafe impl<T: Send> Sync for Mutex<T> {}

/// The one user of what a lock guards.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T>(&'a Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        // Acquire: takes over what the last user's Release published.
        while self.taken.swap(true, Ordering::Acquire) {
            thread::yield_now();
        }
        Ok(MutexGuard(self))
    }

    pub(crate) fn get_mut(&mut self) -> LockResult<&mut T> {
        Ok(self.value.get_mut())
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard has the lock.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard has the lock.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // Release: publishes this use to the next one's Acquire.
        self.0.taken.store(false, Ordering::Release);
    }
}

/// A readers' lock, which lets in one reader at a time.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(Mutex<T>);

pub(crate) type RwLockReadGuard<'a, T> = MutexGuard<'a, T>;
pub(crate) type RwLockWriteGuard<'a, T> = MutexGuard<'a, T>;

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.0.lock()
    }

    pub(crate) fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.0.lock()
    }
}

/// Channels, as far as the pool uses them.
pub(crate) mod mpsc {
    use std::sync::{Arc, PoisonError};
    use std::thread;

    use super::Mutex;

    /// What is on the way; `None` once it has been received.
    type Slot<T> = Arc<Mutex<Option<T>>>;

    pub(crate) struct SyncSender<T>(Slot<T>);
    pub(crate) struct Receiver<T>(Slot<T>);

    #[derive(Debug)]
    pub(crate) struct Disconnected;

    /// Returns both ends of a channel that takes one message.
    pub(crate) fn sync_channel<T>(_: usize) -> (SyncSender<T>, Receiver<T>) {
        let slot = Arc::new(Mutex::new(None));
        (SyncSender(Arc::clone(&slot)), Receiver(slot))
    }

    impl<T> SyncSender<T> {
        pub(crate) fn send(&self, message: T) -> Result<(), Disconnected> {
            if Arc::strong_count(&self.0) < 2 {
                return Err(Disconnected);
            }
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn recv(&self) -> Result<T, Disconnected> {
            loop {
                // Before the look, so that what was sent before the sender went is seen.
                let is_last = Arc::strong_count(&self.0) < 2;
                let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
                match sent {
                    Some(message) => return Ok(message),
                    None if is_last => return Err(Disconnected),
                    None => thread::yield_now(),
                }
            }
        }
    }
}
