//! Which loops were over so soon the last time that nobody need be woken for them.
//!
//! A hint and no more: where two loops share an entry, or one takes longer than
//! the last time, helpers are woken earlier or later than would be best.

use std::any::type_name;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Loops that take less are better left to their caller: to wake helpers takes as long.
pub(crate) const LIMIT: Duration = Duration::from_micros(10);

const ENTRIES: usize = 1024;

/// Whether the loops of each entry were short the last time.
static SHORT: [AtomicBool; ENTRIES] = [const { AtomicBool::new(false) }; ENTRIES];

/// One loop's entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short(usize);

impl Short {
    /// Returns the entry of the loops that have this body, and about as many units.
    pub(crate) fn of<Body>(units: usize) -> Self {
        // The name's place, which is the body's own, and not its text.
        let body = type_name::<Body>().as_ptr().addr();
        let size = units.checked_ilog2();
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one((body, size));
        Self(hash as usize % ENTRIES)
    }

    /// Whether the loop is expected to be over before a helper that is woken comes.
    pub(crate) fn is_expected(self) -> bool {
        // Relaxed, here and below: a hint.
        SHORT[self.0].load(Ordering::Relaxed)
    }

    /// Notes what the loop took.
    pub(crate) fn note(self, took: Duration) {
        let is_short = took < LIMIT;
        if self.is_expected() != is_short {
            SHORT[self.0].store(is_short, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct OneBody;
    struct AnotherBody;

    #[test]
    fn a_loop_is_expected_to_take_what_it_took_the_last_time() {
        let short = Short::of::<OneBody>(1000);
        short.note(LIMIT * 2);
        assert!(!short.is_expected());
        short.note(LIMIT / 2);
        assert!(Short::of::<OneBody>(1023).is_expected(), "it has as many units, about");
        short.note(LIMIT);
        assert!(!short.is_expected());
    }

    #[test]
    fn other_bodies_and_other_sizes_have_entries_of_their_own() {
        let entries = [Short::of::<OneBody>(0).0, Short::of::<OneBody>(1 << 40).0];
        assert_ne!(entries[0], entries[1]);
        assert_ne!(Short::of::<OneBody>(7).0, Short::of::<AnotherBody>(7).0);
    }
}
