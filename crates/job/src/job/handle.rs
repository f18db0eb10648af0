//! Jobs that run while their starter does something else.
//!
//! The phases, and why nobody who waits sleeps on, are in `docs/protocols/jobs.md`: `[ended]`.

pub(crate) mod inside;

use std::convert::Infallible;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firsttouch_pool::{EventCount, Pool};

use crate::job::Job;
use crate::job::cancel::CancelToken;
use crate::job::failure::RunError;
use crate::job::progress::{Progress, ProgressSnapshot, Stall};
use crate::job::undo::{Payload, catch, discard};
use crate::sync::{Mutex, ThreadId, current, lock};
use crate::{Chunk, JobReport};

/// What a job comes to.
pub(crate) type Ended<E> = Result<JobReport, RunError<E>>;

/// Runs a job on its pool.
pub(crate) type Body<E> = Box<dyn FnOnce(&Pool) -> Ended<E> + Send>;

/// A job that was started; made by [`Job::start`] and the like.
///
/// A helper of the pool becomes the job's caller. Where none has begun it by
/// the time that somebody [waits](Self::wait), the waiting thread does, so a
/// wait is right anywhere, in a helper too.
///
/// Dropping the handle leaves the job to run to its end, as dropping a
/// [`std::thread::JoinHandle`] does; a panic in it then goes to the pool's
/// [panic handler](firsttouch_pool::PoolBuilder::panic_handler). The job keeps
/// its pool alive. [`cancel`](Self::cancel) first, to end it soon. `Send` and `Sync`.
///
/// With the feature `future` it is a [`Future`] of the same result, for any executor.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use firsttouch_job::Job;
/// use firsttouch_pool::Pool;
///
/// let pool = Arc::new(Pool::new()?);
/// let handle = Job::new(0, 100_000).start(&pool, |chunk| {
///     std::hint::black_box(chunk.range().sum::<usize>());
/// });
/// println!("{:.0} % already", handle.progress().fraction() * 100.0);
/// assert_eq!(handle.wait()?.completed, 100_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the handle lets the job run on, and loses what it comes to"]
pub struct JobHandle<E = Infallible> {
    shared: Arc<Shared<E>>,
    token: CancelToken,
    progress: Progress,
}

struct Shared<E> {
    state: Mutex<State<E>>,
    /// Notified when the job has ended.
    ended: EventCount,
}

struct State<E> {
    phase: Phase<E>,
    /// Whether the handle was dropped.
    is_abandoned: bool,
    #[cfg(feature = "future")]
    waker: Option<std::task::Waker>,
}

enum Phase<E> {
    Queued(Arc<Pool>, Body<E>),
    /// With the thread that is the job's caller.
    Running(ThreadId),
    Ended(Result<Ended<E>, Payload>),
    /// The result was given out.
    Taken,
}

impl<E> JobHandle<E> {
    /// A job that nobody has begun: its handle, and what begins it where nobody has.
    pub(crate) fn queued(
        pool: Arc<Pool>,
        body: Body<E>,
        token: CancelToken,
        progress: Progress,
    ) -> (Self, impl FnOnce()) {
        let state = State {
            phase: Phase::Queued(pool, body),
            is_abandoned: false,
            #[cfg(feature = "future")]
            waker: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), ended: EventCount::new() });
        let queued = Arc::clone(&shared);
        (Self { shared, token, progress }, move || queued.run_if_queued())
    }

    /// Waits until the job has ended, and returns what it came to; runs it where nobody has begun it.
    ///
    /// A helper that waits takes part in calls that require it meanwhile.
    ///
    /// # Errors
    ///
    /// As for the function that was started: [`Job::run`], [`Job::try_run`].
    ///
    /// # Panics
    ///
    /// - With the job's panic.
    /// - Where the calling thread is in one of the job's chunks, or is the
    ///   job's caller: it would wait for itself.
    /// - Where a poll has given out the result (with the feature `future`).
    pub fn wait(self) -> Ended<E> {
        self.shared.run_if_queued();
        self.refuse_wait_inside();
        self.shared.ended.wait_until(None, || self.is_done());
        match self.shared.take() {
            Some(ended) => finish(ended),
            None => unreachable!("the job has ended"),
        }
    }

    /// Waits for no longer than this; gives the handle back where the job has not ended by then.
    ///
    /// # Errors
    ///
    /// The handle, where the job goes on.
    ///
    /// # Panics
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(self, timeout: Duration) -> Result<Ended<E>, Self> {
        self.refuse_wait_inside();
        let deadline = Instant::now().checked_add(timeout);
        self.shared.ended.wait_until(deadline, || self.is_done());
        match self.shared.take() {
            Some(ended) => Ok(finish(ended)),
            None => Err(self),
        }
    }

    /// Returns whether the job has ended, so that a wait returns at once.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(lock(&self.shared.state).phase, Phase::Ended(_) | Phase::Taken)
    }

    /// Asks the job to stop, as [`CancelToken::cancel`] does; returns at once.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    fn refuse_wait_inside(&self) {
        assert!(
            !self.shared.is_on_own_thread() && !inside::is_inside(&self.token),
            "a job's handle is waited for inside of that job, which would never end; wait outside \
             of it, or only look with is_done"
        );
    }

    /// Returns how far the job has come.
    #[must_use]
    pub fn progress(&self) -> ProgressSnapshot {
        self.progress.snapshot()
    }

    /// Lists the chunks that have stalled; see [`Progress::stalls`].
    #[must_use]
    pub fn stalls(&self) -> Vec<Stall> {
        self.progress.stalls()
    }
}

