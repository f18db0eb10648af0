//! Who has how many helpers, and what the job that is next lacks: arithmetic over what limits guard by their lock.

use std::collections::VecDeque;
use std::sync::Arc;

use firsttouch_pool::Pool;

use crate::sync::{AtomicBool, AtomicUsize, Ordering};

/// The helpers that a job is run by some of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Helpers {
    /// The pool's address: it is borrowed for as long as the job runs.
    pub(super) pool: usize,
    pub(super) count: usize,
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
pub(super) struct Turn {
    helpers: Helpers,
    /// Helpers that must come, and stay.
    required: usize,
    /// Helpers that the job could use; at least as many, and not zero.
    pub(super) wanted: usize,
    /// Helpers that it may have; 0 until its turn has come, and at least [`Turn::least`] from then on.
    granted: AtomicUsize,
    /// Helpers that are there, but for those that must come.
    came: AtomicUsize,
    /// Whether its caller has nothing to do but to wait for the turn.
    is_idle: AtomicBool,
}

impl Turn {
    pub(super) fn new(helpers: Helpers, required: usize, wanted: usize) -> Self {
        Self {
            helpers,
            required,
            wanted: wanted.max(required).max(1),
            granted: AtomicUsize::new(0),
            came: AtomicUsize::new(0),
            is_idle: AtomicBool::new(false),
        }
    }

    /// Helpers that the job cannot do without.
    pub(super) fn least(&self) -> usize {
        self.required.max(1)
    }

    pub(super) fn granted(&self) -> usize {
        self.granted.load(Ordering::Relaxed)
    }

    pub(super) fn grant(&self, helpers: usize) {
        self.granted.store(helpers, Ordering::Relaxed);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_idle.load(Ordering::Relaxed)
    }

    pub(super) fn becomes_idle(&self) {
        self.is_idle.store(true, Ordering::Relaxed);
    }

    /// Counts one more helper as there; returns whether the job may have it.
    pub(super) fn comes(&self) -> bool {
        let has_room = self.held() < self.granted();
        self.came.fetch_add(usize::from(has_room), Ordering::Relaxed);
        has_room
    }

    /// Counts one helper less as there.
    pub(super) fn leaves(&self) {
        self.came.fetch_sub(1, Ordering::Relaxed);
    }

    /// Helpers that are there, or must come.
    pub(super) fn held(&self) -> usize {
        self.required + self.came.load(Ordering::Relaxed)
    }

    /// Helpers that nobody else can have yet: those that it may have, and those that leave but have not left.
    pub(super) fn occupied(&self) -> usize {
        self.granted().max(self.held())
    }
}

/// Whose turn has come, and whose has not.
pub(super) struct State {
    pub(super) max_jobs: usize,
    pub(super) max_helpers: usize,
    /// Jobs whose turn has come and is not over.
    pub(super) running: Vec<Arc<Turn>>,
    pub(super) queue: VecDeque<Arc<Turn>>,
}

/// What there is of helpers in one respect, and what is to be had of it for who is next.
struct Room {
    /// Helpers that nobody has.
    free: usize,
    /// Helpers that nobody has once all that leave have left.
    soon_free: usize,
    /// An even share for each job that can have helpers at once.
    share: usize,
    /// Helpers that are free once nobody has more than an even share, but for those that must stay.
    within_reach: usize,
    /// What each of those who can have their turn now gets of what is free.
    offer: usize,
}

impl State {
    /// The room in all, or among the jobs of one pool, for a turn.
    fn room(&self, pool: Option<Helpers>) -> Room {
        let is_meant = |turn: &&Arc<Turn>| pool.is_none_or(|pool| turn.helpers == pool);
        let all = pool.map_or(self.max_helpers, |pool| pool.count);
        let running = || self.running.iter().filter(is_meant);
        let queued = self.queue.iter().filter(is_meant).count();
        let at_once = (running().count() + queued).clamp(1, self.max_jobs);
        let share = all / at_once;
        let keep = |turn: &Arc<Turn>| turn.granted().min(turn.least().max(share));
        let without = |taken: usize| all.saturating_sub(taken);
        let free = without(running().map(|turn| turn.occupied()).sum());
        let next = queued.min(self.max_jobs.saturating_sub(self.running.len())).max(1);
        Room {
            free,
            soon_free: without(running().map(|turn| turn.granted()).sum()),
            share,
            within_reach: without(running().map(keep).sum()),
            offer: free.div_ceil(next),
        }
    }

