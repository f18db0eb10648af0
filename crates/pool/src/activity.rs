//! How busy a node is: whether anybody is free to take what is queued there.
//!
//! A hint and no protocol: nobody's progress depends on it. Work that is kept
//! from thieves or wakes nobody is run by its owner (`docs/protocols/waiting.md`).

use crate::sync::{AtomicU64, Ordering};

/// One node's count of threads at work.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Busy helpers in the lower half, callers from outside that queue jobs in the upper.
    at_work: AtomicU64,
    helpers: u32,
    /// How many threads the node has CPUs for.
    capacity: u32,
}

const HELPER: u64 = 1;
const GUEST: u64 = 1 << 32;

impl Activity {
    pub(crate) fn new(helpers: usize, capacity: usize) -> Self {
        let limited = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (helpers, capacity) = (limited(helpers), limited(capacity.max(helpers)));
        Self { at_work: AtomicU64::new(0), helpers, capacity }
    }

    /// Whether no helper is free, or no CPU for one.
    #[inline]
    pub(crate) fn is_saturated(&self) -> bool {
        // Relaxed, here and below: a hint, see above.
        let at_work = self.at_work.load(Ordering::Relaxed);
        let (busy, guests) = (at_work as u32, (at_work >> 32) as u32);
        busy >= self.helpers || busy.saturating_add(guests) >= self.capacity
    }

    pub(crate) fn helper_begins(&self) {
        self.at_work.fetch_add(HELPER, Ordering::Relaxed);
    }

    pub(crate) fn helper_ends(&self) {
        self.at_work.fetch_sub(HELPER, Ordering::Relaxed);
    }

    pub(crate) fn guest_begins(&self) {
        self.at_work.fetch_add(GUEST, Ordering::Relaxed);
    }

    pub(crate) fn guest_ends(&self) {
        self.at_work.fetch_sub(GUEST, Ordering::Relaxed);
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
    fn helpers_beyond_the_cpus_are_all_used() {
        let crowded = Activity::new(4, 2);
        (0..3).for_each(|_| crowded.helper_begins());
        assert!(!crowded.is_saturated());
    }
}
