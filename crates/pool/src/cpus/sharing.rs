//! How often a helper shares its CPU: what it does where another thread has the CPU that it needs.
//!
//! A helper and its caller on one CPU offer it to each other in turn, and neither
//! ever sleeps, so that nobody is woken, and the kernel seeks no other CPU. So first the
//! helper sleeps, to be woken. Where that has not helped, it moves by itself.

use std::time::{Duration, Instant};

/// How soon after the last time a helper that shares its CPU again has not been helped by sleep.
const SOON: Duration = Duration::from_millis(1);

/// How often it shares, each time soon after the last, before it moves.
///
/// Calls back to back come to that in microseconds. Where there are few, their
/// caller sleeps before the next, and the CPU is the helper's.
const TIMES: u32 = 8;

/// How much time a helper has for each move: they take some 20 microseconds, and may be in vain.
const PER_MOVE: Duration = Duration::from_millis(10);

/// How many moves may come at once; the time for them comes after.
const AT_ONCE: u32 = 4;

/// One helper's past of sharing its CPU.
#[derive(Debug, Default)]
pub(crate) struct CpuSharing {
    shared: Option<Instant>,
    /// How often it has shared its CPU soon after the last time.
    times: u32,
    /// When the time for all its moves will be over.
    moves_until: Option<Instant>,
}

impl CpuSharing {
    /// Notes that the helper gave its CPU to another thread while it looked for work; returns whether it is time to move.
    pub(crate) fn is_time_to_move(&mut self, now: Instant) -> bool {
        let since = |then: Instant| now.saturating_duration_since(then);
        let again = self.shared.replace(now).is_some_and(|shared| since(shared) < SOON);
        self.times = if again { self.times.saturating_add(1) } else { 0 };
        self.times >= TIMES && self.may_move(now)
    }

    /// Returns whether the helper has not moved too often, and notes that it moves now.
    pub(crate) fn may_move(&mut self, now: Instant) -> bool {
        let begin = self.moves_until.map_or(now, |until| until.max(now));
        let may = begin - now <= PER_MOVE * (AT_ONCE - 1);
        if may {
            self.moves_until = Some(begin + PER_MOVE);
        }
        may
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn it_moves_where_sleep_has_not_helped() {
        let begin = Instant::now();
        let after = |micros| begin + Duration::from_micros(micros);
        let mut sharing = CpuSharing::default();
        for time in 0..8 {
            assert!(!sharing.is_time_to_move(after(40 * time)), "it sleeps first");
        }
        assert!(sharing.is_time_to_move(after(320)), "that has not helped");
        assert!(!sharing.is_time_to_move(after(2_000)), "it had its CPU alone for long");
    }

    #[test]
    fn it_moves_a_few_times_at_once_and_then_with_time_between() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let mut sharing = CpuSharing::default();
        let moves = |sharing: &mut CpuSharing, millis| {
            (0..10).take_while(|_| sharing.may_move(after(millis))).count()
        };
        assert_eq!(moves(&mut sharing, 0), 4);
        assert_eq!(moves(&mut sharing, 9), 0);
        assert_eq!(moves(&mut sharing, 10), 1);
        assert_eq!(moves(&mut sharing, 35), 2);
        assert_eq!(moves(&mut sharing, 1_000), 4);
    }
}
