//! Which of a node's CPUs the pool's threads need.
//!
//! A hint and no protocol, as [`Activity`](crate::activity::Activity) is: the kernel
//! may move a thread after it has noted its CPU, and then a helper may leave a CPU that it has alone, for one
//! that it shares. So models take it as it is, and try no orders of its steps.

use std::sync::atomic::{AtomicU16, Ordering};

use crossbeam_utils::CachePadded;
use firsttouch_topology::{CpuId, CpuSet};

/// How many of the pool's threads need each CPU of a node.
#[derive(Debug)]
pub(crate) struct BusyCpus {
    first: u32,
    /// By the CPU's number, from the first; each in lines that only threads on that CPU write, but for those that move.
    threads: Box<[CachePadded<AtomicU16>]>,
}

impl BusyCpus {
    /// Makes one for these CPUs; threads on others are not counted.
    pub(crate) fn of(cpus: &CpuSet) -> Self {
        let numbers = || cpus.iter().map(CpuId::os_index);
        let first = numbers().min().unwrap_or(0);
        let end = numbers().max().map_or(first, |last| last + 1);
        Self { first, threads: (first..end).map(|_| CachePadded::default()).collect() }
    }

    fn on(&self, cpu: CpuId) -> Option<&AtomicU16> {
        let place = cpu.os_index().checked_sub(self.first)?;
        self.threads.get(place as usize).map(|threads| &**threads)
    }

    /// Counts a thread on a CPU; returns whether another is on it.
    pub(crate) fn enter(&self, cpu: CpuId) -> bool {
        // Relaxed, here and below: a hint, see above.
        self.on(cpu).is_some_and(|threads| threads.fetch_add(1, Ordering::Relaxed) > 0)
    }

    /// Ends what [`BusyCpus::enter`] began.
    pub(crate) fn leave(&self, cpu: CpuId) {
        if let Some(threads) = self.on(cpu) {
            threads.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many threads are counted on all CPUs.
    #[cfg(test)]
    pub(crate) fn threads(&self) -> usize {
        let threads = self.threads.iter().map(|threads| threads.load(Ordering::Relaxed));
        threads.map(usize::from).sum()
    }

    /// Whether several threads are counted on the CPU.
    pub(crate) fn is_shared(&self, cpu: CpuId) -> bool {
        self.on(cpu).is_some_and(|threads| threads.load(Ordering::Relaxed) > 1)
    }

    /// Whether no thread is counted on the CPU.
    pub(crate) fn is_free(&self, cpu: CpuId) -> bool {
        self.on(cpu).is_none_or(|threads| threads.load(Ordering::Relaxed) == 0)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn cpus(numbers: &[u32]) -> CpuSet {
        numbers.iter().copied().map(CpuId::new).collect()
    }

    #[test]
    fn a_cpu_is_busy_until_the_last_thread_has_left_it() {
        let busy = BusyCpus::of(&cpus(&[4, 6]));
        let [four, six] = [4, 6].map(CpuId::new);
        assert!(!busy.enter(four), "the first is alone");
        assert!(!busy.is_shared(four));
        assert!(busy.enter(four));
        assert!(busy.is_shared(four) && busy.is_free(six));
        busy.leave(four);
        assert!(!busy.is_shared(four) && !busy.is_free(four));
        busy.leave(four);
        assert!(busy.is_free(four));
    }

    #[test]
    fn threads_on_other_nodes_are_not_counted() {
        for busy in [BusyCpus::of(&cpus(&[4, 6])), BusyCpus::of(&CpuSet::new())] {
            for cpu in [0, 3, 7, u32::MAX].map(CpuId::new) {
                assert!(!busy.enter(cpu) && !busy.enter(cpu) && busy.is_free(cpu));
                busy.leave(cpu);
            }
        }
    }
}
