//! rayon.

use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::Context;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Count, Fib, Inside, Item, Join, Node, Runtime, Work};

/// A pool of its own; `install` costs next to nothing on the pool's own threads.
#[derive(Clone, Debug)]
pub(super) struct Rayon {
    pool: Arc<ThreadPool>,
}

impl Rayon {
    pub(super) fn start(threads: NonZeroUsize) -> anyhow::Result<Self> {
        let pool = ThreadPoolBuilder::new().num_threads(threads.get()).build();
        Ok(Self { pool: Arc::new(pool.context("rayon starts no pool")?) })
    }
}

impl Runtime for Rayon {
    fn broadcast(&mut self, item: Item<'_>) -> Option<()> {
        self.pool.broadcast(|context| item(context.index()));
        Some(())
    }

    fn for_each(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        self.pool.install(|| (0..n).into_par_iter().for_each(item));
        Some(())
    }

    fn sum(&mut self, n: usize, value: &(dyn Fn(usize) -> f64 + Sync)) -> Option<f64> {
        Some(self.pool.install(|| (0..n).into_par_iter().map(value).sum()))
    }

    fn enter(&mut self, f: &(dyn Fn() + Sync)) -> Option<()> {
        self.pool.install(f);
        Some(())
    }

    fn inside(&mut self, f: Inside<'_>) -> Option<()> {
        let mut inner = self.clone();
        self.pool.install(|| f(&mut inner));
        Some(())
    }

    fn fib(&mut self, fib: Fib) -> Option<u64> {
        Some(self.pool.install(|| fib.run(&mut Joining)))
    }

    fn count(&mut self, root: Node) -> Option<u64> {
        Some(self.pool.install(|| Count(root).run(&mut Joining)))
    }

    fn spawn(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        self.pool.scope(|scope| (0..n).for_each(|index| scope.spawn(move |_| item(index))));
        Some(())
    }

    fn spawn_nested(&mut self, outer: usize, inner: usize, item: Item<'_>) -> Option<()> {
        self.pool.scope(|scope| {
            for first in (0..outer).map(|index| index * inner) {
                scope.spawn(move |_| {
                    rayon::scope(|scope| {
                        (first..first + inner).for_each(|index| scope.spawn(move |_| item(index)));
                    });
                });
            }
        });
        Some(())
    }
}

/// On a thread of the pool.
struct Joining;

impl Join for Joining {
    #[inline]
    fn both<A: Work, B: Work>(&mut self, a: A, b: B) -> (A::Answer, B::Answer) {
        rayon::join(|| a.run(&mut Self), || b.run(&mut Self))
    }
}
