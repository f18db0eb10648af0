//! Queues of jobs: a deque per thread that works, an injector per node.
//!
//! The only user of `crossbeam-deque`, so that another deque can take its
//! place. Jobs are taken one at a time and never in batches: a job that was
//! stolen has been started by the thief (`docs/protocols/waiting.md`).
//!
//! loom and shuttle cannot see into that crate; models use a queue whose operations are single steps.

#[cfg(not(any(loom, shuttle)))]
use crossbeam_deque as imp;
#[cfg(any(loom, shuttle))]
use model as imp;

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

/// Has the deques' crate set up what all deques of the process share.
///
/// Where helpers were the first to need it, a child forked meanwhile would find
/// it half done and wait for it, in pools of its own too.
pub(crate) fn prepare() {
    let none = Deque::new().stealer().steal();
    debug_assert!(none.is_none(), "the deque is new");
}

impl Default for Injector {
    fn default() -> Self {
        Self(imp::Injector::new())
    }
}

impl Injector {
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

/// Queues with the interface of `crossbeam-deque`, each of whose steps a model's scheduler sees.
#[cfg(any(loom, shuttle))]
mod model {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use crate::sync::Mutex;

    /// A queue whose every operation is one step, to keep models small.
    ///
    /// Under a lock of the model's: an atomic that threads only add to orders
    /// them as well in fewer steps, but loom 0.7 mixes up the order of its
    /// stores (tokio-rs/loom issue 252).
    struct Queue<T>(Mutex<VecDeque<T>>);

    impl<T> Queue<T> {
        fn new() -> Self {
            Self(Mutex::new(VecDeque::new()))
        }

        /// Does one step; other threads come before it or after it.
        fn step<R>(&self, step: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
            step(&mut self.0.lock())
        }

        fn push(&self, job: T) {
            self.step(|list| list.push_back(job));
        }

        fn is_empty(&self) -> bool {
            self.step(|list| list.is_empty())
        }
    }

    pub(super) struct Worker<T>(Arc<Queue<T>>);
    pub(super) struct Stealer<T>(Arc<Queue<T>>);
    pub(super) struct Injector<T>(Queue<T>);

    pub(super) enum Steal<T> {
        Success(T),
        Empty,
        #[expect(dead_code, reason = "a step that is one loses no race")]
        Retry,
    }

    impl<T> Steal<T> {
        fn oldest(queue: &Queue<T>) -> Self {
            queue.step(VecDeque::pop_front).map_or(Self::Empty, Self::Success)
        }
    }

    impl<T> Worker<T> {
        pub(super) fn new_lifo() -> Self {
            Self(Arc::new(Queue::new()))
        }

        pub(super) fn stealer(&self) -> Stealer<T> {
            Stealer(Arc::clone(&self.0))
        }

        pub(super) fn push(&self, job: T) {
            self.0.push(job);
        }

        pub(super) fn pop(&self) -> Option<T> {
            self.0.step(VecDeque::pop_back)
        }

        pub(super) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }
    }

    impl<T> Stealer<T> {
        pub(super) fn steal(&self) -> Steal<T> {
            Steal::oldest(&self.0)
        }

        pub(super) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }
    }

    impl<T> Clone for Stealer<T> {
        fn clone(&self) -> Self {
            Self(Arc::clone(&self.0))
        }
    }

    impl<T> Injector<T> {
        pub(super) fn new() -> Self {
            Self(Queue::new())
        }

        pub(super) fn push(&self, job: T) {
            self.0.push(job);
        }

        pub(super) fn steal(&self) -> Steal<T> {
            Steal::oldest(&self.0)
        }

        pub(super) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }
    }
}
