//! A worker's queue: jobs shown to thieves, and newer ones that it keeps.
//!
//! To show a job costs a fence when it is taken back. While every thread of
//! the node is busy nobody would take it, so the worker keeps the second halves
//! of its joins to itself and shows them when a thread becomes free. One is
//! always shown: whoever becomes free finds it at once, also while the worker
//! runs a long closure and looks at nothing. When it keeps enough, later joins
//! queue nothing and run their halves in turn.
//!
//! Only the owner touches what is kept. The order of all jobs is: shown before
//! kept, each from the oldest to the newest.
//!
//! What is shown lies on one deque for each [`Steal`] that jobs were queued
//! under, so that thieves find what they may take and nothing else. All that
//! is kept was queued under the current one.

use std::cell::{Cell, OnceCell};
use std::mem::MaybeUninit;

use crate::activity::Activity;
use crate::deque::Deque;
use crate::steal::Steal;
use crate::task::JobRef;

/// How many jobs are kept at most; the oldest is shown before there are more.
const KEPT: usize = 32;

/// How many jobs are kept before joins run in turn.
///
/// They are larger than all that come after them. When somebody is free, they
/// are shown, and the joins that follow queue again.
const ENOUGH: usize = 4;

/// Stands for the node's activity while joins are to queue, whoever is free.
static QUEUES: Activity = Activity::unsaturated();

/// The jobs of one worker that nobody has started.
pub(crate) struct Queue<'p> {
    kept: Ring,
    /// Joins on this worker's stack whose second half is not kept any more: shown, stolen, or done elsewhere.
    shown_joins: Cell<usize>,
    /// Joins on this worker's stack that queued their second half and have not taken it back.
    ///
    /// Invariant: `shown_joins <= joins`, and `kept` has those between.
    joins: Cell<usize>,
    /// What `joins` was when the innermost job that came from another worker began.
    floor: Cell<usize>,
    /// What `joins` may become while nobody is free; see [`Queue::set_limits`].
    limit: Cell<usize>,
    /// What `joins` is when enough jobs are kept; see [`Queue::set_limits`].
    enough: Cell<usize>,
    /// Saturated when a join may run in turn, so that a join that does looks at this alone.
    ///
    /// Invariant: `activity` while enough jobs are kept, else [`QUEUES`].
    in_turn: Cell<*const Activity>,
    activity: &'p Activity,
    /// What jobs are queued under.
    ///
    /// Invariant: changed only while nothing is kept.
    steal: Cell<Steal>,
    /// One is borrowed when it is first needed, but for the one that a helper has from the start.
    shown: [OnceCell<Deque>; Steal::ALL.len()],
}

/// The last jobs that were kept, by the number of their join.
///
/// Invariant: the places of joins that are kept have their jobs; the others
/// have anything, so that a guest is made without writing to them.
struct Ring([Cell<MaybeUninit<JobRef>>; KEPT]);

impl Ring {
    fn new() -> Self {
        Self([const { Cell::new(MaybeUninit::uninit()) }; KEPT])
    }

    #[inline]
    fn put(&self, join: usize, job: JobRef) {
        self.0[join % KEPT].set(MaybeUninit::new(job));
    }

    /// Copies the job of a join.
    ///
    /// # Safety
    ///
    /// - `[kept]` The join's job is kept.
    unsafe fn job(&self, join: usize) -> JobRef {
        // SAFETY: [kept], and the invariant.
        unsafe { self.0[join % KEPT].get().assume_init() }
    }
}

/// What became of a join's second half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Taken {
    /// The worker has it back, and runs it.
    Back,
    /// Another thread has started it.
    Stolen,
}

impl<'p> Queue<'p> {
    /// Makes one for a worker of a node that is as busy as this, for jobs that are queued under `steal`.
    ///
    /// A helper has a deque for these.
    #[inline(always)]
    pub(crate) fn new(activity: &'p Activity, steal: Steal, deque: Option<Deque>) -> Self {
        let shown: [OnceCell<Deque>; Steal::ALL.len()] = Default::default();
        if let Some(deque) = deque {
            shown[steal.index()].get_or_init(|| deque);
        }
        // Made in its place, as the worker is that it is for.
        Self {
            kept: Ring::new(),
            shown_joins: Cell::new(0),
            joins: Cell::new(0),
            floor: Cell::new(0),
            limit: Cell::new(0),
            enough: Cell::new(usize::MAX),
            in_turn: Cell::new(&raw const QUEUES),
            activity,
            steal: Cell::new(steal),
            shown,
        }
    }

    /// What jobs are queued under.
    #[inline]
    pub(crate) fn steal(&self) -> Steal {
        self.steal.get()
    }

    /// Queues what comes under another [`Steal`]; returns the one before. Nothing is kept.
    pub(crate) fn set_steal(&self, steal: Steal) -> Steal {
        debug_assert!(!self.keeps_any(), "what is kept would change what it is queued under");
        self.steal.replace(steal)
    }

