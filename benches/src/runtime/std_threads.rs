//! Threads of the standard library, started and joined for each call.

use std::num::NonZeroUsize;
use std::thread;

use super::{Item, Runtime};

/// `std::thread::scope`, with one thread less than there are shares: the caller does the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct StdThreads {
    threads: usize,
}

impl StdThreads {
    pub(super) fn start(threads: NonZeroUsize) -> Self {
        Self { threads: threads.get() }
    }

    /// Returns one thread's share of `n` indices.
    fn share(self, thread: usize, n: usize) -> std::ops::Range<usize> {
        n * thread / self.threads..n * (thread + 1) / self.threads
    }
}

impl Runtime for StdThreads {
    fn broadcast(&mut self, item: Item<'_>) -> Option<()> {
        thread::scope(|scope| {
            for index in 1..self.threads {
                scope.spawn(move || item(index));
            }
            item(0);
        });
        Some(())
    }

    fn for_each(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        let this = *self;
        self.broadcast(&|thread| this.share(thread, n).for_each(item))
    }

    fn sum(&mut self, n: usize, value: &(dyn Fn(usize) -> f64 + Sync)) -> Option<f64> {
        let this = *self;
        let sum = move |thread| this.share(thread, n).map(value).sum::<f64>();
        thread::scope(|scope| {
            let others: Vec<_> =
                (1..this.threads).map(|thread| scope.spawn(move || sum(thread))).collect();
            let own = sum(0);
            others.into_iter().try_fold(own, |total, other| Some(total + other.join().ok()?))
        })
    }
}
