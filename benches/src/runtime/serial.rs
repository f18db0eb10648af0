//! No threads at all: what the work takes by itself.

use super::{Count, Fib, InTurn, Item, Node, Runtime, Work};

/// A loop on the calling thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Serial;

impl Runtime for Serial {
    fn for_each(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        (0..n).for_each(item);
        Some(())
    }

    fn sum(&mut self, n: usize, value: &(dyn Fn(usize) -> f64 + Sync)) -> Option<f64> {
        Some((0..n).map(value).sum())
    }

    fn fib(&mut self, fib: Fib) -> Option<u64> {
        Some(fib.run(&mut InTurn))
    }

    fn count(&mut self, root: Node) -> Option<u64> {
        Some(Count(root).run(&mut InTurn))
    }
}
