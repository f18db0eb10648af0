//! Which chunks are next, where each thread has chunks of its own to begin with.

use std::ops::Range;

use crossbeam_utils::CachePadded;

use crate::plan::Plan;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Hands out the numbers below a limit, each once and several at a time, to threads that sit in seats.
///
/// The numbers are dealt to the seats in equal runs. A thread takes those of
/// its seat from the first on, then what it finds at the ends of the others. So
/// a loop that is run again gives a thread the same chunks, where it comes in
/// time, and their data is in that thread's caches; and a thread that is late,
/// or does not come, leaves its run to the others.
///
/// A thread takes a quarter of a run at once, but no more than half of what is
/// left of it: few steps at first, and at the end threads have as little left
/// to do as a number, and are done together. So does affinity scheduling
/// (Markatos, LeBlanc 1992).
///
/// `Relaxed` is enough, for the same reason as in [`Cursor`](crate::cursor::Cursor): `[once]` in `docs/protocols/jobs.md`.
#[derive(Debug)]
pub(crate) struct Claims {
    /// What nobody has taken, by seat: a [`Left`] each.
    words: Words,
    /// The numbers of each seat.
    seats: Plan<usize>,
    /// Set once a thread has found nothing left in any run, so that others need not look at all.
    used_up: AtomicBool,
}

/// What a thread remembers from one take to the next.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// The seat it is to have, where that is free.
    preferred: usize,
    /// The run it takes from; `None` before the first.
    at: Option<At>,
}

/// A run, and at which end a thread takes from it.
#[derive(Clone, Debug)]
struct At {
    seat: usize,
    /// The run's numbers.
    run: Range<usize>,
    /// Whether it is the thread's own, so that it takes the first ones.
    is_own: bool,
}

impl Seat {
    /// The seat of a thread; it is the same one in every loop where the `thread` number is.
    #[inline]
    pub(crate) fn of(thread: usize) -> Self {
        Self { preferred: thread, at: None }
    }
}

/// What is left of a run: its first number and the one after its last, counted from the run's start, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    start: u32,
    end: u32,
}

/// What is left where all is taken.
const NOTHING: u64 = 0;

impl Left {
    #[inline]
    fn of(word: u64) -> Self {
        Self { start: word as u32, end: (word >> u32::BITS) as u32 }
    }

    #[inline]
    fn word(self) -> u64 {
        u64::from(self.start) | u64::from(self.end) << u32::BITS
    }

    #[inline]
    fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Seats whose words have a line of cache each, so that threads do not wait for each other before they share a run.
const LINES: usize = if cfg!(loom) { 2 } else { 16 };

/// The words of all seats; as many as any usual machine has threads lie in the loop's own frame.
#[expect(
    clippy::large_enum_variant,
    reason = "a loop makes one, in its frame so as not to allocate"
)]
#[derive(Debug)]
enum Words {
    /// Seats whose numbers differ by [`LINES`] share a line.
    InFrame([CachePadded<[AtomicU64; LINES]>; LINES]),
    /// A line for each seat.
    Boxed(Box<[CachePadded<AtomicU64>]>),
}

impl Words {
    /// Words of [`NOTHING`] for so many seats.
    #[inline]
    fn new(seats: usize) -> Self {
        if seats <= LINES * LINES {
            let line = |_| CachePadded::new(std::array::from_fn(|_| AtomicU64::new(NOTHING)));
            Self::InFrame(std::array::from_fn(line))
        } else {
            Self::Boxed((0..seats).map(|_| CachePadded::new(AtomicU64::new(NOTHING))).collect())
        }
    }

    #[inline]
    fn of(&self, seat: usize) -> &AtomicU64 {
        match self {
            Self::InFrame(lines) => &lines[seat % LINES][seat / LINES],
            Self::Boxed(words) => &words[seat],
        }
    }
}

impl Claims {
    /// Deals the numbers below `limit` to `seats` seats, not zero.
    #[inline]
    pub(crate) fn new(limit: usize, seats: usize) -> Self {
        // A run's numbers are counted by a u32.
        let seats = seats.max(limit.div_ceil(u32::MAX as usize)).max(1);
        let seats = Plan::dealt(limit, seats);
        let words = Words::new(seats.chunks());
        let claims = Self { words, seats, used_up: AtomicBool::new(false) };
        for (seat, run) in claims.seats.iter().enumerate() {
            let left = Left { start: 0, end: run.len() as u32 };
            // Relaxed: nobody has it yet.
            claims.words.of(seat).store(left.word(), Ordering::Relaxed);
        }
        claims
    }

