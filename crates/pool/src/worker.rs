//! Workers: the threads that run closures of a pool, helpers and guests.
//!
//! Every thread that runs a pool's closures has a deque there. A helper has its
//! own; a thread from outside borrows a guest's for its outermost call. So
//! every caller runs its own closures itself, and waits only for those that
//! another thread has already started (`docs/protocols/waiting.md`).

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

use firsttouch_topology::affinity;

use crate::board::Looking;
use crate::completion::{Completion, Registered};
use crate::deque::Deque;
use crate::shared::Shared;
use crate::steal::Rotation;
use crate::sync::{park, thread_local};
use crate::task::JobRef;

/// The frame in which no scope may push its tasks on the deque.
pub(crate) const NO_SCOPE: *const () = ptr::null();

/// One thread at work for one pool.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    /// Invariant: every frame leaves it as it found it, but for what thieves
    /// took. Thieves take the oldest, so where one job of a frame is gone, all
    /// jobs of the frames below are gone too.
    pub(crate) deque: Deque,
    /// The node's place in the pool.
    pub(crate) node: usize,
    /// The helper's place in the pool; `None` for a guest.
    pub(crate) helper: Option<usize>,
    /// The scope whose owner or task is the innermost frame of this pool on this thread's stack.
    scope: Cell<*const ()>,
    /// Jobs of that frame on the deque, at most: thieves are not counted.
    pushed: Cell<usize>,
    pub(crate) rotation: Cell<Rotation>,
    /// The worker that this thread is further down its stack, for another pool.
    below: Cell<*const Worker>,
}

thread_local! {
    /// The innermost worker that this thread is.
    ///
    /// Invariant: null, or a worker in a frame further down this thread's stack.
    static CURRENT: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        deque: Deque,
        node: usize,
        helper: Option<usize>,
    ) -> Self {
        Self {
            shared,
            deque,
            node,
            helper,
            scope: Cell::new(NO_SCOPE),
            pushed: Cell::new(0),
            rotation: Cell::new(Rotation::new(helper.unwrap_or(0))),
            below: Cell::new(ptr::null()),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Makes the calling thread known as this worker until the guard is dropped.
    pub(crate) fn make_current(&self) -> Current<'_> {
        // A thread whose thread-local values are gone is a worker that nested
        // calls do not find: each borrows a guest's deque of its own.
        let below = CURRENT.try_with(|current| current.replace(self)).unwrap_or(ptr::null());
        self.below.set(below);
        Current { worker: self }
    }

    /// Begins a frame in which only this scope may push tasks on the deque.
    pub(crate) fn enter(&self, scope: *const ()) -> Frame<'_> {
        let outer = self.scope.replace(scope);
        // A scope's task that its owner runs belongs to the owner's frame.
        let pushed = (outer != scope).then(|| self.pushed.take());
        Frame { worker: self, scope: outer, pushed }
    }

    pub(crate) fn may_push_for(&self, scope: *const ()) -> bool {
        ptr::eq(self.scope.get(), scope)
    }

    /// Pushes a job; the calling frame pops it again, where no thief takes it.
    pub(crate) fn push(&self, job: JobRef) {
        self.deque.push(job);
        self.shared.wake_one(self.node);
    }

    pub(crate) fn pop(&self) -> Option<JobRef> {
        self.deque.pop()
    }

    pub(crate) fn push_for_scope(&self, job: JobRef) {
        self.pushed.set(self.pushed.get() + 1);
        self.push(job);
    }

    /// Pops a job that the current frame pushed; leaves alone those of the frames below.
    pub(crate) fn pop_for_scope(&self) -> Option<JobRef> {
        let pushed = self.pushed.get().checked_sub(1)?;
        let job = self.deque.pop();
        // Where nothing is left, thieves took the rest of this frame's jobs.
        self.pushed.set(if job.is_some() { pushed } else { 0 });
        job
    }

    /// Takes part in a call that another thread waits for this node's helpers to join, where there is one.
    fn serve_required(&self) -> bool {
        let Some(helper) = self.helper else { return false };
        let Some(call) = self.shared.accept(self.node, helper, Looking::ForRequired) else {
            return false;
        };
        self.shared.work[helper].tally.call();
        let _frame = self.enter(NO_SCOPE);
        // SAFETY: [part] it comes from a board.
        unsafe { call.take_part(helper) };
        true
    }
}

