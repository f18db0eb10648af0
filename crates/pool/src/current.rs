//! Which worker the calling thread is: the chain of workers down its stack.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use firsttouch_topology::affinity;

use crate::caller::Caller;
use crate::cpus::CpuNote;
use crate::shared::Shared;
use crate::steal::Steal;
use crate::sync::thread_local;
use crate::worker::Worker;

thread_local! {
    /// The innermost worker that this thread is.
    ///
    /// Invariant: null, or a worker in a frame further down this thread's stack.
    static CURRENT: Cell<*const Worker<'static>> = const { Cell::new(ptr::null()) };
}

impl Worker<'_> {
    /// Makes the calling thread known as this worker until the guard is dropped.
    pub(crate) fn make_current(&self) -> Current<'_> {
        let this = ptr::from_ref(self).cast();
        // A thread whose thread-local values are gone is a worker that nested
        // calls do not find: each borrows a guest's deque of its own.
        let below = CURRENT.try_with(|current| current.replace(this)).unwrap_or(ptr::null());
        self.below.set(below);
        Current { worker: self }
    }
}

impl Worker<'_> {
    /// Makes this worker, which the calling thread is further down its stack, the innermost until the guard is dropped.
    pub(crate) fn make_innermost(&self) -> Innermost<'_> {
        let this = ptr::from_ref(self).cast();
        let before = CURRENT.try_with(|current| current.replace(this)).unwrap_or(ptr::null());
        Innermost { before, worker: PhantomData }
    }
}

/// While it lives, a worker further down the stack is the innermost.
pub(crate) struct Innermost<'w> {
    before: *const Worker<'static>,
    worker: PhantomData<&'w ()>,
}

impl Drop for Innermost<'_> {
    fn drop(&mut self) {
        // Where the thread-local values are gone there is nothing to restore.
        let _ = CURRENT.try_with(|current| current.set(self.before));
    }
}

/// While it lives, the calling thread is known as its worker.
pub(crate) struct Current<'w> {
    worker: &'w Worker<'w>,
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        let below = self.worker.below.get();
        // Where the thread-local values are gone there is nothing to restore.
        let _ = CURRENT.try_with(|current| current.set(below));
    }
}

