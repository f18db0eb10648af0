//! What loops took the last time: some were over so soon that nobody need be woken for them, or asked at all, and that they are cut less finely.
//!
//! A hint and no more: where two loops share an entry, or one takes longer than
//! the last time, helpers are asked or woken earlier or later than would be
//! best, and threads end less well together.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Loops that take less are better left to their caller where helpers sleep: to wake them takes as long.
pub(crate) const SHORT: Duration = Duration::from_micros(10);

/// Loops that take less alone are better left to their caller: to ask helpers that are awake, and to learn that they are done, takes as long.
pub(crate) const BRIEF: Duration = Duration::from_nanos(800);

/// How many loops of a thread lie between two that it times only to learn how long they take.
const BETWEEN_LOOKS: u8 = 8;

const ENTRIES: usize = 1024;

/// What the loops of each entry took the last time: an [`Expected`].
static TOOK: [AtomicU8; ENTRIES] = [const { AtomicU8::new(Expected::Long as u8) }; ENTRIES];

thread_local! {
    static LOOKS: Cell<u8> = const { Cell::new(0) };
}

/// What a loop is expected to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expected {
    /// Less than [`BRIEF`] on its caller alone.
    Brief,
    /// Less than [`SHORT`].
    Short,
    /// More, or that is not known.
    Long,
}

/// One loop's entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    place: usize,
    /// Whether it is all of the loop that is run, so that its time says something of the next.
    learns: bool,
}

impl Entry {
    /// Returns the entry of loops of about as many units.
    ///
    /// `body` is the address of a function made for the loop's body alone.
    #[inline]
    pub(crate) fn of(body: usize, units: usize) -> Self {
        const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
        let size = u64::from(units.checked_ilog2().unwrap_or(u32::MAX));
        let hash = ((body as u64).wrapping_mul(MIX) ^ size).wrapping_mul(MIX);
        Self { place: (hash >> (u64::BITS - ENTRIES.ilog2())) as usize, learns: true }
    }

    /// The same for the rest of a loop, of which nothing is noted.
    pub(crate) fn of_rest(self) -> Self {
        Self { learns: false, ..self }
    }

    /// What the loop is expected to take.
    #[inline]
    pub(crate) fn expected(self) -> Expected {
        // Relaxed, here and below: a hint.
        match TOOK[self.place].load(Ordering::Relaxed) {
            brief if brief == Expected::Brief as u8 => Expected::Brief,
            short if short == Expected::Short as u8 => Expected::Short,
            _ => Expected::Long,
        }
    }

    /// Notes what to expect the next time.
    pub(crate) fn note(self, took: Expected) {
        // Written only where it changes, so that others keep the line.
        if self.learns && self.expected() != took {
            TOOK[self.place].store(took as u8, Ordering::Relaxed);
        }
    }
}

impl Expected {
    /// What a time is, of a loop that had help or may have had.
    pub(crate) fn of(took: Duration) -> Self {
        if took < SHORT { Self::Short } else { Self::Long }
    }

    /// What a time is that the caller took alone.
    pub(crate) fn of_alone(took: Duration) -> Self {
        if took < BRIEF { Self::Brief } else { Self::of(took) }
    }
}

/// Whether this is one of the few loops of the thread that are timed to learn how long they take.
#[inline]
pub(crate) fn is_timed() -> bool {
    // A thread whose values are gone times nothing.
    let next = LOOKS.try_with(|looks| {
        let next = looks.get().wrapping_add(1);
        looks.set(next);
        next
    });
    next.is_ok_and(|next| next % BETWEEN_LOOKS == 0)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_expected_to_take_what_it_took_the_last_time() {
        let entry = Entry::of(0x1000, 1000);
        assert_eq!(entry.expected(), Expected::Long, "it is not known");
        for took in [Expected::Short, Expected::Brief, Expected::Long] {
            entry.note(took);
            assert_eq!(Entry::of(0x1000, 1023).expected(), took, "it has as many units, about");
            entry.of_rest().note(Expected::Short);
            assert_eq!(entry.expected(), took, "a rest says nothing of the whole");
        }
    }

    #[test]
    fn times_are_brief_only_where_nobody_helped() {
        assert_eq!(Expected::of_alone(BRIEF / 2), Expected::Brief);
        assert_eq!(Expected::of(BRIEF / 2), Expected::Short);
        assert_eq!(Expected::of_alone(BRIEF), Expected::Short);
        assert_eq!(Expected::of_alone(SHORT), Expected::Long);
        assert_eq!(Expected::of(SHORT), Expected::Long);
    }

    #[test]
    fn other_bodies_and_other_sizes_have_entries_of_their_own() {
        assert_ne!(Entry::of(0x1000, 0).place, Entry::of(0x1000, 1 << 40).place);
        assert_ne!(Entry::of(0x1000, 7).place, Entry::of(0x1010, 7).place);
    }

    #[test]
    fn one_loop_in_a_few_is_timed() {
        let timed = (0..10 * usize::from(BETWEEN_LOOKS)).filter(|_| is_timed()).count();
        assert_eq!(timed, 10);
    }
}
