//! `join`: two closures, perhaps at once.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::resume_unwind;

use super::JobRef;
use crate::completion::Completion;
use crate::panic::{Payload, catch, discard};
use crate::queue::Taken;
use crate::sync::{AtomicUsize, Ordering, UnsafeCell};
use crate::wait::wait;
use crate::worker::Worker;

/// Runs both here, one after the other, as a worker does that [has enough](Worker::has_enough).
#[inline(always)]
pub(crate) fn join_in_turn<RA, RB>(a: impl FnOnce() -> RA, b: impl FnOnce() -> RB) -> (RA, RB) {
    let a = match catch(a) {
        Ok(a) => a,
        Err(payload) => run_and_resume(payload, b),
    };
    match catch(b) {
        Ok(b) => (a, b),
        Err(payload) => drop_and_resume(payload, a),
    }
}

/// Runs the second half all the same, and resumes the first half's panic.
#[cold]
#[inline(never)]
fn run_and_resume<RB>(payload: Payload, b: impl FnOnce() -> RB) -> ! {
    discard(catch(b));
    resume_unwind(payload)
}

/// Drops the first half's result, and resumes the second half's panic.
#[cold]
#[inline(never)]
fn drop_and_resume<RA>(payload: Payload, a: RA) -> ! {
    // Not while the payload unwinds: a second panic would abort.
    discard(a);
    resume_unwind(payload)
}

/// Runs `a` here, and `b` here too unless another thread has taken it meanwhile.
#[inline]
pub(crate) fn join<A, B, RA, RB>(worker: &Worker<'_>, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let mut half = SecondHalf::new(b);
    // SAFETY: [frame] this function does not return, nor unwind, before the
    // job was taken back here or has completed.
    worker.push(unsafe { half.as_job_ref() });
    let a = catch(a);
    let b = match worker.take_back(half.address()) {
        // SAFETY: [once] the job was taken back, so nobody else runs it.
        Taken::Back => catch(unsafe { half.take() }),
        Taken::Stolen => {
            // SAFETY: [stolen] another thread has started it.
            let b = unsafe { half.wait(worker) };
            // SAFETY: nobody uses it after completion, and it is dropped once.
            unsafe { ManuallyDrop::drop(&mut half.done) };
            b
        }
    };
    match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        (Ok(a), Err(payload)) => drop_and_resume(payload, a),
        (Err(payload), b) => drop_and_resume(payload, b),
    }
}

/// The second half of a join, in its owner's stack frame.
struct SecondHalf<F, R> {
    /// Taken by whoever runs the half.
    f: UnsafeCell<MaybeUninit<F>>,
    /// Written by a thief before completion; read by the owner after.
    result: UnsafeCell<MaybeUninit<Result<R, Payload>>>,
    /// The helper that has taken the job, counted from 1, once it says so.
    thief: AtomicUsize,
    /// Dropped where the owner waited; else there is nothing to drop in it.
    done: ManuallyDrop<Completion>,
}

impl<F: FnOnce() -> R + Send, R: Send> SecondHalf<F, R> {
    #[inline]
    fn new(f: F) -> Self {
        Self {
            f: UnsafeCell::new(MaybeUninit::new(f)),
            result: UnsafeCell::new(MaybeUninit::uninit()),
            thief: AtomicUsize::new(0),
            done: ManuallyDrop::new(Completion::new()),
        }
    }

    #[inline]
    fn address(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    /// Refers to this as a job.
    ///
    /// # Safety
    ///
    /// - `[frame]` This stays where it is until the job was taken back from the
    ///   queue or has completed.
    #[inline]
    unsafe fn as_job_ref(&self) -> JobRef {
        // SAFETY: [job] by [frame], and the closure and its result are Send.
        unsafe { JobRef::new(self.address(), Self::run_stolen) }
    }

    /// Takes the closure out, to call it.
    ///
    /// # Safety
    ///
    /// - `[once]` Nobody else calls this for this half.
    #[inline]
    unsafe fn take(&self) -> F {
        self.f.with_mut(|f| {
            // SAFETY: [once] the closure is moved out of its place once.
            unsafe { f.cast::<F>().read() }
        })
    }

    /// Runs the half on a thief.
    ///
    /// # Safety
    ///
    /// - `[job]` as in [`JobRef::new`].
    unsafe fn run_stolen(job: *const (), worker: &Worker<'_>) {
        let this: *const Self = job.cast();
        {
            // SAFETY: [job] the frame is alive; the reference ends before completion.
            let half = unsafe { &*this };
            // SAFETY: [taken] the flag is the owner's, who waits for this; a
            // job is taken from others only where none is left here.
            let _foreign = unsafe { worker.enter_foreign(&raw const *half.done) };
            // Relaxed: a hint; the helper's origin says whether it is so.
            half.thief.store(worker.helper.map_or(0, |helper| helper + 1), Ordering::Relaxed);
            // SAFETY: [once] a job runs once.
            let result = catch(unsafe { half.take() });
            half.result.with_mut(|place| {
                // SAFETY: the owner looks only after completion.
                unsafe { place.cast::<Result<R, Payload>>().write(result) }
            });
        }
        // SAFETY: [job].
        let done = unsafe { &raw const (*this).done }.cast();
        // SAFETY: [alive] the owner waits for it. [once] the job runs once.
        unsafe { Completion::complete(done) };
    }

    /// Waits for the thief, and returns its result.
    ///
    /// # Safety
    ///
    /// - `[stolen]` Another thread has taken the job from the queue, and this is called once.
    #[inline(never)]
    unsafe fn wait(&self, worker: &Worker<'_>) -> Result<R, Payload> {
        wait(worker, &self.done, || {
            // Relaxed: see `run_stolen`.
            let thief = self.thief.load(Ordering::Relaxed).checked_sub(1);
            thief.is_some_and(|thief| worker.help(thief, &self.done))
        });
        self.result.with(|result| {
            // SAFETY: [stolen] the thief wrote it before completion, and it is read once.
            unsafe { result.cast::<Result<R, Payload>>().read() }
        })
    }
}
