//! How many jobs and helpers run at once under common limits, and whose turn it is.
//!
//! Why no turn is missed is in `docs/protocols/jobs.md`: `[turn]`.

mod inside;
mod place;
mod shares;

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use firsttouch_pool::EventCount;

pub(crate) use self::inside::{Inside, may_hold_up_others};
pub(crate) use self::place::{Place, Present};
pub(crate) use self::shares::Helpers;
use self::shares::{State, Turn};
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

/// Limits that jobs share: how many of them have helpers at once, and how many helpers they have in all.
///
/// Jobs that are given the same limits ([`Job::limits`](crate::Job::limits);
/// clones are the same) take turns, first come, first served, whichever
/// threads and pools they are run on. A job whose turn has not come is not
/// held up: its caller works alone, and asks for helpers when the turn comes.
/// It waits only for a part that no caller may run
/// ([`Steal::Node`](crate::Steal::Node), [`Steal::Near`](crate::Steal::Near)),
/// and not even then where the wait could hold up the job that has the turn: a
/// helper, or a caller that is inside of a limited job's chunk, goes over the
/// limits by one helper for each node whose part only its helpers may run. A
/// job with more such nodes than the limits have helpers has its turn when no
/// other job has helpers.
///
/// A chunk that waits for a thread of its own making, which runs a job under
/// the same limits, can wait for ever: that thread is neither a helper nor
/// inside of a chunk, so it may wait for the turn that the chunk's job has, or
/// waits for. A function that undoes may do so: its job has no turn any more.
///
/// # Shares
///
/// Helpers are shared out evenly: those that the limits allow among all jobs,
/// and those that a pool has among the jobs that are run on it. While a job
/// waits for helpers, one that has more than an even share gives some up: at
/// once those that have not come, or have left again, and then, one by one
/// between chunks, those that are there. Of each node whose part no caller may
/// run, one helper stays to the end.
///
/// The job that waits has its turn as soon as it can have an even share, or
/// what the others need not keep of it. One whose caller has nothing left to
/// do but to wait takes what it cannot do without. A job keeps the number that
/// it got when its turn came, less what it gave up; it gets no more later, also
/// where others have ended. Callers are not counted: their threads run in any
/// case. `Send` and `Sync`.
///
/// # Memory ordering
///
/// A turn publishes nothing, and callers run before theirs comes. Also where
/// [`max_jobs`](JobLimitsBuilder::max_jobs) is 1, what one job wrote is not
/// visible to the next one by that: limits bound what runs at once, and guard no data.
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
    state: Mutex<State>,
    /// Helpers that others must give up for who is next. Relaxed: a hint for jobs between chunks.
    lacking: AtomicUsize,
    /// Notified when a turn has come.
    turned: EventCount,
}

impl JobLimits {
    /// Returns a builder, to choose the limits.
    pub fn builder() -> JobLimitsBuilder {
        JobLimitsBuilder { max_jobs: usize::MAX, max_helpers: usize::MAX }
    }

    /// Returns how many jobs have helpers now.
    #[must_use]
    pub fn jobs(&self) -> usize {
        lock(&self.0.state).running.len()
    }

    /// Returns how many helpers these jobs have, those counted that may still come and those that have yet to leave.
    #[must_use]
    pub fn helpers(&self) -> usize {
        lock(&self.0.state).running.iter().map(|turn| turn.occupied()).sum()
    }

    /// Returns how many jobs wait for their turn, their callers at work alone.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.0.state).queue.len()
    }

    /// Puts a job of which `required` helpers must come, and that could use `wanted` of these, at the end of the queue.
    pub(crate) fn enter(&self, helpers: Helpers, required: usize, wanted: usize) -> Place {
        let turn = Arc::new(Turn::new(helpers, required, wanted));
        self.0.change(|state| state.queue.push_back(Arc::clone(&turn)));
        Place { limits: Arc::clone(&self.0), turn }
    }
}

impl fmt::Debug for JobLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { max_jobs, max_helpers, .. } = *lock(&self.0.state);
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
    ///
    /// With 1, jobs still overlap, by their callers, and are not ordered one
    /// after another as memory goes: see [`JobLimits`].
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
        let (running, queue) = (Vec::new(), VecDeque::new());
        JobLimits(Arc::new(Shared {
            state: Mutex::new(State { max_jobs, max_helpers, running, queue }),
            lacking: AtomicUsize::new(0),
            turned: EventCount::new(),
        }))
    }
}

impl Shared {
    /// Changes the state, and gives turns to those who come first while there is room.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (has_turned, changed) = {
            let mut state = lock(&self.state);
            let changed = change(&mut state);
            let waited = state.queue.len();
            let lacks = loop {
                let Some(next) = state.next() else { break 0 };
                if next.has_room {
                    state.begin(next.grant);
                } else if !state.take_back(&next) {
                    break next.lacks();
                }
            };
            self.lacking.store(lacks, Ordering::Relaxed);
            (state.queue.len() < waited, changed)
        };
        if has_turned {
            self.turned.notify();
        }
        changed
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
