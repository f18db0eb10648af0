//! Origins: what all jobs on a helper's deque stem from, so that who waits for that may take them.
//!
//! The states, both sides' steps, the race and the proof are in
//! `docs/protocols/waiting.md`.

use crate::completion::Completion;
use crate::process::Process;
use crate::sync::{AtomicUsize, Ordering, pause};

/// The job that a helper took from another thread and is running now.
///
/// Invariant: while it names a job, every job on the helper's deque stems from
/// that job. Written by the helper, but for [`TAKING`], which the job's owner
/// sets and unsets.
#[derive(Debug, Default)]
pub(crate) struct Origin(AtomicUsize);

/// Names what a helper took from another thread: by the flag that its owner waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobId(usize);

impl JobId {
    /// `done` is null for what no owner takes jobs of.
    pub(crate) fn of(done: *const Completion) -> Self {
        const { assert!(align_of::<Completion>() > 1, "the lowest bit is no part of the name") };
        Self(done.addr())
    }
}

/// The job's owner is taking a job from the helper's deque; the helper must stay at its job.
const TAKING: usize = 1;

impl Origin {
    /// Sets what the helper is at; returns what it was at. Only the helper may call this.
    ///
    /// Waits for an owner that is taking a job from the deque, which is a
    /// matter of a few instructions. `here` is the helper's process: a copy of
    /// the helper in a forked child has no such owner to wait for.
    pub(crate) fn change(&self, next: JobId, here: &Process) -> JobId {
        // Relaxed: only the helper changes what the word names.
        let now = self.0.load(Ordering::Relaxed) & !TAKING;
        let mut looks = 0;
        // [origin] Release: an owner that finds its job here finds the deque as
        // it was then, or later. Acquire: what an owner took was taken before.
        while self
            .0
            .compare_exchange_weak(now, next.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            if !here.is_here() {
                // Relaxed: no other thread has this word there.
                self.0.store(next.0, Ordering::Relaxed);
                break;
            }
            looks += 1;
            pause(looks);
        }
        JobId(now)
    }

    /// Calls `take` while the helper is at this job; `None` where it is not.
    ///
    /// Only the job's owner may call this: nobody else knows its name, and
    /// while it waits for the job, no other job has that name.
    pub(crate) fn while_at<R>(&self, job: JobId, take: impl FnOnce() -> Option<R>) -> Option<R> {
        // [origin] Acquire: the deque is as it was when the helper began the job, or later.
        self.0
            .compare_exchange(job.0, job.0 | TAKING, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        let taken = take();
        // [origin] Release: what was taken was taken before the helper goes on.
        self.0.store(job.0, Ordering::Release);
        taken
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::process::tests::{FINE, exit_in_child};

    #[test]
    fn jobs_are_taken_only_while_the_helper_is_at_the_owners_job() {
        let flags = [Completion::new(), Completion::new()];
        let [one, other] = flags.each_ref().map(|done| JobId::of(done));
        let (origin, here) = (Origin::default(), Process::new());
        assert_eq!(origin.while_at(one, || Some(1)), None);
        assert_eq!(origin.change(one, &here), JobId::of(std::ptr::null()));
        assert_eq!(origin.while_at(one, || Some(1)), Some(1));
        assert_eq!(origin.while_at(one, || None::<u8>), None);
        assert_eq!(origin.change(other, &here), one);
        assert_eq!(origin.while_at(one, || Some(1)), None);
        assert_eq!(origin.while_at(other, || Some(2)), Some(2));
    }
    #[test]
    fn a_forked_copy_waits_for_no_owner() {
        let flags = [Completion::new(), Completion::new()];
        let [one, other] = flags.each_ref().map(|done| JobId::of(done));
        let (origin, here) = (Origin::default(), Process::new());
        origin.change(one, &here);
        let exit = origin.while_at(one, || {
            // The helper is here at this moment.
            Some(exit_in_child(|| origin.change(other, &here) == one))
        });
        assert_eq!(exit, Some(FINE));
        assert_eq!(origin.change(other, &here), one);
    }
}
