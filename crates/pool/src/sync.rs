//! Atomics, locks, threads and parking: std's, or loom's or shuttle's when a model is checked.
//!
//! Everything that threads share in this crate comes through here, so that a
//! model checks the code that ships. The one exception is the deque
//! ([`crate::deque`]), which neither of them can see into.
//!
//! loom tries every order of a small model's steps, and what each ordering
//! allows; shuttle tries random orders of whole pools, the same order for every
//! thread. The thread sanitizer runs the pool as it is, but for std's locks and
//! channels, which it does not see. `docs/protocols/models.md` and
//! `docs/testing.md` say what each can show.

#[cfg(loom)]
mod parking;
#[cfg(thread_sanitizer)]
mod visible;

#[cfg(loom)]
use loom::sync as imp;
#[cfg(shuttle)]
use shuttle::sync as imp;
#[cfg(not(any(loom, shuttle, thread_sanitizer)))]
use std::sync as imp;
use std::sync::PoisonError;
#[cfg(thread_sanitizer)]
use visible as imp;

pub(crate) use imp::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

#[cfg(loom)]
pub(crate) use parking::{Thread, current, park, park_timeout};
#[cfg(shuttle)]
pub(crate) use shuttle::thread::{Thread, current, park, park_timeout};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::thread::{Thread, current, park, park_timeout};

/// What starts a pool's threads. Models of loom start their own, with less around them.
#[cfg(shuttle)]
pub(crate) use shuttle::thread;
#[cfg(not(shuttle))]
pub(crate) use std::thread;

#[cfg(any(shuttle, thread_sanitizer))]
pub(crate) use imp::mpsc;
#[cfg(not(any(shuttle, thread_sanitizer)))]
pub(crate) use std::sync::mpsc;

#[cfg(shuttle)]
pub(crate) use shuttle::thread_local;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::thread_local;

/// Waits for another thread to make a step that is a few instructions away; `looks` counts the waits.
#[cfg(not(any(loom, shuttle)))]
pub(crate) fn pause(looks: u32) {
    /// It may be that the other thread waits for this one's CPU.
    const BEFORE_YIELD: u32 = 64;
    if looks < BEFORE_YIELD { std::hint::spin_loop() } else { std::thread::yield_now() }
}

/// In a model, another thread has to come before this one goes on.
#[cfg(any(loom, shuttle))]
pub(crate) fn pause(_: u32) {
    #[cfg(loom)]
    use loom::thread;
    thread::yield_now();
}

/// Offers the CPU to a thread that waits for it, which the caller may have woken there.
///
/// One system call where none does, some 0.6 microseconds; to wake a thread takes ten times that.
#[cfg(not(any(loom, shuttle)))]
pub(crate) fn offer_cpu() {
    std::thread::yield_now();
}

/// In a model, each thread has a CPU.
#[cfg(any(loom, shuttle))]
pub(crate) fn offer_cpu() {}

/// Leaves the CPU to others for a moment, a millisecond.
#[cfg(not(any(loom, shuttle)))]
pub(crate) fn nap() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}

/// In a model, others have to come before this thread goes on.
#[cfg(any(loom, shuttle))]
pub(crate) fn nap() {
    pause(0);
}

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

/// A lock that a panic does not poison: no user code runs while one is held.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> imp::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, where nobody else has the lock any more.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A readers' lock that a panic does not poison.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(imp::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> imp::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> imp::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cell whose every access loom can check for races.
#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;

/// A cell with the interface of loom's.
#[cfg(not(loom))]
#[derive(Debug, Default)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Gives a pointer to read through while nobody writes.
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Gives a pointer to write through while nobody else has one.
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner()
    }
}
