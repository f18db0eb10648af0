//! How many jobs and helpers run at once under common limits, and whose turn it is.
//!
//! Why no turn is missed is in `docs/protocols/jobs.md`: `[turn]`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use firsttouch_pool::{EventCount, Helper, Pool};

use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, lock, thread_local};

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
/// Helpers are shared out evenly: those that the limits allow among all jobs,
/// and those that a pool has among the jobs that are run on it. While a job waits, one that has
/// more than an even share gives some up: at once those that have not come, or have left
/// again, and then, one by one between chunks, those that are there. The first
/// helper of a node whose part no caller may run stays to the end. The job that waits
/// has its turn as soon as it can have an even share, or what the others need
/// not keep of it; one whose caller has nothing left to do but to wait takes what it cannot do without. A
/// job keeps the number that it got when its turn came, less what it gave up;
/// it gets no more later. Callers are not counted: their threads run in any
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
    max_jobs: usize,
    max_helpers: usize,
    state: Mutex<State>,
    /// How many wait. Relaxed: a hint for jobs between chunks.
    waiting: AtomicUsize,
    /// Notified when a turn has come.
    turned: EventCount,
}

#[derive(Default)]
struct State {
    /// Jobs whose turn has come and is not over.
    running: Vec<Arc<Turn>>,
    queue: VecDeque<Arc<Turn>>,
}

/// The helpers that a job is run by some of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Helpers {
    /// The pool's address: it is borrowed for as long as the job runs.
    pool: usize,
    count: usize,
}

impl Helpers {
    /// The helpers of a pool that has enough.
    #[cfg(test)]
    pub(crate) const MANY: Self = Self { pool: 0, count: usize::MAX };

    /// All helpers of a pool.
    pub(crate) fn of(pool: &Pool) -> Self {
        Self { pool: std::ptr::from_ref(pool).addr(), count: pool.helpers().len() }
    }
}

/// One job's turn. What changes is written under the lock.
struct Turn {
    helpers: Helpers,
    /// Helpers that must come, and stay.
    required: usize,
    /// Helpers that the job could use; at least as many, and not zero.
    wanted: usize,
    /// Helpers that it may have; 0 until its turn has come, and at least [`Turn::least`] from then on.
    granted: AtomicUsize,
    /// Helpers that have come, but for those that must.
    came: AtomicUsize,
    /// Whether its caller has nothing to do but to wait for the turn.
    is_idle: AtomicBool,
}

impl Turn {
    /// Helpers that the job cannot do without.
    fn least(&self) -> usize {
        self.required.max(1)
    }

    fn granted(&self) -> usize {
        self.granted.load(Ordering::Relaxed)
    }

    /// Helpers that are there, or must come.
    fn held(&self) -> usize {
        self.required + self.came.load(Ordering::Relaxed)
    }

    fn give_up(&self, helpers: usize) {
        self.granted.store(self.granted() - helpers, Ordering::Relaxed);
    }
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

    /// Returns how many helpers these jobs may have, whether all of them have come or not.
    #[must_use]
    pub fn helpers(&self) -> usize {
        lock(&self.0.state).running.iter().map(|turn| turn.granted()).sum()
    }

    /// Returns how many jobs wait for their turn, their callers at work alone.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.0.state).queue.len()
    }

    /// Puts a job of which `required` helpers must come, and that could use `wanted` of these, at the end of the queue.
    pub(crate) fn enter(&self, helpers: Helpers, required: usize, wanted: usize) -> Place {
        let turn = Arc::new(Turn {
            helpers,
            required,
            wanted: wanted.max(required).max(1),
            granted: AtomicUsize::new(0),
            came: AtomicUsize::new(0),
            is_idle: AtomicBool::new(false),
        });
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
        JobLimits(Arc::new(Shared {
            max_jobs,
            max_helpers,
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            turned: EventCount::new(),
        }))
    }
}

/// What there is of helpers in one respect, and what is to be had of it for who is next.
struct Room {
    /// Helpers that nobody may have yet.
    free: usize,
    /// An even share for each job that can have helpers at once.
    share: usize,
    /// Helpers that are free once nobody has more than an even share, but for those that must stay.
    within_reach: usize,
    /// What each of those who can have their turn now gets of what is free.
    offer: usize,
}

