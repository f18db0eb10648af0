//! `scope`: tasks that may borrow, all ended when the scope ends.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::sync::Arc;

use firsttouch_topology::NodeId;

use super::JobRef;
use super::blocks::{hold, release};
use super::elsewhere::{Elsewhere, Spot};
use crate::call::{Arrival, Share};
use crate::caller::Caller;
use crate::completion::{Countdown, Remaining};
use crate::current::{place_here, with_current};
use crate::error::NoSuchNode;
use crate::front::Tickets;
use crate::panic::{FirstPanic, catch, discard};
use crate::shared::Shared;
use crate::steal::Steal;
use crate::sync::{AtomicU64, Ordering};
use crate::team::{Ask, fork};
use crate::wait::wait;
use crate::worker::{Frame, NO_SCOPE, Under, Worker};

/// Where tasks that may borrow for `'scope` are spawned; [`Pool::scope`](crate::Pool::scope) makes one.
///
/// It is `Sync`: a task may spawn more tasks, and so may any other thread that
/// holds a reference.
pub struct Scope<'scope> {
    shared: Arc<Shared>,
    /// One part for each task, and one for the scope's owner.
    tasks: Countdown,
    panic: FirstPanic,
    /// The place of the node on which tasks are queued; `None` for that of whoever spawns them.
    node: Option<usize>,
    /// What tasks are queued under.
    steal: Steal,
    /// Tasks that could not be put on a deque: whoever spawned them is not on their node, or not at this scope.
    elsewhere: Elsewhere,
    /// The helpers that have taken tasks: a bit for each, which those 64 apart share.
    thieves: AtomicU64,
    /// Invariant in `'scope`, as for [`std::thread::Scope`]: it may neither shrink nor grow.
    scope: PhantomData<fn(&'scope ()) -> &'scope ()>,
}

impl<'scope> Scope<'scope> {
    /// Spawns a task into this scope; it ends before the scope does.
    ///
    /// The calling thread goes on at once. The task is queued on the scope's
    /// node, or on that of the calling thread where the scope has none. It may
    /// run on any helper that the scope's [`Steal`] lets, or on the thread that
    /// opened the scope, and may spawn more.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new()?;
    /// let mut halves = [0; 2];
    /// let [left, right] = &mut halves;
    /// pool.scope(|scope| {
    ///     scope.spawn(|_| *left = 1);
    ///     scope.spawn(|_| *right = 2);
    /// });
    /// assert_eq!(halves, [1, 2]);
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    ///
    /// A task cannot borrow what ends before the scope:
    ///
    /// ```compile_fail,E0597
    /// let pool = firsttouch_pool::Pool::new().unwrap();
    /// pool.scope(|scope| {
    ///     let inside = 1;
    ///     scope.spawn(|_| assert_eq!(inside, 1));
    /// });
    /// ```
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new().unwrap();
    /// let outside = 1;
    /// pool.scope(|scope| {
    ///     scope.spawn(|_| assert_eq!(outside, 1));
    /// });
    /// ```
    ///
    /// Nor can it hold what must stay on its thread:
    ///
    /// ```compile_fail,E0277
    /// let pool = firsttouch_pool::Pool::new().unwrap();
    /// let one = std::rc::Rc::new(1);
    /// pool.scope(|scope| {
    ///     scope.spawn(|_| assert_eq!(*one, 1));
    /// });
    /// ```
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new().unwrap();
    /// let one = std::sync::Arc::new(1);
    /// pool.scope(|scope| {
    ///     scope.spawn(|_| assert_eq!(*one, 1));
    /// });
    /// ```
    pub fn spawn(&self, f: impl FnOnce(&Self) + Send + 'scope) {
        self.queue(self.node, f);
    }

    /// Spawns a task into this scope, queued on a node; that node's helpers are woken first.
    ///
    /// A node that the machine has, and that has no helpers in this pool, is
    /// served by the nearest that has. Where [`Steal::Node`] is in force, the
    /// task runs there and nowhere else.
    ///
    /// # Errors
    ///
    /// [`NoSuchNode`] where the machine has no such node. The task does not run then.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new()?;
    /// let mut parts = vec![0; pool.nodes().count()];
    /// pool.scope(|scope| {
    ///     for ((node, helpers), part) in pool.nodes().zip(&mut parts) {
    ///         scope.spawn_on(node, move |_| *part = helpers).expect("the pool has that node");
    ///     }
    /// });
    /// assert_eq!(parts.into_iter().sum::<usize>(), pool.helpers().len());
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn spawn_on(
        &self,
        node: NodeId,
        f: impl FnOnce(&Self) + Send + 'scope,
    ) -> Result<(), NoSuchNode> {
        let node = self.shared.nearest_to(node)?;
        self.queue(Some(node), f);
        Ok(())
    }

