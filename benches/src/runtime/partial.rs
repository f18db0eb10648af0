//! Sums of several threads, for runtimes without a reduction of their own.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

/// A sum for each thread, each in a cache line of its own.
#[derive(Debug)]
pub(super) struct PartialSums(Vec<CachePadded<AtomicU64>>);

impl PartialSums {
    pub(super) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| CachePadded::default()).collect())
    }

    /// Adds to the sum of a thread. Only that thread may call this at any one time.
    pub(super) fn add(&self, thread: usize, value: f64) {
        let sum = f64::from_bits(self.0[thread].load(Ordering::Relaxed)) + value;
        // Relaxed: the runtime's end of the loop makes it visible to whoever asks for the total.
        self.0[thread].store(sum.to_bits(), Ordering::Relaxed);
    }

    /// Adds up the sums of all threads.
    pub(super) fn total(&self) -> f64 {
        self.0.iter().map(|sum| f64::from_bits(sum.load(Ordering::Relaxed))).sum()
    }
}