impl<E> Shared<E> {
    /// Becomes the job's caller, where nobody is.
    fn run_if_queued(&self) {
        let (pool, body) = {
            let mut state = lock(&self.state);
            let running = Phase::Running(current().id());
            match std::mem::replace(&mut state.phase, running) {
                Phase::Queued(pool, body) => (pool, body),
                other => {
                    state.phase = other;
                    return;
                }
            }
        };
        let ended = catch(|| body(&pool));
        let abandoned = {
            let mut state = lock(&self.state);
            if state.is_abandoned {
                state.phase = Phase::Taken;
                Some(ended)
            } else {
                state.phase = Phase::Ended(ended);
                None
            }
        };
        // [ended] Before the task's waker, which is the executor's code and may panic.
        self.ended.notify();
        self.wake();
        // Where this is the last of it, its helpers are joined, and one of them may have waited for the job.
        drop(pool);
        match abandoned {
            // Spawned and waited for by nobody: the pool's panic handler gets it.
            Some(Err(payload)) => resume_unwind(payload),
            Some(Ok(ended)) => drop(ended),
            None => {}
        }
    }

    /// Wakes the task that polled last.
    fn wake(&self) {
        #[cfg(feature = "future")]
        {
            let waker = lock(&self.state).waker.take();
            // Outside of the lock: it is the executor's code.
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// What the job came to, once; `None` while it has not ended.
    fn take(&self) -> Option<Result<Ended<E>, Payload>> {
        self.take_or(|_| ())
    }

    /// As [`take`](Self::take); where the job has not ended, calls `not_yet` under the lock.
    fn take_or(&self, not_yet: impl FnOnce(&mut State<E>)) -> Option<Result<Ended<E>, Payload>> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut state.phase, Phase::Taken) {
            Phase::Ended(ended) => Some(ended),
            Phase::Taken => {
                // Before the panic, which drops the handle.
                drop(state);
                panic!(
                    "a job's handle is waited for or polled after a poll was ready, which gave out \
                     the result; keep that, and drop the handle"
                )
            }
            other => {
                state.phase = other;
                not_yet(&mut state);
                None
            }
        }
    }

    /// Whether the calling thread is the job's caller.
    fn is_on_own_thread(&self) -> bool {
        let own = current().id();
        matches!(lock(&self.state).phase, Phase::Running(id) if id == own)
    }
}

/// Gives out what a job came to.
fn finish<E>(ended: Result<Ended<E>, Payload>) -> Ended<E> {
    ended.unwrap_or_else(|payload| resume_unwind(payload))
}

impl<E> Drop for JobHandle<E> {
    fn drop(&mut self) {
        let left = {
            let mut state = lock(&self.shared.state);
            state.is_abandoned = true;
            match std::mem::replace(&mut state.phase, Phase::Taken) {
                Phase::Ended(ended) => Some(ended),
                other => {
                    state.phase = other;
                    None
                }
            }
        };
        if let Some(Err(payload)) = left {
            tracing::warn!("a job panicked, and its handle was dropped without a look at it");
            discard(payload);
        }
    }
}