    /// Queues a task on a node, or where the calling thread is.
    fn queue(&self, node: Option<usize>, f: impl FnOnce(&Self) + Send + 'scope) {
        self.shared.process.assert_here();
        self.tasks.add();
        with_current(&self.shared, |worker| {
            let task = hold(worker.map(|worker| &worker.blocks), Task { f, scope: self });
            // SAFETY: [scope] the part just added keeps the scope alive for the task. [held] it was just made.
            let job = unsafe { job_ref(task) };
            match worker {
                Some(worker)
                    if worker.may_push_for(self.id())
                        && node.is_none_or(|node| node == worker.node) =>
                {
                    worker.push_for_scope(job);
                }
                _ => self.queue_elsewhere(node, job),
            }
        });
    }

    /// Names this scope among the frames of a stack.
    fn id(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    fn queue_elsewhere(&self, node: Option<usize>, job: JobRef) {
        let (here, steal) = place_here(&self.shared);
        let node = node.unwrap_or(here);
        // On the scope's own node, the scope says who may run its tasks. Elsewhere these
        // are no more than may run what spawns them.
        let steal = if self.node == Some(node) { self.steal } else { self.steal.min(steal) };
        let announcement = self.elsewhere.push(Spot { node, steal }, job);
        if !self.shared.helpers.is_empty() {
            self.shared.inject(node, announcement.into_job(), steal);
        }
        // After the announcement: an owner that finds none there takes the task for one that a
        // helper is on its way to. The lock, or the fence in `inject`, orders this: an owner that
        // did not find both had registered before.
        self.tasks.done().poke();
    }

    /// Runs, in the owner's wait, something that nobody has started; returns whether there was something.
    fn run_one(&self, worker: &Worker<'_>, left: &LeftTo<'_>) -> bool {
        if let Some(job) = worker.pop_for_scope() {
            // SAFETY: [taken] it comes from a queue.
            unsafe { job.run_from(worker, Some(worker.node)) };
            return true;
        }
        self.see_to_elsewhere(worker, left) || self.help_thieves(worker)
    }

    /// Sees to tasks that are on no deque; returns whether there is something new to look for.
    ///
    /// The owner runs those on its own node. Others it leaves to their node's
    /// helpers while one of these is free, or one is on its way to each. Else
    /// it runs them where it may; where it may not, it has one of the node's
    /// helpers come, and one that waits comes too.
    fn see_to_elsewhere(&self, worker: &Worker<'_>, left: &LeftTo<'_>) -> bool {
        let mut next = 0;
        while let Some((spot, after)) = self.elsewhere.first_from(next) {
            let Spot { node, steal } = spot;
            next = after;
            let is_here = node == worker.node;
            if !is_here && left.is_left_to(spot) {
                continue;
            }
            // Where no helper is left there, as in a pool that has ended, it runs here.
            if !is_here
                && !self.shared.may_take(worker.node, node, steal)
                && self.shared.others_on_node(node, worker.helper) > 0
            {
                self.have_run_there(worker, spot);
                return true;
            }
            // Where it was taken in the meantime, nobody has to see to it.
            let Some(job) = self.elsewhere.pop(spot) else { continue };
            self.run_under(worker, if is_here { steal } else { steal.off_its_node() }, job);
            return true;
        }
        false
    }

    /// Runs a task that queues under this.
    fn run_under(&self, worker: &Worker<'_>, steal: Steal, job: JobRef) {
        if steal == worker.steal() {
            // SAFETY: [taken] it comes from a queue.
            return unsafe { job.run(worker) };
        }
        let _frame = self.enter_under(worker, steal);
        // SAFETY: [taken] it comes from a queue.
        unsafe { job.run(worker) };
        while let Some(job) = worker.pop_for_scope() {
            // SAFETY: [taken] it comes from a queue.
            unsafe { job.run_from(worker, Some(worker.node)) };
        }
    }

    /// Has a helper of another node run what waits in a spot there, until nothing does.
    #[cold]
    fn have_run_there(&self, worker: &Worker<'_>, spot: Spot) {
        let tickets = Tickets { required: 1, optional: 0 };
        let asks = std::iter::once(Ask { node: spot.node, tickets });
        fork(&Caller::worker(worker), asks, false, &Deputy { scope: self, spot }, None::<fn()>);
    }

    /// Begins a frame of this scope in which tasks are queued under this, apart from any frame below.
    ///
    /// Whoever enters it runs all that is queued in it before it ends.
    fn enter_under<'w>(&self, worker: &'w Worker<'w>, steal: Steal) -> Apart<'w> {
        let under = worker.enter_steal(steal);
        let apart = worker.enter(NO_SCOPE);
        Apart { _frame: worker.enter(self.id()), _apart: apart, _under: under }
    }

    /// Runs a job that stems from a task which another thread runs; returns whether there was one.
    fn help_thieves(&self, worker: &Worker<'_>) -> bool {
        // Relaxed: a hint; the helper's origin says what it runs.
        let thieves = self.thieves.load(Ordering::Relaxed);
        let has_taken = |helper: &usize| thieves & bit(*helper) != 0;
        let helpers = 0..self.shared.helpers.len();
        thieves != 0 && helpers.filter(has_taken).any(|thief| worker.help(thief, self.tasks.done()))
    }

    /// Notes that a helper runs tasks of this scope.
    fn note_thief(&self, helper: usize) {
        // Relaxed: see `help_thieves`.
        if self.thieves.load(Ordering::Relaxed) & bit(helper) == 0 {
            self.thieves.fetch_or(bit(helper), Ordering::Relaxed);
        }
    }
}

/// The bit that stands for a helper.
fn bit(helper: usize) -> u64 {
    1 << (helper % u64::BITS as usize)
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// Opens a scope, runs `f` in it, and returns when every task has ended.
///
/// `node` is the place of the node on which its tasks are queued, if there is
/// one; `steal` what they are queued under, if that is narrower than it would be.
pub(crate) fn scope<'scope, R>(
    worker: &Worker<'_>,
    node: Option<usize>,
    steal: Steal,
    f: impl FnOnce(&Scope<'scope>) -> R,
) -> R {
    let steal = steal.min(worker.steal());
    let _under = worker.enter_steal(steal);
    let mut scope = Scope {
        shared: Arc::clone(worker.shared()),
        tasks: Countdown::new(1),
        panic: FirstPanic::new(),
        node,
        steal,
        elsewhere: Elsewhere::default(),
        thieves: AtomicU64::new(0),
        scope: PhantomData,
    };
    let _frame = worker.enter(scope.id());
    let result = catch(|| f(&scope));
    // Where `f` has forked, no task has this frame in the child.
    worker.process().assert_here();
    let result = result.map_err(|payload| scope.panic.keep(payload));
    // Nothing between here and the end of the wait can unwind, and the tasks
    // may borrow this frame until then.
    if scope.tasks.owner_done(1) == Remaining::Others {
        let left = LeftTo { shared: &scope.shared, nodes: RefCell::default() };
        wait(worker, scope.tasks.done(), || scope.run_one(worker, &left));
    }
    match (result, scope.panic.take()) {
        (Ok(result), None) => result,
        (result, Some(payload)) => {
            // Not while the payload unwinds: a second panic would abort.
            discard(result);
            resume_unwind(payload)
        }
        (Err(()), None) => unreachable!("the body's panic is kept, and so is the first of all"),
    }
}

/// What a helper does that comes for the tasks in a spot, in place of the scope's owner.
struct Deputy<'s, 'scope> {
    scope: &'s Scope<'scope>,
    spot: Spot,
}

impl Share for Deputy<'_, '_> {
    fn run(&self, shared: &Shared, _: Arrival) {
        let Self { scope, spot } = *self;
        with_current(shared, |worker| {
            // Whoever comes, comes as a helper.
            let Some(worker) = worker else { return };
            let _frame = scope.enter_under(worker, spot.steal);
            let own = || worker.pop_for_scope().map(|job| (job, Some(worker.node)));
            let elsewhere = || scope.elsewhere.pop(spot).map(|job| (job, None));
            while let Some((job, from)) = own().or_else(elsewhere) {
                // SAFETY: [taken] it comes from a queue.
                unsafe { job.run_from(worker, from) };
            }
        });
    }
}

/// A frame of a scope that is no part of the one below it. Fields are dropped in their order.
struct Apart<'w> {
    _frame: Frame<'w>,
    _apart: Frame<'w>,
    _under: Option<Under<'w>>,
}

/// The nodes to whose helpers an owner that waits leaves tasks; these wake it when they do not keep up any more.
struct LeftTo<'s> {
    shared: &'s Shared,
    /// The places of the nodes that know of the owner.
    nodes: RefCell<Vec<usize>>,
}

