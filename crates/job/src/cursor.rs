//! Which chunk is next: one cursor per node, in a cache line of its own.

use std::sync::atomic::Ordering;

use crate::job::counter::Counter;

/// Hands out the numbers below a limit, each once.
///
/// `Relaxed` is enough: the read-modify-write alone makes each number unique,
/// and nothing is published through the cursor. What the job's closure reads
/// was written before the pool started its members, and what the closure
/// writes is read after the pool has joined them; both edges are the pool's.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Invariant: only grows. Passes the limit by at most one for each thread
    /// that takes part, since a thread reads the limit reached before it adds.
    next: Counter,
    limit: usize,
}

impl Cursor {
    /// Starts at the counter's zero.
    pub(crate) fn new(next: Counter, limit: usize) -> Self {
        Self { next, limit }
    }

    /// Returns the counter, to tell where it lies.
    pub(crate) fn counter(&self) -> &Counter {
        &self.next
    }

    /// Takes the next number; `None` once all are taken.
    pub(crate) fn take(&self) -> Option<usize> {
        // Keeps threads that look again and again from wrapping the counter,
        // and from pulling the line away from those that still take.
        if self.next.load(Ordering::Relaxed) >= self.limit {
            return None;
        }
        let taken = self.next.fetch_add(1, Ordering::Relaxed);
        (taken < self.limit).then_some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn a_cursor_lies_in_a_cache_line_of_its_own() {
        assert!(align_of::<Cursor>() >= 64);
        assert_eq!(size_of::<Cursor>() % align_of::<Cursor>(), 0);
    }

    #[test]
    fn every_number_is_taken_once_and_none_past_the_limit() {
        const THREADS: usize = 4;
        let cursor = Cursor::new(Counter::anywhere(), 10_000);
        let start = Barrier::new(THREADS);
        let mut taken: Vec<usize> = thread::scope(|scope| {
            let take_all = || {
                start.wait();
                std::iter::from_fn(|| cursor.take()).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(take_all)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        taken.sort_unstable();
        assert!(taken.into_iter().eq(0..10_000));
        for _ in 0..10 {
            assert_eq!(cursor.take(), None);
        }
        assert!(cursor.next.load(Ordering::Relaxed) <= 10_000 + THREADS);
    }
}
