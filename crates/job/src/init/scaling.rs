//! How page initialisation gets faster with threads, and how many a node gets by default: pure arithmetic.
//!
//! `docs/page-init-threads.md` has the law beside what Linux's own page
//! initialisation was measured to take; the tests hold it to these figures.

use std::num::NonZeroUsize;

/// How long a node's page initialisation takes, as a part of what one thread takes.
///
/// Three things make it up. What can be shared is done by `n` threads in
/// `1/n` of the time. The node's memory takes no more than so much, whatever
/// the threads. And something stays that no thread takes off another: waking
/// them, the kernel's locks, and the wait for the last.
///
/// The first two pass into each other smoothly, as threads get into each
/// other's way before memory is at its limit: `sqrt((1/n)² + saturated²)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Law {
    /// The time that the node's memory takes at least.
    pub(crate) saturated: f64,
    /// The time that is not shared.
    pub(crate) fixed: f64,
}

impl Law {
    /// A node that gains more from threads than any published one, which gain 14 times at the most.
    ///
    /// Newer memory is faster for each thread that there is. Nothing fixed, so
    /// that the last threads look as useful as they can be.
    pub(crate) const GENEROUS: Self = Self { saturated: 1.0 / 30.0, fixed: 0.0 };

    /// The fewest threads that take no more than `within` times as long as all of a node's.
    pub(crate) fn fewest(self, cpus: NonZeroUsize, within: f64) -> NonZeroUsize {
        let Self { saturated, fixed } = self;
        let all = (cpus.get() as f64).powi(-2) + saturated.powi(2);
        let enough = within * (fixed + all.sqrt()) - fixed;
        // The inverse of the law; what memory alone takes is always less.
        let threads = (enough.powi(2) - saturated.powi(2)).powf(-0.5).ceil();
        NonZeroUsize::new(threads as usize).map_or(cpus, |threads| threads.min(cpus))
    }
}

/// What the default gives up for fewer threads: 2 % of the time, at the most.
const WITHIN: f64 = 1.02;

/// How many of a node's threads initialise its pages, where the caller does not say.
///
/// All of them on nodes of up to 20 or so, where each still counts; not all on
/// larger ones, where the last would only take the memory's time from each
/// other, be woken for that, and leave no CPU to the rest of the machine.
pub(crate) fn threads_per_node(cpus: NonZeroUsize) -> NonZeroUsize {
    Law::GENEROUS.fewest(cpus, WITHIN)
}

#[cfg(all(test, not(loom)))]
mod tests;
