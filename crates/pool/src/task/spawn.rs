//! `spawn`: a closure that nobody waits for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ptr;
use std::sync::Arc;

use super::JobRef;
use crate::current::{enter, place_here};
use crate::panic::catch;
use crate::shared::Shared;
use crate::sync::thread_local;
use crate::worker::Worker;

/// Queues a closure on this node of the pool, or on the one that the calling thread is on.
///
/// It goes to the node's injector and never on a deque: a deque holds only
/// work that its owner's frames wait for, so that a thread that waits never
/// runs a stranger's closure. A pool without helpers runs it here.
pub(crate) fn spawn(shared: &Arc<Shared>, node: Option<usize>, f: impl FnOnce() + Send + 'static) {
    shared.process.assert_here();
    if shared.helpers.is_empty() {
        return run_here(shared, f);
    }
    let (here, steal) = place_here(shared);
    shared.inject(node.unwrap_or(here), job_ref(Box::new(f)), steal);
}

fn job_ref<F: FnOnce() + Send + 'static>(f: Box<F>) -> JobRef {
    let job = Box::into_raw(f).cast_const().cast();
    // SAFETY: [job] the box is the queue's until it is run, and the closure is Send and 'static.
    unsafe { JobRef::new(job, run::<F>) }
}

/// Runs a spawned closure; its panic goes to the pool's panic handler.
///
/// # Safety
///
/// - `[job]` as in [`JobRef::new`].
unsafe fn run<F: FnOnce() + Send + 'static>(job: *const (), worker: &Worker<'_>) {
    // SAFETY: [job] this is the pointer that `job_ref` took from the box.
    let f = unsafe { Box::from_raw(job.cast::<F>().cast_mut()) };
    run_now(worker, f);
}

fn run_now(worker: &Worker<'_>, f: impl FnOnce()) {
    // SAFETY: [taken] nothing is promised of null.
    let _foreign = unsafe { worker.enter_foreign(ptr::null()) };
    if let Err(payload) = catch(f) {
        worker.shared().handlers.panicked(payload, "a spawned closure panicked");
    }
}

/// The closures spawned by one that this thread runs for a pool without helpers.
struct Waiting {
    /// Names the pool.
    pool: *const Shared,
    closures: VecDeque<Box<dyn FnOnce() + Send>>,
}

thread_local! {
    /// For each pool without helpers of which this thread runs a spawned closure, those to run after it.
    static WAITING: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
}

/// Runs a closure on the calling thread and then what it spawns; where the thread runs one of this pool's already, after that one.
///
/// So a closure that spawns the next, without end, needs no more stack than one.
fn run_here(shared: &Arc<Shared>, f: impl FnOnce() + Send + 'static) {
    let pool = Arc::as_ptr(shared);
    let mut f = Some(f);
    // A thread whose thread-local values are gone runs it at once.
    let _ = WAITING.try_with(|waiting| {
        let mut waiting = waiting.borrow_mut();
        match waiting.iter_mut().find(|waiting| ptr::eq(waiting.pool, pool)) {
            Some(running) => running.closures.extend(f.take().map(|f| Box::new(f) as Box<_>)),
            None => waiting.push(Waiting { pool, closures: VecDeque::new() }),
        }
    });
    let Some(f) = f else { return };
    enter(shared, |worker| {
        run_now(worker, f);
        while let Some(next) = next(pool) {
            run_now(worker, next);
        }
    });
}

/// Takes the next closure of a pool; forgets the pool where there is none.
fn next(pool: *const Shared) -> Option<Box<dyn FnOnce() + Send>> {
    let next = WAITING.try_with(|waiting| {
        let mut waiting = waiting.borrow_mut();
        let place = waiting.iter().position(|waiting| ptr::eq(waiting.pool, pool))?;
        let next = waiting[place].closures.pop_front();
        if next.is_none() {
            waiting.swap_remove(place);
        }
        next
    });
    next.ok().flatten()
}