/// Calls `f` with the worker that the calling thread is for this pool, if it is one.
#[inline]
pub(crate) fn with_current<R>(shared: &Shared, f: impl FnOnce(Option<&Worker<'_>>) -> R) -> R {
    // SAFETY: [frame] `f` is for any lifetime, so it cannot keep the worker.
    f(unsafe { innermost_where(|worker| worker.belongs_to(shared)) })
}

/// Whether the calling thread's innermost worker is one of this pool's that [has enough](Worker::has_enough) jobs queued.
#[inline(always)]
pub(crate) fn has_enough(shared: &Arc<Shared>) -> bool {
    innermost_is(|worker| worker.belongs_to(shared) && worker.has_enough())
}

/// As [`has_enough`], whichever pool's it is.
#[inline(always)]
pub(crate) fn innermost_has_enough() -> bool {
    innermost_is(|worker| worker.has_enough())
}

#[inline(always)]
fn innermost_is(matches: impl FnOnce(&Worker<'_>) -> bool) -> bool {
    let innermost = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: by the invariant of CURRENT.
    let innermost = unsafe { innermost.as_ref() };
    innermost.is_some_and(matches)
}

/// Calls `f` with the worker that the calling thread is for the innermost pool it works for, if it works for any.
#[inline]
pub(crate) fn with_innermost<R>(f: impl FnOnce(Option<&Worker<'_>>) -> R) -> R {
    // SAFETY: [frame] `f` is for any lifetime, so it cannot keep the worker.
    f(unsafe { innermost_where(|_| true) })
}

/// Calls `f` with the worker that the calling thread is as a helper, if it is one.
pub(crate) fn with_home<R>(f: impl FnOnce(Option<&Worker<'_>>) -> R) -> R {
    // SAFETY: [frame] `f` is for any lifetime, so it cannot keep the worker.
    f(unsafe { home() })
}

/// Calls `f` with the worker that the calling thread is for this pool; makes it a guest if it is none.
#[inline]
pub(crate) fn enter<R>(shared: &Arc<Shared>, f: impl FnOnce(&Worker<'_>) -> R) -> R {
    // SAFETY: [frame] `f` is for any lifetime, so it cannot keep the worker.
    match unsafe { innermost_where(|worker| worker.belongs_to(shared)) } {
        Some(worker) => {
            worker.process().assert_here();
            f(worker)
        }
        None => enter_as_guest(shared, f),
    }
}

/// Calls `f` with the calling thread as one that makes calls of this pool.
#[inline]
pub(crate) fn calling<R>(shared: &Arc<Shared>, f: impl FnOnce(&Caller<'_>) -> R) -> R {
    shared.process.assert_here();
    // SAFETY: [frame] `f` is for any lifetime, so it cannot keep the worker.
    match unsafe { innermost_where(|worker| worker.belongs_to(shared)) } {
        Some(worker) => f(&Caller::worker(worker)),
        None => {
            let node = nearest_node(shared);
            let cpu = CpuNote::of(&shared.nodes[node].work.busy_cpus);
            f(&Caller::outside(shared, &cpu))
        }
    }
}

/// As [`enter`], where the caller's code is to stay small.
#[inline(never)]
pub(crate) fn enter_out_of_line<R>(shared: &Arc<Shared>, f: impl FnOnce(&Worker<'_>) -> R) -> R {
    enter(shared, f)
}

#[inline(never)]
fn enter_as_guest<R>(shared: &Arc<Shared>, f: impl FnOnce(&Worker<'_>) -> R) -> R {
    shared.process.assert_here();
    let guest = Worker::guest(shared, nearest_node(shared));
    let _current = guest.make_current();
    f(&guest)
}

/// Returns the place of the pool's node that is nearest to the calling thread, and what the thread queues jobs under.
pub(crate) fn place_here(shared: &Shared) -> (usize, Steal) {
    with_current(shared, |worker| match worker {
        Some(worker) => (worker.node, worker.steal()),
        None => (nearest_node(shared), shared.widest),
    })
}

/// Calls `f`, which queues jobs under this as far as the calling thread is a worker of the pool.
#[inline]
pub(crate) fn under<R>(shared: &Shared, steal: Steal, f: impl FnOnce() -> R) -> R {
    if steal == shared.widest {
        return f();
    }
    with_current(shared, |worker| {
        let _under = worker.map(|worker| worker.enter_steal(steal));
        f()
    })
}

/// Returns the place of the pool's node that is nearest to the CPU that the calling thread is on.
fn nearest_node(shared: &Shared) -> usize {
    match *shared.nodes {
        // The kernel need not be asked.
        [_] => 0,
        _ => shared.nearest_node(affinity::current_cpu()),
    }
}

/// Returns the worker that the calling thread is as a helper, if it is one.
///
/// A thread is a helper of one pool at most; in all others it is a guest.
///
/// # Safety
///
/// - `[frame]` as in [`innermost_where`].
pub(crate) unsafe fn home<'stack>() -> Option<&'stack Worker<'stack>> {
    // SAFETY: [frame].
    unsafe { innermost_where(|worker| worker.helper.is_some()) }
}

/// Returns the innermost worker of the calling thread that matches.
///
/// # Safety
///
/// - `[frame]` The reference does not leave the caller's own frame: the worker
///   lies further down the stack.
#[inline(always)]
unsafe fn innermost_where<'stack>(
    matches: impl Fn(&Worker<'_>) -> bool,
) -> Option<&'stack Worker<'stack>> {
    let innermost = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: by the invariant of CURRENT; what the worker borrows outlives it,
    // so any frame above may borrow it, too.
    let innermost: &'stack Worker<'stack> = unsafe { innermost.cast::<Worker<'stack>>().as_ref() }?;
    if matches(innermost) { Some(innermost) } else { below_where(innermost, matches) }
}

/// Returns the next worker further down the stack that matches.
#[cold]
#[inline(never)]
fn below_where<'stack>(
    mut worker: &'stack Worker<'stack>,
    matches: impl Fn(&Worker<'_>) -> bool,
) -> Option<&'stack Worker<'stack>> {
    loop {
        // SAFETY: by the invariant of CURRENT, and so of `below`; as above.
        worker = unsafe { worker.below.get().cast::<Worker<'stack>>().as_ref() }?;
        if matches(worker) {
            return Some(worker);
        }
    }
}
