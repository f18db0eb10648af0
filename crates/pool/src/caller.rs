//! Who makes a fork-join call: a worker of the pool, or a thread from outside.
//!
//! A thread from outside becomes a worker for its own part alone, in which it may queue
//! jobs. That takes a tenth of a short call; so it comes after the tickets, and ends before the
//! wait, while helpers are on their way.

use std::mem::needs_drop;
use std::sync::Arc;

use crate::completion::Completion;
use crate::cpus::CpuNote;
use crate::current::enter;
use crate::shared::Shared;
use crate::steal::Steal;
use crate::wait::{wait, wait_outside};
use crate::worker::{Frame, NO_SCOPE, Worker};

/// The thread that makes a call.
pub(crate) struct Caller<'c> {
    shared: &'c Arc<Shared>,
    /// `None` for a thread from outside.
    worker: Option<&'c Worker<'c>>,
    cpu: &'c CpuNote<'c>,
}

impl<'c> Caller<'c> {
    /// The calling thread, which is this worker.
    #[inline]
    pub(crate) fn worker(worker: &'c Worker<'c>) -> Self {
        Self { shared: worker.shared(), worker: Some(worker), cpu: &worker.cpu }
    }

    /// The calling thread, which is no worker of this pool. `cpu` says nothing; [`Caller::run`] ends what it says later.
    #[inline]
    pub(crate) fn outside(shared: &'c Arc<Shared>, cpu: &'c CpuNote<'c>) -> Self {
        Self { shared, worker: None, cpu }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &'c Arc<Shared> {
        self.shared
    }

    /// Its place among the pool's helpers; `None` where it is none.
    #[inline]
    pub(crate) fn helper(&self) -> Option<usize> {
        self.worker.and_then(|worker| worker.helper)
    }

    /// What it queues jobs under.
    #[inline]
    pub(crate) fn steal(&self) -> Steal {
        self.worker.map_or(self.shared.widest, Worker::steal)
    }

    /// The worker that it is.
    #[inline]
    pub(crate) fn as_worker(&self) -> Option<&'c Worker<'c>> {
        self.worker
    }

    /// Runs its own part, as a worker of the pool.
    #[inline]
    pub(crate) fn run(&self, part: impl FnOnce()) {
        match self.worker {
            Some(_) => part(),
            None => enter(self.shared, |guest| {
                // The guest's from now on, which forgets it where it waits.
                if self.cpu.forget() {
                    guest.note_cpu_of_guest();
                }
                part();
            }),
        }
    }

    /// Drops what it has called, and what that has captured, as a worker of the pool.
    #[inline]
    pub(crate) fn drop_called<S>(&self, share: S) {
        if needs_drop::<S>() {
            self.run(|| drop(share));
        }
    }

    /// Begins a frame in which no scope further down the stack may push, until the guard is dropped.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Frame<'c>> {
        self.worker.map(|worker| worker.enter(NO_SCOPE))
    }

    /// Notes its CPU, as it is about to wake helpers and goes on itself. A helper has done so when it woke up.
    pub(crate) fn note_cpu(&self) {
        if self.helper().is_none() {
            let _ = self.cpu.note();
        }
    }

    /// Waits until its call is done.
    #[inline]
    pub(crate) fn wait(&self, done: &Completion) {
        match self.worker {
            Some(worker) => wait(worker, done, || false),
            None => wait_outside(self.shared, done),
        }
    }
}
