//! How many jobs and helpers run at once under common limits, and whose turn it is.
//!
//! Why no turn is missed is in `docs/protocols/jobs.md`: `[turn]`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use firsttouch_pool::{EventCount, Helper};

use crate::sync::{AtomicUsize, Mutex, Ordering, lock, thread_local};

/// Limits that jobs share: how many of them have helpers at once, and how many helpers they have in all.
///
/// Jobs that are given the same limits ([`Job::limits`](crate::Job::limits);
/// clones are the same) take turns, first come, first served, whichever
/// threads and pools they are run on. A job whose turn has not come is not
/// held up: its caller works alone, and asks for helpers when the turn comes.
/// It waits only for a part that no caller may run
/// ([`Steal::Node`](crate::Steal::Node), [`Steal::Near`](crate::Steal::Near)),
/// and not even then where the wait could hold up the job that has the turn: a helper, or a caller that is
/// inside of a limited job's chunk, goes over the limits by one helper for each
/// node whose part only its helpers may run. A job with more such nodes than
/// the limits have helpers has its turn when no other job has helpers.
///
/// A chunk that waits for a thread of its own making, which runs a job under
/// the same limits, can wait for ever: that thread is neither a helper nor
/// inside of a chunk, so it may wait for the turn that the chunk's job has. A
/// function that undoes may do so: its job has no turn any more.
///
/// While others wait, a job that was given more than an even share of the helpers
/// gives them up one by one, by helpers that leave it between chunks. What
/// counts is the number it was given, whether as many have come or not; and
/// helpers of a node whose part no caller may run stay to the end. A job keeps
/// the number that it got when its turn came, less what it gave up; it gets no
/// more later. Callers are not counted: their threads run in any case. `Send`
/// and `Sync`.
///
/// # Examples
///
/// Background work that leaves most of the pool to others:
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use firsttouch_job::{Job, JobLimits};
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let background = JobLimits::builder().max_jobs(NonZeroUsize::MIN).build();
/// std::thread::scope(|scope| {
///     for _ in 0..3 {
///         scope.spawn(|| Job::new(0, 1000).limits(&background).run(&pool, |_| ()));
///     }
/// });
/// assert_eq!(background.jobs(), 0);
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
#[derive(Clone)]
pub struct JobLimits(Arc<Shared>);

struct Shared {
    max_jobs: usize,
    max_helpers: usize,
    state: Mutex<State>,
    /// How many wait. Relaxed: a hint for jobs between chunks.
    waiting: AtomicUsize,
    /// Notified when a turn has come.
    turned: EventCount,
}

/// Invariant: `jobs` and `helpers` are those of all turns that have come and are not over.
#[derive(Default)]
struct State {
    jobs: usize,
    helpers: usize,
    queue: VecDeque<Arc<Turn>>,
}

/// One job's turn.
struct Turn {
    /// Helpers that the job cannot do without; not zero.
    least: usize,
    /// Helpers that the job could use; at least as many.
    wanted: usize,
    /// Helpers that it has; 0 until its turn has come. Written under the lock.
    granted: AtomicUsize,
}

impl JobLimits {
    /// Returns a builder, to choose the limits.
    pub fn builder() -> JobLimitsBuilder {
        JobLimitsBuilder { max_jobs: usize::MAX, max_helpers: usize::MAX }
    }

    /// Returns how many jobs have helpers now.
    #[must_use]
    pub fn jobs(&self) -> usize {
        lock(&self.0.state).jobs
    }

    /// Returns how many helpers these jobs have.
    #[must_use]
    pub fn helpers(&self) -> usize {
        lock(&self.0.state).helpers
    }

    /// Returns how many jobs wait for their turn, their callers at work alone.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.0.state).queue.len()
    }

    /// Puts a job that needs `least` helpers, and could use `wanted`, at the end of the queue.
    pub(crate) fn enter(&self, least: usize, wanted: usize) -> Place {
        let least = least.max(1);
        let turn = Turn { least, wanted: wanted.max(least), granted: AtomicUsize::new(0) };
        let turn = Arc::new(turn);
        self.0.change(|state| state.queue.push_back(Arc::clone(&turn)));
        Place { limits: Arc::clone(&self.0), turn }
    }
}

