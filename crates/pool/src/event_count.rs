//! An event count: threads wait for a condition that others make true, helpers among them.
//!
//! The steps, the race and the proof are in `docs/protocols/event-count.md`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::current::home;
use crate::sync::{Mutex, Thread, current, park, park_timeout};
use crate::worker::Worker;

/// Where threads wait until a condition holds that other threads make true.
///
/// For what is no call of a pool: a result that arrives later, a turn in a
/// queue. A thread that is a helper of some pool takes part in calls that
/// require it while it waits, as in every wait of a pool; so it may wait here
/// in a closure that it runs. `Send` and `Sync`.
///
/// # Fork
///
/// One that a child of `fork` inherits is not to be used there: another thread
/// of the parent may have been in the midst of a use, and then the child's
/// would wait for ever. Where a thread forks in a condition, or in a call that
/// it takes part in while it waits, the wait panics in the child and says so.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
///
/// use firsttouch_pool::{EventCount, Pool};
///
/// let pool = Pool::new()?;
/// let shared = Arc::new((EventCount::new(), AtomicU32::new(0)));
/// let there = Arc::clone(&shared);
/// pool.spawn(move || {
///     let (arrived, answer) = &*there;
///     answer.store(42, Relaxed);
///     arrived.notify();
/// });
/// let (arrived, answer) = &*shared;
/// arrived.wait_until(None, || answer.load(Relaxed) != 0);
/// assert_eq!(answer.load(Relaxed), 42);
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
#[derive(Default)]
pub struct EventCount {
    waiters: Mutex<Waiters>,
}

/// The threads that wait, or are about to.
#[derive(Debug, Default)]
struct Waiters {
    threads: Vec<(usize, Thread)>,
    /// The number of the next one.
    next: usize,
}

impl EventCount {
    /// Returns one where nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has all threads that wait look at their condition again.
    ///
    /// To be called when a condition has become true. What the caller wrote
    /// before is visible to them, so the condition may be read with `Relaxed`.
    pub fn notify(&self) {
        // [event] The lock orders the write to the condition before a waiter's second look.
        let waiters = std::mem::take(&mut self.waiters.lock().threads);
        // Outside of the lock, so that a woken thread need not wait for it.
        waiters.iter().for_each(|(_, thread)| thread.unpark());
    }

    /// Waits until `condition` holds, or the deadline passes; returns whether it holds.
    ///
    /// The condition is looked at now and after every [`notify`](Self::notify),
    /// and may be at any other time. No lock is held meanwhile. Whoever makes
    /// it true must not do so after the calling thread has returned from here:
    /// a helper that waits for what the frames below it do, waits for ever.
    ///
    /// # Panics
    ///
    /// In a child that `fork` has made in the midst of it, where the condition
    /// does not hold. And with a panic of the condition.
    pub fn wait_until(
        &self,
        deadline: Option<Instant>,
        mut condition: impl FnMut() -> bool,
    ) -> bool {
        // SAFETY: [frame] it does not leave this function.
        let home = unsafe { home() };
        let serve = || home.is_some_and(Worker::serve_required);
        loop {
            if condition() {
                return true;
            }
            if serve() {
                continue;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            let registered = self.register();
            // What came before the registration may have seen nobody to wake.
            if condition() {
                return true;
            }
            let served = serve();
            assert!(
                registered.is_here(),
                "this process is a fork of the one that began this wait, and nobody ends it here"
            );
            if !served {
                match home {
                    // While it sleeps, another thread may have its CPU.
                    Some(home) => home.rests(|| sleep(left)),
                    None => sleep(left),
                }
            }
            drop(registered);
        }
    }

    fn register(&self) -> Registered<'_> {
        let mut waiters = self.waiters.lock();
        let number = waiters.next;
        waiters.next = number.wrapping_add(1);
        waiters.threads.push((number, current()));
        Registered { event: self, number, process: std::process::id() }
    }
}

/// Parks until somebody unparks the thread, for no longer than this.
fn sleep(left: Option<Duration>) {
    left.map_or_else(park, park_timeout);
}

/// A thread's place among those that wait; dropping it gives it up.
struct Registered<'e> {
    event: &'e EventCount,
    number: usize,
    /// The process in which the thread waits.
    process: u32,
}

impl Registered<'_> {
    /// Whether this is the process in which the thread waits, and no child that it has forked since.
    fn is_here(&self) -> bool {
        std::process::id() == self.process
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        if !self.is_here() {
            // Another thread may have held the lock at the fork: there it stays locked.
            return;
        }
        self.event.waiters.lock().threads.retain(|&(number, _)| number != self.number);
    }
}

impl fmt::Debug for EventCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventCount").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::process::tests::{FINE, exit_in_child};
    use crate::{Pool, Team};

    #[test]
    fn every_waiter_is_woken_and_sees_what_was_written() {
        let (event, count) = (EventCount::new(), AtomicUsize::new(0));
        thread::scope(|scope| {
            for wanted in 1..=4 {
                let (event, count) = (&event, &count);
                scope.spawn(move || {
                    assert!(event.wait_until(None, || count.load(Ordering::Relaxed) >= wanted));
                });
            }
            for _ in 0..4 {
                count.fetch_add(1, Ordering::Relaxed);
                event.notify();
            }
        });
        assert!(event.waiters.lock().threads.is_empty());
    }

    #[test]
    fn a_deadline_ends_a_wait_and_leaves_nobody_behind() {
        let event = EventCount::new();
        let soon = Instant::now() + Duration::from_millis(1);
        assert!(!event.wait_until(Some(soon), || false));
        assert!(event.wait_until(Some(soon), || true), "the condition comes first");
        assert!(event.waiters.lock().threads.is_empty());
    }

    #[test]
    fn a_condition_that_panics_leaves_nobody_behind() {
        let event = EventCount::new();
        let mut looks = 0;
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            event.wait_until(None, || {
                looks += 1;
                assert!(looks < 2, "on purpose");
                false
            })
        }));
        assert!(waited.is_err());
        assert!(event.waiters.lock().threads.is_empty());
    }

    #[test]
    fn a_place_is_given_up_in_a_forked_child_though_the_lock_was_held() {
        let event = EventCount::new();
        let mut registered = Some(event.register());
        let lock = event.waiters.lock();
        let exit = exit_in_child(|| registered.take().is_some());
        drop(lock);
        assert_eq!(exit, FINE);
        drop(registered);
        assert!(event.waiters.lock().threads.is_empty());
    }

    #[test]
    fn a_helper_that_waits_here_comes_to_calls_that_require_it() -> Result<(), crate::PoolError> {
        let pool = Pool::builder().helpers_per_node(std::num::NonZeroUsize::MIN).build()?;
        let node = pool.helpers()[0].node;
        let (event, came) = (EventCount::new(), AtomicUsize::new(0));
        let waiting = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (pool, event, came, waiting) = (&pool, &event, &came, &waiting);
            let waiter = scope.spawn(move || {
                pool.run(&Team::new().require(node, 1), |member| {
                    if !member.is_caller() {
                        waiting.store(1, Ordering::Relaxed);
                        event.wait_until(None, || came.load(Ordering::Relaxed) == 1);
                    }
                });
            });
            while waiting.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            // The only helper of the node waits for what this call does.
            pool.run(&Team::new().require(node, 1), |member| {
                if !member.is_caller() {
                    came.store(1, Ordering::Relaxed);
                }
            });
            event.notify();
            waiter.join().expect("it ends");
        });
        Ok(())
    }
}
