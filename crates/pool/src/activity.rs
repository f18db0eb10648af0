//! How busy a node is: whether anybody is free to take what is queued there.
//!
//! A hint and no protocol: nobody's progress depends on it. Work that is kept
//! from thieves or wakes nobody is run by its owner (`docs/protocols/waiting.md`).
//! So models take it as it is, and try no orders of its steps.

use std::sync::atomic::{AtomicI32, Ordering};

/// How many of a node's helpers are free, and have a CPU to run on.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Helpers without work, less the callers from outside that are on a helper's CPU.
    free: AtomicI32,
    /// Callers from outside that queue jobs, less the CPUs that no helper is for.
    excess: AtomicI32,
    /// CPUs that no helper is for.
    spare: i32,
}

impl Activity {
    /// One that is never saturated.
    pub(crate) const fn unsaturated() -> Self {
        Self { free: AtomicI32::new(i32::MAX), excess: AtomicI32::new(0), spare: 0 }
    }

    /// Starts with all helpers free, on a node that has CPUs for so many threads.
    pub(crate) fn new(helpers: usize, capacity: usize) -> Self {
        let limited = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let spare = limited(capacity.saturating_sub(helpers));
        Self { free: AtomicI32::new(limited(helpers)), excess: AtomicI32::new(-spare), spare }
    }

    /// Whether no helper is free, or no CPU for one.
    #[inline]
    pub(crate) fn is_saturated(&self) -> bool {
        // Relaxed, here and below: a hint, see above.
        self.free.load(Ordering::Relaxed) <= 0
    }

    /// How many helpers may look for work at once, each on a CPU that nobody else needs.
    ///
    /// One CPU is left to the caller whose next call they look out for.
    pub(crate) fn searchers(&self) -> usize {
        let free = self.free.load(Ordering::Relaxed);
        let free = if self.spare == 0 { free - 1 } else { free };
        usize::try_from(free).unwrap_or(0).max(1)
    }

    pub(crate) fn helper_begins(&self) {
        self.free.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn helper_ends(&self) {
        self.free.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn guest_begins(&self) {
        if self.excess.fetch_add(1, Ordering::Relaxed) >= 0 {
            self.free.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn guest_ends(&self) {
        if self.excess.fetch_sub(1, Ordering::Relaxed) > 0 {
            self.free.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_saturated_when_no_helper_or_no_cpu_is_free() {
        let two = Activity::new(2, 2);
        assert!(!two.is_saturated());
        two.guest_begins();
        two.helper_begins();
        assert!(two.is_saturated(), "a caller and a helper are on both CPUs");
        two.guest_ends();
        assert!(!two.is_saturated());
        two.helper_begins();
        assert!(two.is_saturated(), "no helper is free");

        let one_of_four = Activity::new(1, 4);
        one_of_four.guest_begins();
        assert!(!one_of_four.is_saturated());
        one_of_four.helper_begins();
        assert!(one_of_four.is_saturated());
    }

    #[test]
    fn callers_take_the_spare_cpus_first() {
        let activity = Activity::new(1, 3);
        (0..2).for_each(|_| activity.guest_begins());
        assert!(!activity.is_saturated());
        activity.guest_begins();
        assert!(activity.is_saturated(), "the third caller is on the helper's CPU");
        (0..3).for_each(|_| activity.guest_ends());
        activity.helper_begins();
        activity.helper_ends();
        assert!(!activity.is_saturated());
    }

    #[test]
    fn helpers_beyond_the_cpus_are_all_used() {
        let crowded = Activity::new(4, 2);
        (0..3).for_each(|_| crowded.helper_begins());
        assert!(!crowded.is_saturated());
    }
}
