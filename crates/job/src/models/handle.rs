//! Handles: a job is run once, whoever waits is woken, and what it came to is somebody's.

use std::panic::resume_unwind;
use std::sync::Arc;

use loom::thread;

use super::{Places, check, pool};
use crate::job::cancel::CancelToken;
use crate::job::failure::RunError;
use crate::job::handle::{Ended, JobHandle};
use crate::job::progress::Progress;
use crate::job::undo::catch;
use crate::{JobError, PlanError};

/// A job that nobody has begun, and what begins it.
fn queued(
    body: impl FnOnce() -> Ended<u32> + Send + 'static,
) -> (JobHandle<u32>, impl FnOnce() + Send) {
    let pool = Arc::new(pool());
    JobHandle::queued(pool, Box::new(|_| body()), CancelToken::new(), Progress::new())
}

/// What a job of these models comes to where it does not panic; any error is as good.
fn ended() -> Ended<u32> {
    Err(RunError::Job(JobError::Plan(PlanError::ZeroAlign)))
}

#[test]
fn a_job_is_run_once_and_whoever_waits_sees_what_it_wrote() {
    check(|| {
        let written = Arc::new(Places::new(1));
        let (handle, begin) = queued({
            let written = Arc::clone(&written);
            move || {
                written.count(0);
                ended()
            }
        });
        let helper = thread::spawn(begin);
        // Where the wake-up is lost it sleeps on, which is a deadlock.
        assert!(handle.wait().is_err());
        assert_eq!(written.counts(), [1]);
        helper.join().expect("the job does not panic");
    });
}

/// Tells when it is dropped.
struct Tells(Arc<Places>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.count(0);
    }
}

#[test]
fn a_panic_is_the_helpers_or_is_dropped_with_the_handle() {
    check(|| {
        let dropped = Arc::new(Places::new(1));
        let (handle, begin) = queued({
            let payload = Tells(Arc::clone(&dropped));
            move || resume_unwind(Box::new(payload))
        });
        let helper = thread::spawn(|| catch(begin).err());
        drop(handle);
        let with_handle = dropped.counts();
        let helpers = helper.join().expect("the panic is caught");
        assert_eq!(with_handle, [u32::from(helpers.is_none())]);
        drop(helpers);
        assert_eq!(dropped.counts(), [1]);
    });
}

#[cfg(feature = "future")]
mod polled {
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};

    use firsttouch_pool::EventCount;

    use super::*;
    use crate::sync::{AtomicBool, Ordering::Relaxed};

    /// A task that sleeps until it is woken.
    #[derive(Default)]
    struct Task {
        is_woken: AtomicBool,
        woken: EventCount,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.is_woken.store(true, Relaxed);
            self.woken.notify();
        }
    }

    #[test]
    fn a_task_that_polled_is_woken() {
        check(|| {
            let (handle, begin) = queued(ended);
            let helper = thread::spawn(begin);
            let task = Arc::new(Task::default());
            let waker = Waker::from(Arc::clone(&task));
            let mut handle = pin!(handle);
            let mut poll = || handle.as_mut().poll(&mut Context::from_waker(&waker));
            if poll().is_pending() {
                task.woken.wait_until(None, || task.is_woken.load(Relaxed));
                assert!(poll().is_ready(), "it is woken once the job has ended");
            }
            helper.join().expect("the job does not panic");
        });
    }

    /// A task whose executor is broken.
    struct Broken;

    impl Wake for Broken {
        fn wake(self: Arc<Self>) {
            resume_unwind(Box::new("on purpose"));
        }
    }

    #[test]
    fn a_waker_that_panics_does_not_keep_whoever_waits_from_being_woken() {
        check(|| {
            let (mut handle, begin) = queued(ended);
            let waker = Waker::from(Arc::new(Broken));
            let poll = pin!(&mut handle).poll(&mut Context::from_waker(&waker));
            assert!(matches!(poll, Poll::Pending));
            let helper = thread::spawn(|| drop(catch(begin)));
            // Where nobody has begun the job, this thread runs it, and has the panic.
            let waited = catch(|| handle.wait());
            drop(waited);
            helper.join().expect("the panic is caught");
        });
    }
}
