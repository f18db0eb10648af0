//! Workers: the threads that run closures of a pool, helpers and guests.
//!
//! Every thread that runs a pool's closures has a queue there. A helper has its
//! own; a thread from outside borrows a guest's for its outermost call. So
//! every caller runs its own closures itself, and waits only for those that
//! another thread has already started (`docs/protocols/waiting.md`).

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

use crate::activity::Activity;
use crate::board::Looking;
use crate::completion::Completion;
use crate::cpus::CpuNote;
use crate::deque::Deque;
use crate::front::Round;
use crate::origin::JobId;
use crate::process::Process;
use crate::queue::{Queue, Taken};
use crate::shared::{NodeWork, Shared};
use crate::spin::Spin;
use crate::steal::{Rotation, Steal};
use crate::sync::offer_cpu;
use crate::task::{Blocks, JobRef};

/// The frame in which no scope may push its tasks on the deque.
pub(crate) const NO_SCOPE: *const () = ptr::null();

/// One thread at work for one pool.
pub(crate) struct Worker<'p> {
    shared: &'p Arc<Shared>,
    /// Names the pool.
    pool: *const Shared,
    process: &'p Process,
    activity: &'p Activity,
    /// Invariant: every frame leaves it as it found it, but for what thieves
    /// took. Thieves take the oldest of a deque, so where one job of a frame is
    /// gone, all jobs of the frames below on that deque are gone too.
    queue: Queue<'p>,
    /// The node's place in the pool.
    pub(crate) node: usize,
    /// The helper's place in the pool; `None` for a guest.
    pub(crate) helper: Option<usize>,
    /// Whether the pool has no other node.
    is_alone: bool,
    /// Whether the node counts it as busy.
    is_counted: Cell<bool>,
    frame: Cell<Innermost>,
    /// What the owner waits for of the job that this helper runs and took from another thread; else null.
    ///
    /// Invariant: alive while it is here, since the job has not ended.
    taken: Cell<*const Completion>,
    pub(crate) rotation: Cell<Rotation>,
    /// The last round of its node's post that the helper took part in, or that it opened.
    pub(crate) round: Cell<Round>,
    /// Whether its last looks for what it waits for gave its CPU to another thread, and found it then.
    shares_cpu: Cell<bool>,
    /// The CPU that it needs: a helper's when it is awake, a guest's when it has woken others and does not wait.
    pub(crate) cpu: CpuNote<'p>,
    /// Memory for the tasks that it spawns: a helper's for as long as it lives, a guest's for its outermost call.
    pub(crate) blocks: Blocks,
    /// The place of the node on whose worker's deque the job lay that begins; `None` where it lay on none, or that is not known.
    pub(crate) job_from: Cell<Option<usize>>,
    /// The worker that this thread is further down its stack, for another pool.
    pub(crate) below: Cell<*const Worker<'static>>,
}

/// The innermost frame of this pool on this thread's stack, joins aside.
#[derive(Clone, Copy, Debug)]
struct Innermost {
    /// The scope whose owner or task it is.
    scope: *const (),
    /// How many joins were open below it.
    joins: usize,
    /// Tasks of that scope on the deque, at most: thieves are not counted.
    pushed: usize,
}

impl<'p> Worker<'p> {
    /// Makes a helper's worker.
    pub(crate) fn helper(
        shared: &'p Arc<Shared>,
        deque: Deque,
        node: usize,
        helper: usize,
    ) -> Self {
        Self::new(shared, Some(deque), node, Some(helper))
    }

    /// Makes the worker of a thread from outside.
    #[inline(always)]
    pub(crate) fn guest(shared: &'p Arc<Shared>, node: usize) -> Self {
        Self::new(shared, None, node, None)
    }

    /// Made in its place: it is large, and a call from outside makes one.
    #[inline(always)]
    fn new(
        shared: &'p Arc<Shared>,
        deque: Option<Deque>,
        node: usize,
        helper: Option<usize>,
    ) -> Self {
        let NodeWork { activity, busy_cpus, .. } = &**shared.nodes[node].work;
        Self {
            shared,
            pool: Arc::as_ptr(shared),
            process: &shared.process,
            activity,
            queue: Queue::new(activity, shared.widest, deque),
            node,
            helper,
            is_alone: shared.nodes.len() == 1,
            is_counted: Cell::new(false),
            frame: Cell::new(Innermost { scope: NO_SCOPE, joins: 0, pushed: 0 }),
            taken: Cell::new(ptr::null()),
            rotation: Cell::new(Rotation::new(helper.unwrap_or(0))),
            round: Cell::new(Round::MAX),
            shares_cpu: Cell::new(false),
            cpu: CpuNote::of(busy_cpus),
            blocks: Blocks::new(),
            job_from: Cell::new(None),
            below: Cell::new(ptr::null()),
        }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &'p Arc<Shared> {
        self.shared
    }