impl<E> fmt::Debug for JobHandle<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle")
            .field("is_done", &self.is_done())
            .field("progress", &self.progress())
            .finish()
    }
}

#[cfg(feature = "future")]
impl<E> Future for JobHandle<E> {
    type Output = Ended<E>;

    /// Never runs the job itself, so that an executor is not held up.
    fn poll(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Ended<E>> {
        let mut earlier = None;
        let ended = self.shared.take_or(|state| {
            earlier = state.waker.replace(context.waker().clone());
        });
        // Outside of the lock: its destructor is the executor's.
        discard(earlier);
        match ended {
            Some(ended) => std::task::Poll::Ready(finish(ended)),
            None => std::task::Poll::Pending,
        }
    }
}

impl<S: Send + 'static> Job<S> {
    /// Has a helper run the job by `run`, and returns its handle.
    pub(crate) fn detach<E: Send + 'static>(
        mut self,
        pool: &Arc<Pool>,
        run: impl FnOnce(Self, &Pool) -> Ended<E> + Send + 'static,
    ) -> JobHandle<E> {
        let token = CancelToken::new();
        self.controls_mut().stop.tokens[1] = Some(token.clone());
        let progress = self.controls_mut().progress.get_or_insert_default().clone();
        let body = Box::new(move |pool: &Pool| run(self, pool));
        let (handle, begin) = JobHandle::queued(Arc::clone(pool), body, token, progress);
        pool.spawn(begin);
        handle
    }
}

impl Job {
    /// Starts the job on a helper of the pool, and returns at once; otherwise as [`run`](Self::run).
    ///
    /// The helper stands in for the caller: it takes part, and the report
    /// counts it. See [`JobHandle`] for waiting, cancelling and dropping.
    pub fn start(self, pool: &Arc<Pool>, f: impl Fn(&Chunk) + Send + Sync + 'static) -> JobHandle {
        self.try_start(pool, move |chunk| {
            f(chunk);
            Ok(())
        })
    }

    /// Starts the job on a helper of the pool, and returns at once; otherwise as [`try_run`](Self::try_run).
    pub fn try_start<E: Send + 'static>(
        self,
        pool: &Arc<Pool>,
        f: impl Fn(&Chunk) -> Result<(), E> + Send + Sync + 'static,
    ) -> JobHandle<E> {
        self.detach(pool, move |job, pool| job.try_run(pool, f))
    }

    /// Starts the job on a helper of the pool, and returns at once; otherwise as [`try_run_with_undo`](Self::try_run_with_undo).
    pub fn try_start_with_undo<E: Send + 'static>(
        self,
        pool: &Arc<Pool>,
        f: impl Fn(&Chunk) -> Result<(), E> + Send + Sync + 'static,
        undo: impl Fn(&Chunk) + Send + Sync + 'static,
    ) -> JobHandle<E> {
        self.detach(pool, move |job, pool| job.try_run_with_undo(pool, f, undo))
    }
}

impl<T: Send + Sync + 'static> Job<crate::Pieces<T>> {
    /// Starts the job on a helper of the pool, and returns at once; otherwise as [`run`](Self::run).
    pub fn start(
        self,
        pool: &Arc<Pool>,
        f: impl Fn(&T, &Chunk) + Send + Sync + 'static,
    ) -> JobHandle {
        self.try_start(pool, move |item, chunk| {
            f(item, chunk);
            Ok(())
        })
    }

    /// Starts the job on a helper of the pool, and returns at once; otherwise as [`try_run`](Self::try_run).
    pub fn try_start<E: Send + 'static>(
        self,
        pool: &Arc<Pool>,
        f: impl Fn(&T, &Chunk) -> Result<(), E> + Send + Sync + 'static,
    ) -> JobHandle<E> {
        self.detach(pool, move |job, pool| job.try_run(pool, f))
    }

    /// Starts the job on a helper of the pool, and returns at once; otherwise as [`try_run_with_undo`](Self::try_run_with_undo).
    pub fn try_start_with_undo<E: Send + 'static>(
        self,
        pool: &Arc<Pool>,
        f: impl Fn(&T, &Chunk) -> Result<(), E> + Send + Sync + 'static,
        undo: impl Fn(&T, &Chunk) + Send + Sync + 'static,
    ) -> JobHandle<E> {
        self.detach(pool, move |job, pool| job.try_run_with_undo(pool, f, undo))
    }
}
