//! Stopping a job before its end: a token that anybody may hold, and a deadline.

use std::sync::Arc;
use std::time::Instant;

use crate::sync::{AtomicBool, AtomicU8, Ordering};

/// Asks the jobs that were given it to stop; clones are the same token.
///
/// A job looks at it before each chunk. A chunk that has begun runs to its
/// end, so [`Job::max_chunk`](crate::Job::max_chunk) bounds how late a job
/// stops. A token stays cancelled: the next job needs a new one. `Send` and
/// `Sync`.
///
/// # Examples
///
/// ```
/// use firsttouch_job::{CancelToken, Job, JobError};
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let token = CancelToken::new();
/// let job = Job::new(0, 1_000_000).max_chunk(1000).cancel(&token);
/// let stopped = job.run(&pool, |chunk| {
///     if chunk.start == 0 {
///         token.cancel();
///     }
/// });
/// if let Err(JobError::Stopped(stopped)) = stopped {
///     println!("{} of {} units", stopped.report.completed, stopped.report.size);
/// }
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Returns a token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the jobs that have this token to stop; returns at once.
    ///
    /// # Memory ordering
    ///
    /// What the caller wrote before is visible to whoever finds the token
    /// cancelled, and to the caller of a job that it stopped.
    pub fn cancel(&self) {
        // [cancel] Release: what the caller wrote before is visible to who finds it cancelled.
        self.0.store(true, Ordering::Release);
    }

    /// Returns whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // [cancel] Acquire, for the Release in `cancel`.
        self.0.load(Ordering::Acquire)
    }

    /// Whether the other is a clone of this one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Why a job stopped before its end, though no chunk failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// Its token was cancelled.
    Cancelled,
    /// Its deadline passed.
    Deadline,
}

impl StopReason {
    /// How an error's message begins.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Cancelled => "the job was cancelled",
            Self::Deadline => "the job's deadline passed",
        }
    }
}

/// What may stop a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopWhen {
    /// The caller's own, and that of a handle.
    pub(crate) tokens: [Option<CancelToken>; 2],
    pub(crate) deadline: Option<Instant>,
}

impl StopWhen {
    /// Whether there is nothing to look at.
    pub(crate) fn is_never(&self) -> bool {
        self.deadline.is_none() && self.tokens.iter().all(Option::is_none)
    }

    /// The token of the job's handle, where it was started.
    pub(crate) fn handle(&self) -> Option<&CancelToken> {
        self.tokens[1].as_ref()
    }

    /// Looks whether the job is to stop now.
    pub(crate) fn look(&self) -> Option<StopReason> {
        if self.tokens.iter().flatten().any(CancelToken::is_cancelled) {
            return Some(StopReason::Cancelled);
        }
        let late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        late.then_some(StopReason::Deadline)
    }
}

/// Whether a job was stopped, and why: the first reason that a thread found.
///
/// Relaxed: it is read when all threads are joined.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicU8);

impl Stop {
    pub(crate) fn set(&self, reason: StopReason) {
        let code = 1 + reason as u8;
        let _ = self.0.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn reason(&self) -> Option<StopReason> {
        let all = [StopReason::Cancelled, StopReason::Deadline];
        let code = self.0.load(Ordering::Relaxed);
        all.into_iter().find(|&reason| 1 + reason as u8 == code)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn clones_are_one_token_and_it_stays_cancelled() {
        let (token, other) = (CancelToken::new(), CancelToken::new());
        let clone = token.clone();
        assert!(!token.is_cancelled());
        clone.cancel();
        assert!(token.is_cancelled() && clone.is_cancelled() && !other.is_cancelled());
        assert!(token.is_same(&clone) && !token.is_same(&other));
    }

    #[test]
    fn the_first_reason_is_kept() {
        for (first, second) in [
            (StopReason::Cancelled, StopReason::Deadline),
            (StopReason::Deadline, StopReason::Cancelled),
        ] {
            let stop = Stop::default();
            assert_eq!(stop.reason(), None);
            stop.set(first);
            stop.set(second);
            assert_eq!(stop.reason(), Some(first));
        }
    }

    #[test]
    fn any_token_and_a_past_deadline_stop() {
        let token = CancelToken::new();
        let never = StopWhen::default();
        assert!(never.is_never() && never.look().is_none());
        let second = StopWhen { tokens: [None, Some(token.clone())], deadline: None };
        assert!(!second.is_never() && second.look().is_none());
        token.cancel();
        assert_eq!(second.look(), Some(StopReason::Cancelled));
        let past = StopWhen { deadline: Some(Instant::now()), ..StopWhen::default() };
        assert_eq!(past.look(), Some(StopReason::Deadline));
        let later = Instant::now() + Duration::from_secs(3600);
        let later = StopWhen { deadline: Some(later), ..StopWhen::default() };
        assert!(!later.is_never() && later.look().is_none());
    }
}