/// Keeps a thread known as a worker.
pub(crate) struct Current<'w> {
    worker: &'w Worker,
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        let below = self.worker.below.get();
        // Where the thread-local values are gone there is nothing to restore.
        let _ = CURRENT.try_with(|current| current.set(below));
    }
}

/// Keeps a frame; the outer one continues when it is dropped.
pub(crate) struct Frame<'w> {
    worker: &'w Worker,
    scope: *const (),
    pushed: Option<usize>,
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        self.worker.scope.set(self.scope);
        if let Some(pushed) = self.pushed {
            self.worker.pushed.set(pushed);
        }
    }
}

/// Calls `f` with the worker that the calling thread is for this pool, if it is one.
pub(crate) fn with_current<R>(shared: &Arc<Shared>, f: impl FnOnce(Option<&Worker>) -> R) -> R {
    f(innermost_where(|worker| Arc::ptr_eq(&worker.shared, shared)))
}

/// Calls `f` as a worker of this pool: as the one that the calling thread is, else as a guest.
pub(crate) fn enter<R>(shared: &Arc<Shared>, f: impl FnOnce(&Worker) -> R) -> R {
    with_current(shared, |worker| match worker {
        Some(worker) => f(worker),
        None => {
            let guest = Guest::new(shared);
            let _current = guest.worker().make_current();
            f(guest.worker())
        }
    })
}

/// Returns the place, in the pool, of the node that the calling thread is on, or of the nearest to it.
pub(crate) fn node_here(shared: &Shared) -> usize {
    let worker = innermost_where(|worker| ptr::eq(Arc::as_ptr(&worker.shared), shared));
    worker.map_or_else(|| shared.nearest_node(affinity::current_cpu()), |worker| worker.node)
}

/// Finds the innermost such worker that the calling thread is.
///
/// The reference must not leave the caller's frame, which is why this stays
/// private: the workers lie in frames below.
fn innermost_where<'stack>(matches: impl Fn(&Worker) -> bool) -> Option<&'stack Worker> {
    let mut worker = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    loop {
        // SAFETY: by the invariant of CURRENT, and so of `below`.
        let candidate = unsafe { worker.as_ref() }?;
        if matches(candidate) {
            return Some(candidate);
        }
        worker = candidate.below.get();
    }
}

/// A thread from outside, with a deque borrowed from its node.
struct Guest {
    /// Invariant: there until drop, which takes it apart to give the deque back.
    worker: Option<Worker>,
}

impl Guest {
    fn new(shared: &Arc<Shared>) -> Self {
        let node = shared.nearest_node(affinity::current_cpu());
        let deque = shared.borrow_deque(node);
        Self { worker: Some(Worker::new(Arc::clone(shared), deque, node, None)) }
    }

    fn worker(&self) -> &Worker {
        self.worker.as_ref().expect("a guest has its worker until it is dropped")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(Worker { shared, deque, node, .. }) = self.worker.take() {
            debug_assert!(deque.is_empty(), "every frame leaves the deque as it found it");
            shared.return_deque(node, deque);
        }
    }
}

/// Waits for completion, and meanwhile runs what the waiting frame can run of its own.
///
/// `run_own` runs one piece of the frame's work that nobody has started, and
/// says whether there was one. Whoever adds to that work pokes `done` after.
///
/// A helper also takes part in required calls to its node: their callers wait
/// for it. It runs nothing else, above all no stranger's task: the frame below
/// may hold a lock that the stranger wants.
pub(crate) fn wait(done: &Completion, mut run_own: impl FnMut() -> bool) {
    // A thread is a helper of one pool at most; in all others it is a guest.
    let home = innermost_where(|worker| worker.helper.is_some());
    let mut serve = || run_own() || home.is_some_and(Worker::serve_required);
    while !done.is_complete() {
        if serve() {
            continue;
        }
        if done.register() == Registered::Complete {
            return;
        }
        // What came before the registration may have seen nobody to wake.
        if !serve() {
            park();
        }
    }
}