    /// The deque for what is queued under the current [`Steal`], where there is one.
    #[inline]
    fn current(&self) -> Option<&Deque> {
        self.shown[self.steal.get().index()].get()
    }

    /// How many joins on this worker's stack have not taken their second half back.
    #[inline]
    pub(crate) fn joins(&self) -> usize {
        self.joins.get()
    }

    /// Keeps the second half of a join.
    #[inline]
    pub(crate) fn keep(&self, job: JobRef) {
        let joins = self.joins.get();
        self.kept.put(joins, job);
        self.joins.set(joins + 1);
        self.watch();
    }

    /// Whether the worker may go on keeping what it keeps while nobody is free.
    #[inline]
    pub(crate) fn may_keep(&self) -> bool {
        self.joins.get() <= self.limit.get()
    }

    /// Works out how many jobs may be kept, and how many are enough: none before one is shown.
    ///
    /// One place of the ring stays free for the job that is kept next.
    fn set_limits(&self) {
        let shown = self.shown_joins.get();
        let (limit, enough) = match shown > self.floor.get() {
            true => (shown + KEPT - 1, shown + ENOUGH),
            false => (0, usize::MAX),
        };
        self.limit.set(limit);
        self.enough.set(enough);
        self.watch();
    }

    /// Keeps up the invariant of `in_turn`.
    #[inline]
    fn watch(&self) {
        let enough = self.joins.get() >= self.enough.get();
        self.in_turn.set(if enough { self.activity } else { &raw const QUEUES });
    }

    /// Whether a join may run its halves in turn: nobody is free, and enough jobs are kept for whoever becomes free.
    #[inline]
    pub(crate) fn runs_in_turn(&self) -> bool {
        // SAFETY: by the invariant of `in_turn`, this is a static or what `activity` borrows.
        unsafe { &*self.in_turn.get() }.is_saturated()
    }

    /// Whether any job is kept.
    #[inline]
    pub(crate) fn keeps_any(&self) -> bool {
        self.shown_joins.get() < self.joins.get()
    }

    /// Takes back the second half of the innermost join, the job at this address.
    #[inline]
    pub(crate) fn take_back(&self, job: *const ()) -> Taken {
        let join = self.joins.get() - 1;
        self.joins.set(join);
        self.watch();
        if self.shown_joins.get() <= join { Taken::Back } else { self.take_back_shown(join, job) }
    }

    #[inline(never)]
    fn take_back_shown(&self, join: usize, job: *const ()) -> Taken {
        self.shown_joins.set(join);
        self.set_limits();
        match self.pop_shown() {
            Some(popped) => {
                // Everything shown above it has been popped by the frame that pushed it.
                assert!(popped.is(job), "what is on top of the deque is this job");
                Taken::Back
            }
            None => Taken::Stolen,
        }
    }

    /// Shows the oldest job that is kept; returns whether there was one.
    pub(crate) fn show_oldest(&self, borrow: impl FnOnce() -> Deque) -> bool {
        let join = self.shown_joins.get();
        if join >= self.joins.get() {
            return false;
        }
        // SAFETY: [kept] the join is none of the shown ones, and no more than
        // the ring has room for are kept.
        let job = unsafe { self.kept.job(join) };
        self.shown_joins.set(join + 1);
        self.set_limits();
        self.show(job, borrow);
        true
    }

    /// Shows a job that is newer than all others. None is kept.
    pub(crate) fn show(&self, job: JobRef, borrow: impl FnOnce() -> Deque) {
        self.shown[self.steal.get().index()].get_or_init(borrow).push(job);
    }

    /// Whether no job is left, shown or kept.
    pub(crate) fn is_empty(&self) -> bool {
        !self.keeps_any() && !self.shows_any()
    }

    /// Whether a job is shown that nobody has taken.
    #[inline]
    pub(crate) fn shows_any(&self) -> bool {
        self.current().is_some_and(|deque| !deque.is_empty())
    }

    /// Takes back the newest job that is shown under the current [`Steal`].
    pub(crate) fn pop_shown(&self) -> Option<JobRef> {
        self.current()?.pop()
    }

    /// Takes back the newest job that is shown under any, and says under which.
    pub(crate) fn pop_any(&self) -> Option<(JobRef, Steal)> {
        Steal::ALL
            .into_iter()
            .find_map(|steal| Some((self.shown[steal.index()].get()?.pop()?, steal)))
    }

    /// Begins a job that came from another worker; returns what [`Queue::end_foreign`] wants back.
    pub(crate) fn begin_foreign(&self) -> usize {
        let floor = self.floor.replace(self.joins.get());
        self.set_limits();
        floor
    }

    pub(crate) fn end_foreign(&self, floor: usize) {
        self.floor.set(floor);
        self.set_limits();
    }

    /// Gives back the deques that a guest has borrowed. They are empty again.
    pub(crate) fn take_deques(&mut self) -> impl Iterator<Item = (Steal, Deque)> + '_ {
        let deques = Steal::ALL.into_iter().zip(&mut self.shown);
        deques.filter_map(|(steal, deque)| Some((steal, deque.take()?)))
    }
}