    /// An even share for a job, in all and of its pool's helpers.
    pub(super) fn share(&self, turn: &Turn) -> usize {
        self.room(None).share.min(self.room(Some(turn.helpers)).share)
    }

    /// What there is for the job that is next; `None` where nobody waits, or all the jobs run that may.
    pub(super) fn next(&self) -> Option<Next> {
        let turn = self.queue.front().filter(|_| self.running.len() < self.max_jobs)?;
        let (all, pool) = (self.room(None), self.room(Some(turn.helpers)));
        let least = turn.least();
        let even = turn.wanted.min(all.share.min(pool.share).max(least));
        // One that needs more than there can be has its turn when all are free.
        let floor = least.min(self.max_helpers);
        // A pool's helpers come to whom they come: nobody waits for more than others give up.
        let (of_all, of_pool) = if turn.is_idle() {
            (floor, 0)
        } else {
            (even.min(all.within_reach).max(floor), even.min(pool.within_reach))
        };
        let offer = all.offer.min(pool.offer).max(even.min(all.free).min(pool.free));
        Some(Next {
            has_room: of_all <= all.free && of_pool <= pool.free,
            lacks_of_all: of_all.saturating_sub(all.soon_free),
            lacks_of_pool: of_pool.saturating_sub(pool.soon_free),
            helpers: turn.helpers,
            grant: turn.wanted.min(offer.max(least)),
        })
    }

    /// Has the job that is next begin its turn.
    pub(super) fn begin(&mut self, helpers: usize) {
        if let Some(turn) = self.queue.pop_front() {
            turn.grant(helpers);
            self.running.push(turn);
        }
    }

    /// Takes back helpers that are not there from a job that may have more than its share; returns whether there was one.
    pub(super) fn take_back(&self, next: &Next) -> bool {
        let spare = |turn: &Turn| {
            let absent = turn.granted().saturating_sub(turn.least().max(turn.held()));
            let eased = absent.min(next.eased_by(turn));
            // Asked of few: the shares take a look at all jobs.
            if eased == 0 { 0 } else { eased.min(turn.granted().saturating_sub(self.share(turn))) }
        };
        let mut spare = self.running.iter().map(|turn| (turn, spare(turn)));
        let Some((turn, spare)) = spare.find(|&(_, spare)| spare > 0) else {
            return false;
        };
        turn.grant(turn.granted() - spare);
        true
    }

    /// Has a job do with one helper less, where one that is next lacks it and this one has more than its share.
    pub(super) fn give_up(&self, turn: &Turn) -> bool {
        // One more helper is no use to a job that waits for another to end.
        let is_of_use = self.next().is_some_and(|next| next.eased_by(turn) > 0);
        let gives = is_of_use && turn.granted() > self.share(turn).max(turn.least());
        turn.grant(turn.granted() - usize::from(gives));
        gives
    }

    /// Takes a job out of the queue, and its turn from it.
    pub(super) fn forget(&mut self, turn: &Arc<Turn>) {
        let others = |other: &Arc<Turn>| !Arc::ptr_eq(other, turn);
        self.running.retain(others);
        self.queue.retain(others);
    }
}

/// What there is for the job that is next.
pub(super) struct Next {
    /// Whether its turn can begin.
    pub(super) has_room: bool,
    /// Helpers that are too few under the limits, those that leave aside.
    lacks_of_all: usize,
    /// Helpers that are too few of its pool's, those that leave aside.
    lacks_of_pool: usize,
    helpers: Helpers,
    /// What it gets where it has room.
    pub(super) grant: usize,
}

impl Next {
    /// Helpers that others must give up.
    pub(super) fn lacks(&self) -> usize {
        self.lacks_of_all.max(self.lacks_of_pool)
    }

    /// How many of a job's helpers it is of use to give up.
    fn eased_by(&self, turn: &Turn) -> usize {
        if turn.helpers == self.helpers { self.lacks() } else { self.lacks_of_all }
    }
}
