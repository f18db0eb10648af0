//! firsttouch: the only file that knows the pool's own calls.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use firsttouch::{CpuSet, Pool, Team, Topology, for_each_index, join, reduce};

use super::{Count, Fib, Inside, Item, Join, Node, Runtime, Work};

/// A pool with a helper for each thread; where the caller takes part, one helper stays out.
#[derive(Clone, Debug)]
pub(super) struct Firsttouch {
    pool: Arc<Pool>,
    /// Every helper but one, whose place the caller takes; all must come.
    all: Team,
}

impl Firsttouch {
    pub(super) fn start(threads: NonZeroUsize) -> anyhow::Result<Self> {
        let topology = Arc::new(Topology::discover().context("cannot read this machine")?);
        let cpus: CpuSet = topology.allowed().cpus().iter().take(threads.get()).collect();
        ensure!(cpus.len() == threads.get(), "firsttouch runs one helper per CPU, of {cpus}");
        let pool = Pool::builder().topology(topology).cpus(cpus).build();
        let pool = pool.context("firsttouch starts no pool")?;
        let (mut all, mut left_out) = (Team::new(), 1);
        for (node, helpers) in pool.nodes() {
            all = all.require(node, helpers - std::mem::take(&mut left_out));
        }
        Ok(Self { pool: Arc::new(pool), all })
    }

    /// Runs `f` on one of the pool's helpers.
    fn on_a_helper<R: Send>(&self, f: impl FnOnce() -> R + Send) -> Option<R> {
        let f = Mutex::new(Some(f));
        let taken = || f.lock().unwrap_or_else(PoisonError::into_inner).take();
        let results = self.pool.broadcast(|member| {
            // The other helpers are done at once, and free for what `f` shares out.
            (member.index() == 0).then(taken).flatten().map(|f| f())
        });
        results.into_iter().flatten().next()
    }
}

impl Runtime for Firsttouch {
    fn broadcast(&mut self, item: Item<'_>) -> Option<()> {
        self.pool.run(&self.all, |member| item(member.index()));
        Some(())
    }

    fn for_each(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        for_each_index(&self.pool, 0..n, item);
        Some(())
    }

    fn sum(&mut self, n: usize, value: &(dyn Fn(usize) -> f64 + Sync)) -> Option<f64> {
        let fold =
            |sum, indices: Range<usize>| indices.map(value).fold(sum, |sum, value| sum + value);
        Some(reduce(&self.pool, 0..n, || 0.0, fold, |left, right| left + right))
    }

    fn enter(&mut self, f: &(dyn Fn() + Sync)) -> Option<()> {
        self.pool.scope(|_| f());
        Some(())
    }

    fn inside(&mut self, f: Inside<'_>) -> Option<()> {
        let mut inner = self.clone();
        self.on_a_helper(|| f(&mut inner))
    }

    fn fib(&mut self, fib: Fib) -> Option<u64> {
        self.on_a_helper(|| fib.run(&mut Joining))
    }

    fn count(&mut self, root: Node) -> Option<u64> {
        self.on_a_helper(|| Count(root).run(&mut Joining))
    }

    fn spawn(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        self.on_a_helper(|| {
            self.pool.scope(|scope| (0..n).for_each(|index| scope.spawn(move |_| item(index))));
        })
    }

    fn spawn_nested(&mut self, outer: usize, inner: usize, item: Item<'_>) -> Option<()> {
        let pool = &*self.pool;
        self.on_a_helper(|| {
            pool.scope(|scope| {
                for first in (0..outer).map(|index| index * inner) {
                    scope.spawn(move |_| {
                        pool.scope(|scope| {
                            (first..first + inner)
                                .for_each(|index| scope.spawn(move |_| item(index)));
                        });
                    });
                }
            });
        })
    }
}

/// Joins in the pool that the calling helper works for, as rayon's `join` does.
struct Joining;

impl Join for Joining {
    #[inline]
    fn both<A: Work, B: Work>(&mut self, a: A, b: B) -> (A::Answer, B::Answer) {
        join(|| a.run(&mut Self), || b.run(&mut Self))
    }
}
