//! Tasks: closures that any thread of the pool may run, once.

mod blocks;
mod elsewhere;
mod join;
mod scope;
mod scope_options;
mod spawn;

pub(crate) use blocks::Blocks;
pub(crate) use join::{join, join_in_turn};
pub use scope::Scope;
pub(crate) use scope::scope;
pub use scope_options::ScopeOptions;
pub(crate) use spawn::spawn;

use crate::worker::Worker;

/// A job in a queue: a pointer to it and the function that runs it.
///
/// Whoever takes it from a queue owns it, and must run it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobRef {
    job: *const (),
    run: unsafe fn(*const (), &Worker<'_>),
}

// SAFETY: the kinds of jobs hold closures that are Send, and nothing that is bound to a thread.
unsafe impl Send for JobRef {}

impl JobRef {
    /// Refers to a job.
    ///
    /// # Safety
    ///
    /// - `[job]` `job` may be passed to `run` once, from any thread, at any
    ///   time until the reference is taken back from the queue.
    pub(crate) unsafe fn new(job: *const (), run: unsafe fn(*const (), &Worker<'_>)) -> Self {
        Self { job, run }
    }

    /// Whether this refers to the job at that address.
    pub(crate) fn is(&self, job: *const ()) -> bool {
        std::ptr::eq(self.job, job)
    }

    /// Runs the job. Never unwinds: each kind of job keeps its panic for whoever it belongs to.
    ///
    /// # Safety
    ///
    /// - `[taken]` The caller took this reference from a queue and uses it only here.
    #[inline]
    pub(crate) unsafe fn run(self, worker: &Worker<'_>) {
        // SAFETY: [taken].
        unsafe { self.run_from(worker, None) }
    }

    /// Runs the job as [`run`](Self::run) does, which comes from the deque of a worker of this node.
    ///
    /// # Safety
    ///
    /// - `[taken]` as in [`run`](Self::run).
    #[inline]
    pub(crate) unsafe fn run_from(self, worker: &Worker<'_>, node: Option<usize>) {
        worker.job_from.set(node);
        // SAFETY: [job] was promised when the reference was made; [taken] makes this the one run.
        unsafe { (self.run)(self.job, worker) }
    }
}