impl LeftTo<'_> {
    /// Whether tasks that wait in a spot are left to that node's helpers: while one is free to come, or all are announced to some.
    ///
    /// Who takes an announcement runs it at once, and there is one for each task. A pool without
    /// helpers has none.
    fn is_left_to(&self, Spot { node, steal }: Spot) -> bool {
        let there = &self.shared.nodes[node];
        let mut nodes = self.nodes.borrow_mut();
        if !nodes.contains(&node) {
            // Before the look, so that whoever changes what it finds wakes the owner.
            there.work.absent.enter();
            nodes.push(node);
        }
        let all_announced = || !there.helpers.is_empty() && !there.has_injected(steal);
        there.has_free_helper() || all_announced()
    }
}

impl Drop for LeftTo<'_> {
    fn drop(&mut self) {
        // In a forked child nobody gives up the locks that others held.
        let nodes = if self.shared.process.is_here() { self.nodes.take() } else { Vec::new() };
        for node in nodes {
            self.shared.nodes[node].work.absent.leave();
        }
    }
}

struct Task<'scope, F> {
    f: F,
    scope: *const Scope<'scope>,
}

/// Makes a queued job of a task.
///
/// # Safety
///
/// - `[scope]` The task has a part of its own in the scope, which keeps the
///   scope, and all that its closure borrows, alive until the part is given up.
/// - `[held]` It comes from [`hold`], and is given to nobody else.
unsafe fn job_ref<'scope, F>(task: *mut Task<'scope, F>) -> JobRef
where
    F: FnOnce(&Scope<'scope>) + Send + 'scope,
{
    let job = task.cast_const().cast();
    // SAFETY: [job] by [held] it is the queue's until it is run; the closure is Send; [scope] keeps its borrows alive.
    unsafe { JobRef::new(job, run::<F>) }
}

/// Runs a task and gives up its part.
///
/// # Safety
///
/// - `[job]` as in [`JobRef::new`].
unsafe fn run<'scope, F>(job: *const (), worker: &Worker<'_>)
where
    F: FnOnce(&Scope<'scope>) + Send + 'scope,
{
    let task: *mut Task<'scope, F> = job.cast_mut().cast();
    // SAFETY: [job] the task is there until it is run.
    let this = unsafe { (*task).scope };
    {
        // SAFETY: [scope] the task's part keeps it alive; the reference ends before the part does.
        let scope = unsafe { &*this };
        let frame = worker.enter(scope.id());
        // Another node's memory goes back to the allocator.
        let blocks = (worker.job_from.get() == Some(worker.node)).then_some(&worker.blocks);
        // SAFETY: [held] by [job] this is the pointer that `job_ref` was given, and a job runs once.
        let Task { f, .. } = unsafe { release(blocks, task) };
        // SAFETY: [taken] the task's part keeps the flag; where the frame is
        // not the owner's, the job was taken from others, or left by one that
        // was, and all that is queued here stems from this scope's tasks.
        let _taken = (!frame.is_own()).then(|| unsafe { worker.take_on(scope.tasks.done()) });
        worker.helper.filter(|_| !frame.is_own()).into_iter().for_each(|h| scope.note_thief(h));
        if let Err(payload) = catch(|| f(scope)) {
            scope.panic.keep(payload);
        }
    }
    // SAFETY: [scope].
    let tasks = unsafe { &raw const (*this).tasks };
    // SAFETY: [part] the task's own, given up only here.
    unsafe { Countdown::part_done(tasks) };
}
