//! Schedules: how a loop's range is cut, and who takes which chunk.

use crate::job::help::expected::Expected;
use crate::plan::{Grain, Plan};

/// How a loop's range is cut, and who takes which chunk; the words are OpenMP's.
///
/// Under every schedule a thread that is slow, late or does not come leaves
/// its chunks to the others: no loop waits for a helper that has not started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Schedule {
    /// A part for each thread, side by side; a thread takes its own first, a quarter of it or less at once, then what is left of the others'. (the default)
    ///
    /// The default because it gives up little in any loop: run again over the
    /// same data, and for about as long, a thread gets the same units, as under
    /// `Static`, and finds them in its caches; where threads are unequally
    /// fast, or help comes late, three quarters of a thread's part can still go
    /// to another. Ranges become shorter towards the end of a part, each at
    /// most half of what is left there, down to about a 255th of it or
    /// `min_chunk`, so that threads end together: some ten ranges for each. A
    /// loop over a range that lives [anywhere](crate::Location::Anywhere), and
    /// took less than ten microseconds the last time, is cut less finely.
    #[default]
    Auto,
    /// One chunk for each thread: the least overhead where every iteration takes the same time.
    ///
    /// Which thread runs a chunk is a preference and no promise, unlike in
    /// OpenMP: where its own thread is late, another runs it.
    Static,
    /// Chunks of at most `chunk` units, rounded up to `align`, in order: for iterations of very unequal length.
    ///
    /// All threads of a part take from one cursor, so chunks should be worth a
    /// microsecond at the least. `min_chunk` has no say in how long they are.
    Dynamic {
        /// The units of a chunk; not zero.
        chunk: usize,
    },
    /// Long chunks first: each is half of a thread's share of what is left, and at least `min_chunk`.
    ///
    /// Few chunks, and short ones towards the end, so that threads end together.
    Guided {
        /// The least units of a chunk, but for the last; not zero.
        min_chunk: usize,
    },
}

/// In which order the chunks of a part are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One after another.
    Ascending,
    /// Several at once, fewer towards the end.
    Guided,
    /// Each thread its own first.
    OwnFirst,
}

/// Into how many chunks a thread's part is cut where it takes several at once, and fewer towards the end.
const FINEST: u8 = u8::MAX;

/// The same where the whole loop takes some microseconds: to take from another's part costs a tenth of one.
const FINEST_OF_SHORT: u8 = 16;

/// How a part is cut, and the order in which its chunks are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) grain: Grain<usize>,
    pub(crate) order: Order,
}

impl Cut {
    /// The kernel's: four chunks for each thread, one after another.
    pub(crate) const KERNEL: Self = Self { grain: Grain::Balanced, order: Order::Ascending };

    /// The same for a loop that is expected to take so long.
    #[inline]
    pub(crate) fn expecting(self, expected: Expected) -> Self {
        let grain = match (self.grain, expected) {
            (Grain::BalancedBy(_), Expected::Short) => Grain::BalancedBy(FINEST_OF_SHORT),
            // One thread takes them all, and looks at the clock between.
            (Grain::BalancedBy(_), Expected::Brief) => Grain::Balanced,
            (grain, _) => grain,
        };
        Self { grain, ..self }
    }

    /// What a thread that runs all by itself does: one chunk, where no length was asked for.
    #[inline]
    pub(crate) fn alone(self, plan: Plan<usize>) -> Plan<usize> {
        let is_bounded = matches!(self.grain, Grain::AtMost(_) | Grain::BalancedUpTo(_));
        if is_bounded { plan } else { plan.whole() }
    }
}

impl From<Schedule> for Cut {
    fn from(schedule: Schedule) -> Self {
        let (grain, order) = match schedule {
            Schedule::Auto => (Grain::BalancedBy(FINEST), Order::OwnFirst),
            Schedule::Static => (Grain::PerThread, Order::OwnFirst),
            Schedule::Dynamic { chunk } => (Grain::AtMost(chunk), Order::Ascending),
            Schedule::Guided { min_chunk } => (Grain::AtLeast(min_chunk), Order::Guided),
        };
        Self { grain, order }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_cut_finely_depends_on_how_long_a_loop_is_expected_to_take() {
        let auto = Cut::from(Schedule::Auto);
        let grains = [Expected::Long, Expected::Short, Expected::Brief];
        let grains = grains.map(|expected| auto.expecting(expected).grain);
        let [long, short, brief] = grains;
        assert_eq!(long, auto.grain);
        assert!(matches!((long, short), (Grain::BalancedBy(l), Grain::BalancedBy(s)) if s < l));
        assert_eq!(brief, Grain::Balanced);
        for schedule in [Schedule::Static, Schedule::Dynamic { chunk: 3 }] {
            let cut = Cut::from(schedule);
            assert_eq!(cut.expecting(Expected::Brief).grain, cut.grain);
        }
    }
}
