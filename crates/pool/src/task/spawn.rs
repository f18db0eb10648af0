//! `spawn`: a closure that nobody waits for.

use super::JobRef;
use crate::current::place_here;
use crate::panic::catch;
use crate::shared::Shared;
use crate::worker::Worker;

/// Queues a closure on this node of the pool, or on the one that the calling thread is on.
///
/// It goes to the node's injector and never on a deque: a deque holds only
/// work that its owner's frames wait for, so that a thread that waits never
/// runs a stranger's closure.
pub(crate) fn spawn(shared: &Shared, node: Option<usize>, f: impl FnOnce() + Send + 'static) {
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
    // SAFETY: [taken] nothing is promised of null.
    let _foreign = unsafe { worker.enter_foreign(std::ptr::null()) };
    if let Err(payload) = catch(f) {
        worker.shared().handle_panic(payload);
    }
}
