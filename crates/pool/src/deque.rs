//! Queues of jobs: a deque per thread that works, an injector per node.
//!
//! The only user of `crossbeam-deque`, so that another deque can take its
//! place. Jobs are taken one at a time and never in batches: a job that was
//! stolen has been started by the thief (`docs/protocols/waiting.md`).

use crossbeam_deque as imp;

use crate::task::JobRef;

/// The end of a deque that its owner works at: last in, first out.
pub(crate) struct Deque(imp::Worker<JobRef>);

/// The end of a deque that others steal from: first in, first out.
#[derive(Clone)]
pub(crate) struct Stealer(imp::Stealer<JobRef>);

/// A queue that anyone may push to and take from: first in, first out.
pub(crate) struct Injector(imp::Injector<JobRef>);

impl Deque {
    pub(crate) fn new() -> Self {
        Self(imp::Worker::new_lifo())
    }

    pub(crate) fn stealer(&self) -> Stealer {
        Stealer(self.0.stealer())
    }

    pub(crate) fn push(&self, job: JobRef) {
        self.0.push(job);
    }

    pub(crate) fn pop(&self) -> Option<JobRef> {
        self.0.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Stealer {
    /// Takes the oldest job.
    pub(crate) fn steal(&self) -> Option<JobRef> {
        until_decided(|| self.0.steal())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Injector {
    pub(crate) fn new() -> Self {
        Self(imp::Injector::new())
    }

    pub(crate) fn push(&self, job: JobRef) {
        self.0.push(job);
    }

    /// Takes the oldest job.
    pub(crate) fn steal(&self) -> Option<JobRef> {
        until_decided(|| self.0.steal())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Tries again while a steal lost a race, which means that another thread won it.
fn until_decided(mut steal: impl FnMut() -> imp::Steal<JobRef>) -> Option<JobRef> {
    loop {
        match steal() {
            imp::Steal::Success(job) => return Some(job),
            imp::Steal::Empty => return None,
            imp::Steal::Retry => std::hint::spin_loop(),
        }
    }
}
