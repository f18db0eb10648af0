//! `scope`: tasks that may borrow, all ended when the scope ends.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::JobRef;
use crate::completion::{Countdown, Remaining};
use crate::current::{node_here, with_current};
use crate::panic::{FirstPanic, catch, discard};
use crate::shared::Shared;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::worker::{Worker, wait};

/// Where tasks that may borrow for `'scope` are spawned; [`Pool::scope`](crate::Pool::scope) makes one.
///
/// It is `Sync`: a task may spawn more tasks, and so may any other thread that
/// holds a reference.
pub struct Scope<'scope> {
    shared: Arc<Shared>,
    /// One part for each task, and one for the scope's owner.
    tasks: Countdown,
    panic: FirstPanic,
    elsewhere: Arc<Elsewhere>,
    /// The helpers that have taken tasks: a bit for each, which those 64 apart share.
    thieves: AtomicU64,
    /// Invariant in `'scope`, as for [`std::thread::Scope`]: it may neither shrink nor grow.
    scope: PhantomData<fn(&'scope ()) -> &'scope ()>,
}

/// Tasks spawned by threads that could not put them on a deque of the pool at that point.
///
/// The owner runs them while it waits, helpers when they find an announcement
/// in an injector. The announcements keep this alive, not the tasks: a late one
/// finds it empty.
type Elsewhere = Mutex<VecDeque<JobRef>>;

impl<'scope> Scope<'scope> {
    /// Spawns a task into this scope; it ends before the scope does.
    ///
    /// The calling thread goes on at once. The task may run on any helper, or
    /// on the thread that opened the scope, and may spawn more.
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
        self.tasks.add();
        // SAFETY: [scope] the part just added keeps the scope alive for the task.
        let job = unsafe { job_ref(Box::new(Task { f, scope: self })) };
        with_current(&self.shared, |worker| match worker {
            Some(worker) if worker.may_push_for(self.id()) => worker.push_for_scope(job),
            _ => self.spawn_elsewhere(job),
        });
    }

    /// Names this scope among the frames of a stack.
    fn id(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    fn spawn_elsewhere(&self, job: JobRef) {
        self.elsewhere.lock().push_back(job);
        // The lock orders this: an owner that found nothing there had registered before.
        self.tasks.done().poke();
        let node = node_here(&self.shared);
        self.shared.inject(node, announcement(Arc::clone(&self.elsewhere)));
    }

    /// Runs one task that nobody has started; returns whether there was one.
    fn run_one(&self, worker: &Worker<'_>) -> bool {
        let job = worker.pop_for_scope().or_else(|| self.elsewhere.lock().pop_front());
        let Some(job) = job else { return self.help_thieves(worker) };
        // SAFETY: [taken] it comes from a queue.
        unsafe { job.run(worker) };
        true
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
pub(crate) fn scope<'scope, R>(worker: &Worker<'_>, f: impl FnOnce(&Scope<'scope>) -> R) -> R {
    let scope = Scope {
        shared: Arc::clone(worker.shared()),
        tasks: Countdown::new(1),
        panic: FirstPanic::new(),
        elsewhere: Arc::default(),
        thieves: AtomicU64::new(0),
        scope: PhantomData,
    };
    let _frame = worker.enter(scope.id());
    let result = catch(|| f(&scope)).map_err(|payload| scope.panic.keep(payload));
    // Nothing between here and the end of the wait can unwind, and the tasks
    // may borrow this frame until then.
    if scope.tasks.owner_done(1) == Remaining::Others {
        wait(worker, scope.tasks.done(), || scope.run_one(worker));
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
unsafe fn job_ref<'scope, F>(task: Box<Task<'scope, F>>) -> JobRef
where
    F: FnOnce(&Scope<'scope>) + Send + 'scope,
{
    let job = Box::into_raw(task).cast_const().cast();
    // SAFETY: [job] the box is the queue's until it is run; the closure is Send; [scope] keeps its borrows alive.
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
    // SAFETY: [job] this is the pointer that `job_ref` took from the box.
    let Task { f, scope: this } = *unsafe { Box::from_raw(task) };
    {
        // SAFETY: [scope] the task's part keeps it alive; the reference ends before the part does.
        let scope = unsafe { &*this };
        let frame = worker.enter(scope.id());
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

/// Tells helpers, through an injector, that a scope has tasks elsewhere.
fn announcement(elsewhere: Arc<Elsewhere>) -> JobRef {
    let job = Arc::into_raw(elsewhere).cast();
    // SAFETY: [job] the job owns one count of the Arc.
    unsafe { JobRef::new(job, follow_announcement) }
}

/// Runs one of the tasks that an announcement was made for, where one is left.
///
/// # Safety
///
/// - `[job]` as in [`JobRef::new`].
unsafe fn follow_announcement(job: *const (), worker: &Worker<'_>) {
    // SAFETY: [job] this is the pointer that `announcement` took from the Arc.
    let elsewhere = unsafe { Arc::from_raw(job.cast::<Elsewhere>()) };
    let task = elsewhere.lock().pop_front();
    drop(elsewhere);
    if let Some(task) = task {
        // SAFETY: [taken] it comes from a queue.
        unsafe { task.run(worker) };
    }
}
