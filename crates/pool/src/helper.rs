//! A helper: one thread of the pool, and the loop it runs.

use firsttouch_topology::NodeId;

use crate::board::Looking;
use crate::call::CallRef;
use crate::pin::Pinned;
use crate::sleep::Slept;
use crate::task::JobRef;
use crate::worker::Worker;

/// One helper thread as the pool started it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Helper {
    /// Its place in [`Pool::helpers`](crate::Pool::helpers).
    pub index: usize,
    /// The node it works for.
    pub node: NodeId,
    /// What keeps it there.
    pub pinned: Pinned,
}

/// Something for a helper with nothing else to do.
enum Work {
    Call(CallRef),
    Job(JobRef),
}

/// Runs the pool's work until the pool shuts down and no work is left.
pub(crate) fn run(worker: &Worker, helper: usize) {
    let _current = worker.make_current();
    let shared = worker.shared();
    let mut slept = false;
    loop {
        // Before the look at the queues: what was queued before shutdown is
        // seen by the look, and runs.
        let last_look = shared.shutdown.has_begun();
        if let Some(work) = find(worker, helper) {
            // The wake-up that brought this helper may have been meant for
            // other work than it found; it passes it on.
            if std::mem::take(&mut slept) && shared.has_jobs() {
                shared.wake_one(worker.node);
            }
            match work {
                // SAFETY: [part] it comes from a board.
                Work::Call(call) => unsafe { call.take_part(helper) },
                // SAFETY: [taken] it comes from a queue.
                Work::Job(job) => unsafe { job.run(worker) },
            }
        } else if last_look {
            break;
        } else {
            let arrived =
                || shared.has_work_for(worker.node, helper) || shared.shutdown.has_begun();
            match shared.sleep.sleep(worker.node, helper, arrived) {
                Slept::WorkArrived | Slept::Unparked => slept = true,
            }
        }
    }
    // SAFETY: [once] this helper's loop ends here, and once.
    unsafe { shared.ended(helper) };
}

/// Looks for work: own deque, own node's board, own node's injector and deques, then other nodes by distance.
fn find(worker: &Worker, helper: usize) -> Option<Work> {
    let shared = worker.shared();
    if let Some(job) = worker.pop() {
        shared.work[helper].tally.own();
        return Some(Work::Job(job));
    }
    if let Some(call) = shared.accept(worker.node, helper, Looking::ForAny) {
        shared.work[helper].tally.call();
        return Some(Work::Call(call));
    }
    let mut rotation = worker.rotation.get();
    let start = rotation.next();
    worker.rotation.set(rotation);
    shared.steal(worker.node, helper, start).map(Work::Job)
}
