//! Which chunk is next: one cursor per node, in a cache line of its own.

use std::ops::Range;
use std::sync::atomic::Ordering;

use crate::job::counter::Counter;

/// Hands out the numbers below a limit, each once, in order.
///
/// `Relaxed` is enough: the read-modify-write alone makes each number unique (`[once]` in `docs/protocols/jobs.md`),
/// and nothing is published through the cursor. What the job's closure reads
/// was written before the pool started its members, and what the closure
/// writes is read after the pool has joined them; both edges are the pool's.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Invariant: only grows. Passes the limit by at most one for each thread
    /// that takes part, since a thread reads the limit reached before it adds,
    /// and not at all where the type's maximum is near.
    next: Counter,
    limit: usize,
}

/// Limits up to this one are passed by every thread at once, and the type still holds the sum.
const LIMIT_TO_PASS: usize = usize::MAX / 2;

impl Cursor {
    /// Starts at the counter's zero.
    #[inline]
    pub(crate) fn new(next: Counter, limit: usize) -> Self {
        Self { next, limit }
    }

    /// Returns the counter, to tell where it lies.
    pub(crate) fn counter(&self) -> &Counter {
        &self.next
    }

    /// Takes the next number; `None` once all are taken.
    #[inline]
    pub(crate) fn take(&self) -> Option<usize> {
        if self.limit > LIMIT_TO_PASS {
            return self.take_run(|_| 1).map(|run| run.start);
        }
        // Keeps threads that look again and again from wrapping the counter,
        // and from pulling the line away from those that still take.
        if self.next.load(Ordering::Relaxed) >= self.limit {
            return None;
        }
        let taken = self.next.fetch_add(1, Ordering::Relaxed);
        (taken < self.limit).then_some(taken)
    }

    /// Takes the next numbers, as many as `length` says for the first of them, but at least one and none past the limit.
    #[inline]
    pub(crate) fn take_run(&self, length: impl Fn(usize) -> usize) -> Option<Range<usize>> {
        let mut next = self.next.load(Ordering::Relaxed);
        while next < self.limit {
            let end = next + length(next).clamp(1, self.limit - next);
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.next.compare_exchange_weak(next, end, success, failure) {
                Ok(_) => return Some(next..end),
                Err(now) => next = now,
            }
        }
        None
    }

    /// Whether all numbers are taken.
    #[inline]
    pub(crate) fn is_used_up(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.limit
    }

    /// Counts all numbers as taken; whoever did finds it so (`[close]`).
    pub(crate) fn close(&self) {
        self.next.fetch_max(self.limit, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
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

    #[test]
    fn numbers_up_to_the_types_maximum_are_taken_once_and_the_cursor_does_not_wrap() {
        let cursor = Cursor::new(Counter::anywhere(), usize::MAX);
        cursor.next.store(usize::MAX - 1000, Ordering::Relaxed);
        let start = Barrier::new(4);
        let taken: Vec<usize> = thread::scope(|scope| {
            let take_all = || {
                start.wait();
                // Goes on after the end, where a wrapped cursor would begin anew.
                (0..2000).filter_map(|_| cursor.take()).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take_all)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(taken.len(), 1000);
        assert_eq!(cursor.next.load(Ordering::Relaxed), usize::MAX);
    }

    #[test]
    fn runs_end_at_the_limit_and_are_never_empty() {
        let cursor = Cursor::new(Counter::anywhere(), 10);
        assert_eq!(cursor.take_run(|_| 0), Some(0..1));
        assert_eq!(cursor.take_run(|first| first + 3), Some(1..5));
        assert_eq!(cursor.take_run(|_| usize::MAX), Some(5..10));
        assert_eq!(cursor.take_run(|_| 1), None);
    }

    #[test]
    fn a_closed_cursor_hands_out_nothing() {
        for limit in [10, usize::MAX] {
            let cursor = Cursor::new(Counter::anywhere(), limit);
            assert!(cursor.take().is_some() && !cursor.is_used_up());
            cursor.close();
            assert!(cursor.is_used_up() && cursor.take().is_none());
            assert_eq!(cursor.take_run(|_| 5), None);
        }
    }
}
