//! How many threads per node the rows of the table use.

use std::num::NonZeroUsize;

/// The shares of each node's CPUs that are measured beside one thread, in percent.
const PERCENT: [usize; 6] = [12, 25, 37, 50, 75, 100];

/// A number of threads per node, and which share of a node's CPUs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Threads on each node, the caller included.
    pub threads: NonZeroUsize,
    /// The share of the node's CPUs, rounded to whole percent.
    pub percent: usize,
}

/// Returns the shares to measure on nodes of `cpus` CPUs, ascending: one thread, then 12, 25, 37,
/// 50, 75 and 100 % of the CPUs.
///
/// Each share is rounded to whole threads, and shares that come to the same
/// threads are measured once: two CPUs have 50 % and 100 % only.
#[must_use]
pub fn shares(cpus: NonZeroUsize) -> Vec<Share> {
    let rounded = |part: usize, whole: usize| (part + whole / 2) / whole;
    let threads = |percent: usize| {
        NonZeroUsize::new(rounded(percent * cpus.get(), 100)).unwrap_or(NonZeroUsize::MIN)
    };
    let mut counts = vec![NonZeroUsize::MIN];
    counts.extend(PERCENT.map(threads));
    counts.dedup();
    let percent = |threads: NonZeroUsize| rounded(100 * threads.get(), cpus.get());
    counts.into_iter().map(|threads| Share { threads, percent: percent(threads) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cpus: usize) -> Vec<(usize, usize)> {
        let cpus = NonZeroUsize::new(cpus).expect("a test asks for CPUs");
        shares(cpus).iter().map(|share| (share.percent, share.threads.get())).collect()
    }

    #[test]
    fn one_cpu_has_one_row() {
        assert_eq!(table(1), [(100, 1)]);
    }

    #[test]
    fn two_cpus_merge_to_half_and_all() {
        assert_eq!(table(2), [(50, 1), (100, 2)]);
    }

    #[test]
    fn the_thread_counts_of_the_kernel_series_come_out() {
        let series = [(2, 1), (12, 6), (25, 13), (37, 19), (50, 26), (75, 39), (100, 52)];
        assert_eq!(table(52), series);
        let guest = [(6, 1), (13, 2), (25, 4), (38, 6), (50, 8), (75, 12), (100, 16)];
        assert_eq!(table(16), guest);
    }

    #[test]
    fn threads_ascend_without_doubles_from_one_to_all_whatever_the_node_has() {
        for cpus in 1..=2048 {
            let threads: Vec<_> = table(cpus).into_iter().map(|(_, threads)| threads).collect();
            assert!(threads.windows(2).all(|pair| pair[0] < pair[1]), "{cpus}: {threads:?}");
            assert_eq!(threads.first(), Some(&1), "{cpus}");
            assert_eq!(threads.last(), Some(&cpus), "{cpus}");
        }
    }
}
