//! Work that is next to nothing, and is checked all the same.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use crossbeam_utils::CachePadded;

/// Counts how often each index was called.
///
/// Each index has a cache line of its own, so that the threads that take part
/// do not wait for each other's lines.
#[derive(Debug)]
pub(super) struct Tally(Vec<CachePadded<AtomicU64>>);

impl Tally {
    pub(super) fn new(indices: usize) -> Self {
        Self((0..indices).map(|_| CachePadded::default()).collect())
    }

    /// Counts a call. An index is called once in each call of the runtime, so never by two threads at once.
    #[inline]
    pub(super) fn mark(&self, index: usize) {
        let calls = &self.0[index];
        // Relaxed: one call of the runtime ends before the next begins.
        calls.store(calls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Makes sure that every index was called so many times.
    pub(super) fn check(&self, case: &str, calls: u64) -> anyhow::Result<()> {
        for (index, marked) in self.0.iter().enumerate() {
            let marked = marked.load(Ordering::Relaxed);
            ensure!(
                marked == calls,
                "{case}: wrong answer: index {index} ran {marked} times in {calls} calls"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_too_many_or_too_few_is_a_wrong_answer() {
        let tally = Tally::new(2);
        tally.mark(0);
        tally.mark(1);
        assert!(tally.check("case", 1).is_ok());
        tally.mark(1);
        let error = tally.check("case", 1).expect_err("index 1 ran twice");
        assert_eq!(error.to_string(), "case: wrong answer: index 1 ran 2 times in 1 calls");
    }
}