    /// Tells whether this process has the pool's helpers.
    #[inline]
    pub(crate) fn process(&self) -> &'p Process {
        self.process
    }

    /// Begins one wait's looks: one alone where the thread shares its CPU, and does not move. So it sleeps.
    #[inline]
    pub(crate) fn begin_looks(&self, moves: impl FnOnce() -> bool) -> Spin {
        let sleeps = self.shares_cpu.take() && !moves();
        if sleeps { Spin::once(self.shared.spin) } else { Spin::new(self.shared.spin) }
    }

    /// Ends looks that have found something.
    #[inline]
    pub(crate) fn end_looks(&self, looks: &Spin) {
        self.shares_cpu.set(looks.shares_cpu());
    }

    /// Notes the CPU of a caller from outside, which is about to wake helpers, and needs it.
    pub(crate) fn note_cpu_of_guest(&self) {
        if self.helper.is_none() {
            let _ = self.cpu.note();
        }
    }

    /// Whether this is a worker of that pool.
    #[inline]
    pub(crate) fn belongs_to(&self, shared: &Shared) -> bool {
        ptr::eq(self.pool, shared)
    }

    /// Begins a frame of a scope, or one in which no scope may push, until the guard is dropped.
    #[inline]
    pub(crate) fn enter(&self, scope: *const ()) -> Frame<'_> {
        let outer = self.frame.get();
        let joins = self.queue.joins();
        // A scope's task that its owner runs belongs to the owner's frame.
        let own = ptr::eq(outer.scope, scope) && outer.joins == joins;
        let pushed = if own { outer.pushed } else { 0 };
        self.frame.set(Innermost { scope, joins, pushed });
        Frame { worker: self, outer, own }
    }

    /// Begins a job that came from another worker, until the guard is dropped.
    ///
    /// `done` is what that worker waits for; null where nobody waits, or waits for more than one job.
    ///
    /// # Safety
    ///
    /// - `[taken]` What is not null stays until the guard is dropped. No job is
    ///   queued here then, so that all that will be stems from that job.
    pub(crate) unsafe fn enter_foreign(&self, done: *const Completion) -> Foreign<'_> {
        let frame = self.enter(NO_SCOPE);
        // SAFETY: [taken].
        let origin = unsafe { self.take_on(done) };
        Foreign { _origin: origin, frame, floor: self.queue.begin_foreign() }
    }

    /// Makes known what the worker has taken from another and runs, until the guard is dropped.
    ///
    /// # Safety
    ///
    /// - `[taken]` as in [`Worker::enter_foreign`].
    pub(crate) unsafe fn take_on(&self, done: *const Completion) -> TakenOn<'_> {
        let before = self.taken.replace(done);
        self.change_origin(done);
        TakenOn { worker: self, before }
    }

    fn change_origin(&self, done: *const Completion) {
        if let Some(helper) = self.helper {
            self.shared.work[helper].origin.change(JobId::of(done), self.process());
        }
    }

    /// Takes a job that stems from what this worker waits for, from the helper that runs that, and runs it; returns whether there was one.
    pub(crate) fn help(&self, thief: usize, done: &Completion) -> bool {
        // Where jobs of frames below are queued, what the job queues would lie among them. What only
        // fewer may take is on no deque that is looked at.
        if !self.queue.is_empty() || self.steal() != self.shared.widest {
            return false;
        }
        let Some(job) = self.shared.take_from(self, thief, JobId::of(done)) else { return false };
        self.begins_work();
        // SAFETY: [taken] it comes from a queue.
        unsafe { job.run(self) };
        // What the job has queued and left here stems from the same.
        while let Some(job) = self.queue.pop_shown() {
            // SAFETY: [taken] it comes from a queue.
            unsafe { job.run_from(self, Some(self.node)) };
        }
        true
    }

    /// What the innermost frame's jobs are queued under.
    #[inline]
    pub(crate) fn steal(&self) -> Steal {
        self.queue.steal()
    }

    /// Queues what comes under another [`Steal`] until the guard is dropped; none where it is the same.
    ///
    /// What is kept is shown first, so that all that is kept later is queued under the new one.
    pub(crate) fn enter_steal(&self, steal: Steal) -> Option<Under<'_>> {
        let outer = self.steal();
        if steal == outer {
            return None;
        }
        self.show_all();
        self.queue.set_steal(steal);
        Some(Under { worker: self, outer, floor: self.queue.begin_foreign() })
    }

    /// Runs a job that was queued under this, by a worker of that node.
    ///
    /// # Safety
    ///
    /// - `[taken]` as in [`JobRef::run`].
    pub(crate) unsafe fn run(&self, job: JobRef, steal: Steal, from: usize) {
        let _under = self.enter_steal(steal);
        // SAFETY: [taken].
        unsafe { job.run_from(self, Some(from)) }
    }

    /// Whether tasks of this scope may be pushed: its frame is the innermost, and no join lies above it.
    pub(crate) fn may_push_for(&self, scope: *const ()) -> bool {
        let frame = self.frame.get();
        ptr::eq(frame.scope, scope) && frame.joins == self.queue.joins()
    }

    /// Whether nobody is free to take a job, and enough are queued here for whoever becomes free.
    #[inline]
    pub(crate) fn has_enough(&self) -> bool {
        self.queue.runs_in_turn() && self.shows_some()
    }

    /// Queues the second half of a join; [`Worker::take_back`] ends this.
    #[inline]
    pub(crate) fn push(&self, job: JobRef) {
        self.queue.keep(job);
        if !(self.activity.is_saturated() && self.queue.may_keep() && self.shows_some()) {
            self.show_kept();
        }
    }

    /// Whether other nodes' helpers find a job here, where there are other nodes.
    ///
    /// Those of the node itself are found busy by `is_saturated`.
    #[inline]
    fn shows_some(&self) -> bool {
        self.is_alone || self.queue.shows_any()
    }

    /// Takes back the second half of the innermost join, the job at this address.
    #[inline]
    pub(crate) fn take_back(&self, job: *const ()) -> Taken {
        let taken = self.queue.take_back(job);
        if !self.activity.is_saturated() && self.queue.keeps_any() {
            self.show_kept();
        }
        taken
    }

    /// Shows what is kept: all where a thread is free, else the oldest job.
    #[inline(never)]
    fn show_kept(&self) {
        self.begins_work();
        while self.queue.show_oldest(|| self.borrow_deque()) && !self.activity.is_saturated() {}
        self.wake_for_shown();
    }

    /// Shows all that is kept.
    pub(crate) fn show_all(&self) {
        if self.queue.keeps_any() {
            while self.queue.show_oldest(|| self.borrow_deque()) {}
            self.wake_for_shown();
        }
    }

    /// Wakes whoever may take what was just shown.
    fn wake_for_shown(&self) {
        let woke = self.shared.wake_for_shown(self.node, self.steal());
        // SAFETY: by the invariant of `taken`; the fence of the wake-up comes before the poke's look.
        if let Some(done) = unsafe { self.taken.get().as_ref() } {
            done.poke();
        }
        if woke {
            offer_cpu();
        }
    }

    /// Pushes a task for the scope whose frame is the innermost.
    pub(crate) fn push_for_scope(&self, job: JobRef) {
        self.begins_work();
        let frame = self.frame.get();
        self.frame.set(Innermost { pushed: frame.pushed + 1, ..frame });
        // What is shown is older than what is kept.
        while self.queue.show_oldest(|| self.borrow_deque()) {}
        self.queue.show(job, || self.borrow_deque());
        self.wake_for_shown();
    }

    /// Takes back the task pushed last for the scope whose frame is the innermost.
    ///
    /// Never more than were pushed: a job below is another frame's.
    pub(crate) fn pop_for_scope(&self) -> Option<JobRef> {
        let frame = self.frame.get();
        let pushed = frame.pushed.checked_sub(1)?;
        let job = self.queue.pop_shown();
        // Where nothing is left, thieves took the rest of this frame's jobs.
        self.frame.set(Innermost { pushed: if job.is_some() { pushed } else { 0 }, ..frame });
        job
    }

    /// Takes the newest job that a frame which has ended left on any deque, and says what it was queued under.
    ///
    /// For a helper that is at nothing else: a frame's jobs might be among them.
    pub(crate) fn pop_any(&self) -> Option<(JobRef, Steal)> {
        self.queue.pop_any()
    }

    /// Runs `sleep`, and counts the worker as one that leaves its CPU to others.
    pub(crate) fn rests(&self, sleep: impl FnOnce()) {
        let counted = self.is_counted.get();
        self.leaves_cpu();
        self.cpu.while_forgotten(sleep);
        if counted {
            self.begins_work();
        }
    }

    /// Whether the node counts it as busy.
    #[inline]
    pub(crate) fn is_counted(&self) -> bool {
        self.is_counted.get()
    }

    /// Counts the worker as one that is busy, if it is not counted yet.
    ///
    /// A part in a call, which may be over in no time, is counted when it
    /// queues something; a job at once.
    #[inline]
    pub(crate) fn begins_work(&self) {
        if !self.is_counted.replace(true) {
            self.count();
        }
    }

    #[inline(never)]
    fn count(&self) {
        match self.helper {
            Some(_) => self.activity.helper_begins(),
            None => {
                self.activity.guest_begins();
                let _ = self.cpu.note();
            }
        }
    }

    /// Ends what [`Worker::begins_work`] began, if it did.
    ///
    /// The end of a part in a call, which somebody waits for, comes through here: it stays short.
    #[inline]
    pub(crate) fn ends_work(&self) {
        if self.is_counted.replace(false) {
            self.uncount();
        }
    }

    #[inline(never)]
    fn uncount(&self) {
        match self.helper {
            Some(_) => self.activity.helper_ends(),
            None => {
                self.activity.guest_ends();
                self.cpu.forget();
            }
        }
    }

    /// Ends what [`Worker::begins_work`] began, and wakes a helper where jobs are left for its CPU.
    fn leaves_cpu(&self) {
        if self.is_counted.get() {
            self.ends_work();
            self.shared.left_cpu(self.node);
        }
    }

    fn borrow_deque(&self) -> Deque {
        let helper = self.shared.place_in_node(self.node, self.helper);
        self.shared.nodes[self.node].borrow_deque(self.steal(), helper)
    }

    /// Takes part in a call that requires helpers of this node; returns whether there was one.
    pub(crate) fn serve_required(&self) -> bool {
        let Some(helper) = self.helper else { return false };
        let Some(part) = self.shared.accept(self, Looking::ForRequired) else { return false };
        // The part is this pool's, also where the thread waits in another.
        let _innermost = self.make_innermost();
        // What it queues is no part of what this thread waits for.
        let _under = self.enter_steal(self.shared.widest);
        // SAFETY: [taken] nothing is promised of null.
        let _foreign = unsafe { self.enter_foreign(ptr::null()) };
        // SAFETY: [part] it was accepted.
        unsafe { part.take(self.shared, helper, || ()) };
        // What ran may have forked: nobody is left to wait for then.
        self.process.assert_here();
        true
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        // In a forked child nobody gives up the locks that others held.
        if self.helper.is_some() || !self.process.is_here() {
            return;
        }
        self.leaves_cpu();
        self.cpu.forget();
        for (steal, deque) in self.queue.take_deques() {
            debug_assert!(deque.is_empty(), "every frame leaves the deque as it found it");
            self.shared.nodes[self.node].return_deque(steal, deque);
        }
    }
}