    /// Takes the next numbers for the thread in a seat, at least one; `None` once all are taken.
    ///
    /// All that are taken at once are in the range that `together` names for the first, or the last, of them.
    #[inline]
    pub(crate) fn take(
        &self,
        seat: &mut Seat,
        together: impl Fn(usize) -> Range<usize>,
    ) -> Option<Range<usize>> {
        let Some(at) = &mut seat.at else { return self.sit_down(seat, together) };
        self.take_from(at, |_| true, &together).or_else(|| self.steal(at, together))
    }

    /// Takes the first numbers of a seat that nobody has: the one asked for, or the next that is free.
    fn sit_down(
        &self,
        seat: &mut Seat,
        together: impl Fn(usize) -> Range<usize>,
    ) -> Option<Range<usize>> {
        let seats = self.seats.chunks();
        let first = seat.preferred.checked_rem(seats)?;
        for number in (first..seats).chain(0..first) {
            let Some(run) = self.seats.chunk(number) else { continue };
            let at = At { seat: number, run, is_own: true };
            let taken = self.take_from(&at, |left| left.start == 0, &together);
            if taken.is_some() {
                seat.at = Some(at);
                return taken;
            }
        }
        let run = self.seats.chunk(first)?;
        self.steal(seat.at.insert(At { seat: first, run, is_own: false }), together)
    }

    /// Takes the last numbers of the run it is at, or of the next one where any are left.
    #[inline(never)]
    fn steal(&self, at: &mut At, together: impl Fn(usize) -> Range<usize>) -> Option<Range<usize>> {
        // Relaxed: what is taken stays taken.
        if self.used_up.load(Ordering::Relaxed) {
            return None;
        }
        let seats = self.seats.chunks();
        at.is_own = false;
        // The run it is at comes last.
        for _ in 0..seats {
            let next = if at.seat + 1 < seats { at.seat + 1 } else { 0 };
            (at.seat, at.run) = (next, self.seats.chunk(next)?);
            if let Some(taken) = self.take_from(at, |_| true, &together) {
                return Some(taken);
            }
        }
        self.used_up.store(true, Ordering::Relaxed);
        None
    }

    /// Takes numbers of a run; `None` where none is left of it, or what is left is not what the thread wants.
    #[inline]
    fn take_from(
        &self,
        At { seat, run, is_own }: &At,
        wants: impl Fn(Left) -> bool,
        together: impl Fn(usize) -> Range<usize>,
    ) -> Option<Range<usize>> {
        let word = self.words.of(*seat);
        let quarter = run.len().div_ceil(4);
        let mut now = word.load(Ordering::Relaxed);
        loop {
            let left = Left::of(now);
            if left.is_empty() || !wants(left) {
                return None;
            }
            let (start, end) = (run.start + left.start as usize, run.start + left.end as usize);
            let most = (end - start).div_ceil(2).min(quarter);
            // What is counted from the run's start is no more than its length.
            let (taken, rest) = if *is_own {
                let until = (start + most).min(together(start).end);
                (start..until, Left { start: (until - run.start) as u32, ..left })
            } else {
                let from = (end - most).max(together(end - 1).start);
                (from..end, Left { end: (from - run.start) as u32, ..left })
            };
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            match word.compare_exchange_weak(now, rest.word(), success, failure) {
                Ok(_) => return Some(taken),
                Err(changed) => now = changed,
            }
        }
    }

    /// Whether all numbers are taken.
    #[inline]
    pub(crate) fn is_used_up(&self) -> bool {
        self.used_up.load(Ordering::Relaxed) || self.has_nothing_left()
    }

    /// As [`is_used_up`](Self::is_used_up), whatever was noted.
    #[inline]
    pub(crate) fn has_nothing_left(&self) -> bool {
        let is_empty = |seat| Left::of(self.words.of(seat).load(Ordering::Relaxed)).is_empty();
        (0..self.seats.chunks()).all(is_empty)
    }

    /// Counts all numbers as taken; whoever did finds them so (`[close]`).
    pub(crate) fn close(&self) {
        for seat in 0..self.seats.chunks() {
            self.words.of(seat).swap(NOTHING, Ordering::Relaxed);
        }
        self.used_up.store(true, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
