//! chili.
//!
//! It has joins and nothing else, so ranges are halved by joins down to single indices.

use std::num::NonZeroUsize;

use chili::{Config, Scope, ThreadPool};

use super::{Count, Fib, Inside, Item, Join, Node, Runtime, Work};

/// A pool of its own, entered by a new scope for each call.
#[derive(Debug)]
pub(super) struct Chili {
    pool: ThreadPool,
}

impl Chili {
    pub(super) fn start(threads: NonZeroUsize) -> Self {
        // The caller is one of the threads that it counts.
        let config = Config { thread_count: Some(threads), ..Config::default() };
        Self { pool: ThreadPool::with_config(config) }
    }
}

impl Runtime for Chili {
    fn for_each(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        InScope(self.pool.scope()).for_each(n, item)
    }

    fn sum(&mut self, n: usize, value: &(dyn Fn(usize) -> f64 + Sync)) -> Option<f64> {
        InScope(self.pool.scope()).sum(n, value)
    }

    fn enter(&mut self, f: &(dyn Fn() + Sync)) -> Option<()> {
        let _scope = self.pool.scope();
        f();
        Some(())
    }

    fn inside(&mut self, f: Inside<'_>) -> Option<()> {
        f(&mut InScope(self.pool.scope()));
        Some(())
    }

    fn fib(&mut self, fib: Fib) -> Option<u64> {
        InScope(self.pool.scope()).fib(fib)
    }

    fn count(&mut self, root: Node) -> Option<u64> {
        InScope(self.pool.scope()).count(root)
    }
}

/// A scope that is there already.
struct InScope<'pool>(Scope<'pool>);

impl Runtime for InScope<'_> {
    fn for_each(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        Each { from: 0, to: n, item }.run(&mut self.0);
        Some(())
    }

    fn sum(&mut self, n: usize, value: &(dyn Fn(usize) -> f64 + Sync)) -> Option<f64> {
        Some(Sum { from: 0, to: n, value }.run(&mut self.0))
    }

    fn enter(&mut self, f: &(dyn Fn() + Sync)) -> Option<()> {
        f();
        Some(())
    }

    fn fib(&mut self, fib: Fib) -> Option<u64> {
        Some(fib.run(&mut self.0))
    }

    fn count(&mut self, root: Node) -> Option<u64> {
        Some(Count(root).run(&mut self.0))
    }
}

impl Join for Scope<'_> {
    fn both<A: Work, B: Work>(&mut self, a: A, b: B) -> (A::Answer, B::Answer) {
        self.join(|scope| a.run(scope), |scope| b.run(scope))
    }
}

struct Each<'a> {
    from: usize,
    to: usize,
    item: Item<'a>,
}

impl Work for Each<'_> {
    type Answer = ();

    fn run<J: Join>(self, join: &mut J) {
        let Self { from, to, item } = self;
        if to - from > 1 {
            let middle = from + (to - from) / 2;
            join.both(Self { from, to: middle, item }, Self { from: middle, to, item });
        } else if from < to {
            item(from);
        }
    }
}

struct Sum<'a> {
    from: usize,
    to: usize,
    value: &'a (dyn Fn(usize) -> f64 + Sync),
}

impl Work for Sum<'_> {
    type Answer = f64;

    fn run<J: Join>(self, join: &mut J) -> f64 {
        let Self { from, to, value } = self;
        if to - from > 1 {
            let middle = from + (to - from) / 2;
            let (one, other) =
                join.both(Self { from, to: middle, value }, Self { from: middle, to, value });
            one + other
        } else {
            (from..to).map(value).sum()
        }
    }
}