/// Restores the innermost frame when it is dropped.
pub(crate) struct Frame<'w> {
    worker: &'w Worker<'w>,
    outer: Innermost,
    own: bool,
}

impl Frame<'_> {
    /// Whether the frame below is one of the same scope: its owner's, or that of a task.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        let pushed = if self.own { self.worker.frame.get().pushed } else { self.outer.pushed };
        self.worker.frame.set(Innermost { pushed, ..self.outer });
    }
}

/// Restores what the worker had taken on before when it is dropped.
pub(crate) struct TakenOn<'w> {
    worker: &'w Worker<'w>,
    before: *const Completion,
}

impl Drop for TakenOn<'_> {
    fn drop(&mut self) {
        self.worker.taken.set(self.before);
        self.worker.change_origin(self.before);
    }
}

/// Queues under what was before again when it is dropped.
pub(crate) struct Under<'w> {
    worker: &'w Worker<'w>,
    outer: Steal,
    floor: usize,
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        // Nothing is kept: all of it belonged to frames that have ended.
        self.worker.queue.set_steal(self.outer);
        self.worker.queue.end_foreign(self.floor);
    }
}

/// Ends a job that came from another worker when it is dropped.
pub(crate) struct Foreign<'w> {
    _origin: TakenOn<'w>,
    frame: Frame<'w>,
    floor: usize,
}

impl Drop for Foreign<'_> {
    fn drop(&mut self) {
        self.frame.worker.queue.end_foreign(self.floor);
    }
}