impl Shared {
    /// Changes the state, and gives turns to those who come first while there is room.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (has_turned, changed) = {
            let mut state = lock(&self.state);
            let changed = change(&mut state);
            let waited = state.queue.len();
            while let Some(short) = self.shortage(&state) {
                if short.lacks() > 0 {
                    if self.take_back(&state, &short) {
                        continue;
                    }
                    break;
                }
                let Some(turn) = state.queue.pop_front() else { break };
                turn.granted.store(short.grant, Ordering::Relaxed);
                state.running.push(turn);
            }
            self.waiting.store(state.queue.len(), Ordering::Relaxed);
            (state.queue.len() < waited, changed)
        };
        if has_turned {
            self.turned.notify();
        }
        changed
    }

    /// The room in all, or among the jobs of one pool, for a turn.
    fn room(&self, state: &State, pool: Option<Helpers>) -> Room {
        let is_meant = |turn: &&Arc<Turn>| pool.is_none_or(|pool| turn.helpers == pool);
        let all = pool.map_or(self.max_helpers, |pool| pool.count);
        let running = || state.running.iter().filter(is_meant);
        let queued = state.queue.iter().filter(is_meant).count();
        let at_once = (running().count() + queued).clamp(1, self.max_jobs);
        let share = all / at_once;
        let keep = |turn: &Arc<Turn>| turn.granted().min(turn.least().max(share));
        let free = all.saturating_sub(running().map(|turn| turn.granted()).sum());
        let next = queued.min(self.max_jobs - state.running.len().min(self.max_jobs)).max(1);
        let within_reach = all.saturating_sub(running().map(keep).sum());
        Room { free, share, within_reach, offer: free.div_ceil(next) }
    }

    /// An even share for a job, in all and of its pool's helpers.
    fn share(&self, state: &State, turn: &Turn) -> usize {
        self.room(state, None).share.min(self.room(state, Some(turn.helpers)).share)
    }

    /// What who is next lacks for its turn; `None` where nobody waits, or all the jobs run that may.
    fn shortage(&self, state: &State) -> Option<Shortage> {
        let turn = state.queue.front().filter(|_| state.running.len() < self.max_jobs)?;
        let (all, pool) = (self.room(state, None), self.room(state, Some(turn.helpers)));
        let least = turn.least();
        let even = turn.wanted.min(all.share.min(pool.share).max(least));
        // One that needs more than there can be has its turn when all are free.
        let floor = least.min(self.max_helpers);
        // A pool's helpers come to whom they come: nobody waits for more than others give up.
        let (of_all, of_pool) = if turn.is_idle.load(Ordering::Relaxed) {
            (floor, 0)
        } else {
            (even.min(all.within_reach).max(floor), even.min(pool.within_reach))
        };
        let offer = all.offer.min(pool.offer).max(even.min(all.free).min(pool.free));
        Some(Shortage {
            all: of_all.saturating_sub(all.free),
            pool: of_pool.saturating_sub(pool.free),
            helpers: turn.helpers,
            grant: turn.wanted.min(offer.max(least)),
        })
    }

    /// Takes back helpers that have not come from a job that may have more than its share; returns whether there was one.
    fn take_back(&self, state: &State, short: &Shortage) -> bool {
        let spare = |turn: &Turn| {
            let keep = self.share(state, turn).max(turn.least()).max(turn.held());
            turn.granted().saturating_sub(keep).min(short.eased_by(turn))
        };
        let mut spare = state.running.iter().map(|turn| (turn, spare(turn)));
        let Some((turn, spare)) = spare.find(|&(_, spare)| spare > 0) else {
            return false;
        };
        turn.give_up(spare);
        true
    }
}

/// What who is next lacks for its turn.
struct Shortage {
    /// Helpers that are too few under the limits.
    all: usize,
    /// Helpers that are too few of its pool's.
    pool: usize,
    helpers: Helpers,
    /// What it gets where it lacks nothing.
    grant: usize,
}

impl Shortage {
    fn lacks(&self) -> usize {
        self.all.max(self.pool)
    }

    /// How many of a job's helpers it is of use to give up.
    fn eased_by(&self, turn: &Turn) -> usize {
        if turn.helpers == self.helpers { self.lacks() } else { self.all }
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
        NonZeroUsize::new(self.turn.granted())
    }

    /// Waits until the turn has come or the deadline passes; returns whether it has come.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        if !self.turn.is_idle.load(Ordering::Relaxed) {
            self.limits.change(|_| self.turn.is_idle.store(true, Ordering::Relaxed));
        }
        self.limits.turned.wait_until(deadline, || self.granted().is_some())
    }

    /// Takes a turn at once, with so many helpers, over the limits.
    pub(crate) fn force(&self, helpers: usize) {
        self.limits.change(|state| {
            if self.granted().is_none() {
                state.queue.retain(|turn| !Arc::ptr_eq(turn, &self.turn));
                self.turn.granted.store(helpers.max(self.turn.least()), Ordering::Relaxed);
                state.running.push(Arc::clone(&self.turn));
            }
        });
    }

    /// Counts a helper as there that need not stay, until what it gets is dropped; `None` where the job may not have it any more.
    pub(crate) fn come(&self) -> Option<Present<'_>> {
        self.limits.change(|_| {
            let has_room = self.turn.held() < self.turn.granted();
            has_room.then(|| {
                self.turn.came.fetch_add(1, Ordering::Relaxed);
                Present(self)
            })
        })
    }
}

/// A helper that is at a job under limits.
pub(crate) struct Present<'p>(&'p Place);

impl Present<'_> {
    /// Asked between chunks: whether the helper is to leave the job, for one that waits.
    #[inline]
    pub(crate) fn gives_up(&self) -> bool {
        self.0.limits.waiting.load(Ordering::Relaxed) > 0 && self.try_give_up()
    }

    fn try_give_up(&self) -> bool {
        let Place { limits, turn } = self.0;
        limits.change(|state| {
            // One more helper is no use to a job that waits for another to end.
            let is_of_use = limits.shortage(state).is_some_and(|short| short.eased_by(turn) > 0);
            let gives = is_of_use && turn.granted() > limits.share(state, turn).max(turn.least());
            turn.give_up(usize::from(gives));
            gives
        })
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.limits.change(|_| self.0.turn.came.fetch_sub(1, Ordering::Relaxed));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let others = |turn: &Arc<Turn>| !Arc::ptr_eq(turn, &self.turn);
        self.limits.change(|state| {
            state.running.retain(others);
            state.queue.retain(others);
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
