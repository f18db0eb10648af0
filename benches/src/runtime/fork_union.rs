//! fork_union.
//!
//! It neither nests nor joins: every call is one round of all its threads.

use std::num::NonZeroUsize;

use anyhow::anyhow;
use fork_union::ThreadPool;

use super::partial::PartialSums;
use super::{Item, Runtime};

/// A pool of its own, the caller being its first thread.
pub(super) struct ForkUnion {
    pool: ThreadPool,
}

impl ForkUnion {
    pub(super) fn start(threads: NonZeroUsize) -> anyhow::Result<Self> {
        let pool = ThreadPool::try_spawn(threads.get());
        Ok(Self { pool: pool.map_err(|error| anyhow!("fork_union starts no pool: {error}"))? })
    }
}

impl Runtime for ForkUnion {
    fn broadcast(&mut self, item: Item<'_>) -> Option<()> {
        self.pool.for_threads(|thread, _| item(thread)).join();
        Some(())
    }

    fn for_each(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        // Dropping the operation runs it.
        drop(self.pool.for_n(n, |prong| item(prong.task_index)));
        Some(())
    }

    fn sum(&mut self, n: usize, value: &(dyn Fn(usize) -> f64 + Sync)) -> Option<f64> {
        let sums = PartialSums::new(self.pool.threads());
        let add = |prong: fork_union::Prong| sums.add(prong.thread_index, value(prong.task_index));
        drop(self.pool.for_n(n, add));
        Some(sums.total())
    }
}
