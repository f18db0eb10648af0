//! `join`: two closures, perhaps at once.

use std::panic::resume_unwind;

use super::JobRef;
use crate::completion::Completion;
use crate::panic::{Payload, catch, discard};
use crate::sync::UnsafeCell;
use crate::worker::{NO_SCOPE, Worker, wait};

/// Runs both closures and returns both results; the second may be stolen meanwhile.
pub(crate) fn join<A, B, RA, RB>(worker: &Worker, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    // A scope further down this stack must not push on the deque above `b`.
    let _frame = worker.enter(NO_SCOPE);
    let job = StackJob::new(b);
    // SAFETY: [frame] this function does not return, nor unwind, before the
    // job was popped here or has completed.
    worker.push(unsafe { job.as_job_ref() });
    let a = catch(a);
    let b = match worker.pop() {
        Some(popped) => {
            // Everything pushed above it has been popped by the frame that pushed it.
            debug_assert!(popped.is(job.address()), "what is on top of the deque is this job");
            job.run_inline()
        }
        None => {
            wait(&job.done, || false);
            job.into_result()
        }
    };
    match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(payload), b) => {
            discard(b);
            resume_unwind(payload)
        }
        (Ok(a), Err(payload)) => {
            discard(a);
            resume_unwind(payload)
        }
    }
}

/// A job in the frame of the thread that waits for it.
struct StackJob<F, R> {
    /// Invariant: taken by whoever runs the job, which happens once.
    f: UnsafeCell<Option<F>>,
    /// Invariant: written by the thief before completion, read by the owner after it.
    result: UnsafeCell<Option<Result<R, Payload>>>,
    done: Completion,
}

impl<F: FnOnce() -> R + Send, R: Send> StackJob<F, R> {
    fn new(f: F) -> Self {
        Self { f: UnsafeCell::new(Some(f)), result: UnsafeCell::new(None), done: Completion::new() }
    }

    fn address(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    /// Refers to this job in a queue.
    ///
    /// # Safety
    ///
    /// - `[frame]` The job stays where it is until the reference was taken
    ///   back, or the job has completed.
    unsafe fn as_job_ref(&self) -> JobRef {
        // SAFETY: [job] by [frame], and the closure and its result are Send.
        unsafe { JobRef::new(self.address(), Self::run_stolen) }
    }

    /// Runs the job on the thief.
    ///
    /// # Safety
    ///
    /// - `[job]` as in [`JobRef::new`].
    unsafe fn run_stolen(job: *const (), worker: &Worker) {
        let this: *const Self = job.cast();
        {
            // SAFETY: [job] the frame is alive; the reference ends before completion.
            let job = unsafe { &*this };
            let _frame = worker.enter(NO_SCOPE);
            let result = job.call();
            job.result.with_mut(|place| {
                // SAFETY: the owner looks only after completion.
                unsafe { *place = Some(result) }
            });
        }
        // SAFETY: [job].
        let done = unsafe { &raw const (*this).done };
        // SAFETY: [alive] the owner waits for it. [once] the job runs once.
        unsafe { Completion::complete(done) };
    }

    /// Runs the job on its owner, who took it back.
    fn run_inline(&self) -> Result<R, Payload> {
        self.call()
    }

    fn call(&self) -> Result<R, Payload> {
        let f = self.f.with_mut(|f| {
            // SAFETY: whoever runs the job is the only one to look at the closure.
            unsafe { (*f).take() }
        });
        catch(f.expect("a job runs once"))
    }

    /// Returns the result of a job that has completed elsewhere.
    fn into_result(self) -> Result<R, Payload> {
        self.result.into_inner().expect("a job that has completed has a result")
    }
}