impl fmt::Debug for JobLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { max_jobs, max_helpers, .. } = *self.0;
        let (jobs, helpers, waiting) = (self.jobs(), self.helpers(), self.waiting());
        f.debug_struct("JobLimits")
            .field("max_jobs", &max_jobs)
            .field("max_helpers", &max_helpers)
            .field("jobs", &jobs)
            .field("helpers", &helpers)
            .field("waiting", &waiting)
            .finish()
    }
}

/// Chooses [`JobLimits`].
#[must_use]
#[derive(Clone, Debug)]
pub struct JobLimitsBuilder {
    max_jobs: usize,
    max_helpers: usize,
}

impl JobLimitsBuilder {
    /// Sets how many jobs may have helpers at once. Default: no limit.
    pub fn max_jobs(mut self, n: NonZeroUsize) -> Self {
        self.max_jobs = n.get();
        self
    }

    /// Sets how many helpers all jobs may have at once. Default: no limit.
    pub fn max_helpers(mut self, n: NonZeroUsize) -> Self {
        self.max_helpers = n.get();
        self
    }

    /// Returns the limits; nothing runs under them yet.
    #[must_use]
    pub fn build(self) -> JobLimits {
        let Self { max_jobs, max_helpers } = self;
        JobLimits(Arc::new(Shared {
            max_jobs,
            max_helpers,
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            turned: EventCount::new(),
        }))
    }
}

impl Shared {
    /// Changes the state, and gives turns to those who come first while there is room.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let has_turned = {
            let mut state = lock(&self.state);
            change(&mut state);
            let waited = state.queue.len();
            while state.jobs < self.max_jobs {
                let Some(turn) = state.queue.front() else { break };
                let free = self.max_helpers.saturating_sub(state.helpers);
                // One that needs more than there can be has its turn when all are free.
                if free < turn.least.min(self.max_helpers) {
                    break;
                }
                // What is free is for all who wait.
                let share = free.div_ceil(state.queue.len());
                let granted = turn.wanted.min(share.max(turn.least));
                let Some(turn) = state.queue.pop_front() else { break };
                state.jobs += 1;
                state.helpers += granted;
                turn.granted.store(granted, Ordering::Relaxed);
            }
            self.waiting.store(state.queue.len(), Ordering::Relaxed);
            state.queue.len() < waited
        };
        if has_turned {
            self.turned.notify();
        }
    }
}

/// A job's place under limits; dropping it gives up the turn, or the wait for it.
pub(crate) struct Place {
    limits: Arc<Shared>,
    turn: Arc<Turn>,
}

impl Place {
    /// The helpers that the job may have; `None` until its turn has come.
    ///
    /// Relaxed: it publishes nothing.
    #[inline]
    pub(crate) fn granted(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.turn.granted.load(Ordering::Relaxed))
    }

    /// Waits until the turn has come or the deadline passes; returns whether it has come.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        self.limits.turned.wait_until(deadline, || self.granted().is_some())
    }

    /// Takes a turn at once, with so many helpers, over the limits.
    pub(crate) fn force(&self, helpers: usize) {
        self.limits.change(|state| {
            if self.granted().is_none() {
                state.queue.retain(|turn| !Arc::ptr_eq(turn, &self.turn));
                state.jobs += 1;
                state.helpers += helpers;
                self.turn.granted.store(helpers, Ordering::Relaxed);
            }
        });
    }

    /// Asked by a helper between chunks: whether it is to leave the job, for one that waits.
    #[inline]
    pub(crate) fn gives_up_one(&self) -> bool {
        self.limits.waiting.load(Ordering::Relaxed) > 0 && self.try_give_up()
    }

    fn try_give_up(&self) -> bool {
        let mut gives = false;
        self.limits.change(|state| {
            let Shared { max_jobs, max_helpers, .. } = *self.limits;
            let share = max_helpers / (state.jobs + state.queue.len()).max(1);
            let granted = self.turn.granted.load(Ordering::Relaxed);
            // One more helper is no use to a job that waits for another to end.
            gives = state.jobs < max_jobs
                && !state.queue.is_empty()
                && granted > share.max(self.turn.least);
            if gives {
                state.helpers -= 1;
                self.turn.granted.store(granted - 1, Ordering::Relaxed);
            }
        });
        gives
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limits.change(|state| match self.granted() {
            Some(granted) => {
                state.jobs -= 1;
                state.helpers -= granted.get();
            }
            None => state.queue.retain(|turn| !Arc::ptr_eq(turn, &self.turn)),
        });
    }
}

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

#[cfg(all(test, not(loom)))]
mod tests;
