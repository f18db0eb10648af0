//! The runtimes that are measured, each behind the same few calls.
//!
//! A case is written once, on [`Runtime`]; each file here says how one runtime
//! does what the case asks, in the way its own documentation advises. What a
//! runtime has no counterpart for, it does not measure.

mod catalogue;
mod chili;
mod firsttouch;
mod foreign;
#[cfg(feature = "fork-union")]
mod fork_union;
#[cfg(feature = "fork-union")]
mod partial;
mod rayon;
mod serial;
mod std_threads;
mod tree;
mod work;

pub use catalogue::{Known, catalogue, start};
pub use tree::Node;
pub use work::{Count, Fib, InTurn, Join, Work};

/// Something to do once per index.
pub type Item<'a> = &'a (dyn Fn(usize) + Sync);

/// Something to do on the runtime's own threads, with the runtime as it is from there.
pub type Inside<'a> = &'a mut (dyn FnMut(&mut dyn Runtime) + Send);

/// A runtime that is ready to work, with a number of threads that counts the caller where it takes part.
///
/// Each call returns when all that it started has ended, and is `None` where
/// the runtime has no counterpart for it.
pub trait Runtime {
    /// Calls `item` once on every thread, with indices from 0 up; all threads must take part.
    fn broadcast(&mut self, item: Item<'_>) -> Option<()> {
        let _ = item;
        None
    }

    /// Calls `item` for every index below `n`; whichever threads come take part.
    fn for_each(&mut self, n: usize, item: Item<'_>) -> Option<()>;

    /// Adds up `value` over every index below `n`.
    fn sum(&mut self, n: usize, value: &(dyn Fn(usize) -> f64 + Sync)) -> Option<f64>;

    /// Runs `f` where the runtime's own work runs.
    fn enter(&mut self, f: &(dyn Fn() + Sync)) -> Option<()> {
        let _ = f;
        None
    }

    /// Runs `f` once on one of the runtime's own threads, or with what it costs to enter already paid.
    fn inside(&mut self, f: Inside<'_>) -> Option<()> {
        let _ = f;
        None
    }

    /// The Fibonacci number, by joining.
    fn fib(&mut self, fib: Fib) -> Option<u64> {
        let _ = fib;
        None
    }

    /// The number of nodes of a tree, by joining.
    fn count(&mut self, root: Node) -> Option<u64> {
        let _ = root;
        None
    }

    /// Calls `item` for every index below `n`, in a task each, all in one scope.
    fn spawn(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        let _ = (n, item);
        None
    }

    /// Calls `item` for every index below `outer * inner`: a scope of `outer` tasks, of which each
    /// has a scope of `inner` tasks.
    fn spawn_nested(&mut self, outer: usize, inner: usize, item: Item<'_>) -> Option<()> {
        let _ = (outer, inner, item);
        None
    }
}

#[cfg(test)]
mod tests;
