//! Which chunk is next, where each thread has chunks of its own to begin with.

use crossbeam_utils::CachePadded;

use crate::plan::Plan;
use crate::sync::{AtomicU64, Ordering};

/// Hands out the numbers below a limit, each once, to threads that sit in seats.
///
/// The numbers are dealt to the seats in equal runs. A thread takes those of
/// its seat in order, then what it finds unclaimed in the runs after. So a
/// loop that is run again gives a thread the same chunks, where it comes in
/// time, and their data is in that thread's caches; and a thread that is late,
/// or does not come, leaves its run to the others.
///
/// `Relaxed` is enough, for the same reason as in [`Cursor`](crate::cursor::Cursor): `[once]` in `docs/protocols/jobs.md`.
#[derive(Debug)]
pub(crate) struct Claims {
    /// One bit for each number, set once it is taken. Invariant: bits past the limit are set, and none is ever cleared.
    words: Words,
    limit: usize,
    /// The numbers of each seat.
    seats: Plan<usize>,
}

/// What a thread remembers from one number to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// The seat it is to have, where that is free.
    preferred: usize,
    /// Where it looks next; `None` until it has a seat.
    next: Option<usize>,
}

impl Seat {
    /// The seat of a thread; it is the same one in every loop where the `thread` number is.
    #[inline]
    pub(crate) fn of(thread: usize) -> Self {
        Self { preferred: thread, next: None }
    }
}

/// Words that lie in the loop's own frame.
const INLINE: usize = 8;

#[derive(Debug)]
enum Words {
    Inline(CachePadded<[AtomicU64; INLINE]>),
    Boxed(Box<[AtomicU64]>),
}

impl Words {
    const BITS: usize = u64::BITS as usize;

    /// Words with the first `limit` bits clear and all others set.
    fn new(limit: usize) -> Self {
        let word = |index: usize| {
            let bits = limit.saturating_sub(index * Self::BITS);
            AtomicU64::new(if bits >= Self::BITS { 0 } else { u64::MAX << bits })
        };
        if limit <= INLINE * Self::BITS {
            Self::Inline(CachePadded::new(std::array::from_fn(word)))
        } else {
            Self::Boxed((0..limit.div_ceil(Self::BITS)).map(word).collect())
        }
    }

    #[inline]
    fn get(&self) -> &[AtomicU64] {
        match self {
            Self::Inline(words) => &**words,
            Self::Boxed(words) => words,
        }
    }
}

impl Claims {
    /// Deals the numbers below `limit` to `seats` seats, not zero.
    #[inline]
    pub(crate) fn new(limit: usize, seats: usize) -> Self {
        let seats = Plan::dealt(limit, seats.max(1));
        Self { words: Words::new(limit), limit, seats }
    }

    /// Takes a number for the thread in a seat; `None` once all are taken.
    #[inline]
    pub(crate) fn take(&self, seat: &mut Seat) -> Option<usize> {
        let taken = match seat.next {
            Some(next) => self.take_from(next),
            None => self.sit_down(seat.preferred).or_else(|| self.take_from(0)),
        }?;
        seat.next = Some(taken + 1);
        Some(taken)
    }

    /// Takes the first number of a seat that nobody has: the one asked for, or the next that is free.
    #[inline]
    fn sit_down(&self, seat: usize) -> Option<usize> {
        let seats = self.seats.chunks();
        let first = seat.checked_rem(seats)?;
        let in_turn = (first..seats).chain(0..first);
        in_turn.filter_map(|seat| self.seats.chunk(seat)).map(|run| run.start).find(|&number| {
            let (word, bit) = self.bit(number);
            word.load(Ordering::Relaxed) & bit == 0 && claim(word, bit)
        })
    }

    /// Takes the first number that nobody has, from `next` on and then from the first.
    #[inline]
    fn take_from(&self, next: usize) -> Option<usize> {
        let words = &self.words.get()[..self.limit.div_ceil(Words::BITS)];
        if words.is_empty() {
            return None;
        }
        let start = if next < self.limit { next } else { 0 };
        let first = start / Words::BITS;
        // The first word comes twice: from `start` on, and at last whole.
        for step in 0..=words.len() {
            let index = (first + step) % words.len();
            let word = &words[index];
            let from = if step == 0 { u64::MAX << (start % Words::BITS) } else { u64::MAX };
            loop {
                let free = !word.load(Ordering::Relaxed) & from;
                if free == 0 {
                    break;
                }
                let bit = free & free.wrapping_neg();
                if claim(word, bit) {
                    return Some(index * Words::BITS + bit.trailing_zeros() as usize);
                }
            }
        }
        None
    }

    /// Whether all numbers are taken.
    #[inline]
    pub(crate) fn is_used_up(&self) -> bool {
        self.words.get().iter().all(|word| word.load(Ordering::Relaxed) == u64::MAX)
    }

    /// Counts all numbers as taken; whoever did finds them so (`[close]`).
    pub(crate) fn close(&self) {
        for word in self.words.get() {
            word.fetch_or(u64::MAX, Ordering::Relaxed);
        }
    }

    #[inline]
    fn bit(&self, number: usize) -> (&AtomicU64, u64) {
        (&self.words.get()[number / Words::BITS], 1 << (number % Words::BITS))
    }
}

/// Sets a bit; says whether this thread was the one to set it.
#[inline]
fn claim(word: &AtomicU64, bit: u64) -> bool {
    word.fetch_or(bit, Ordering::Relaxed) & bit == 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::iter;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn all(claims: &Claims, thread: usize) -> Vec<usize> {
        let mut seat = Seat::of(thread);
        iter::from_fn(|| claims.take(&mut seat)).collect()
    }

    #[test]
    fn a_thread_begins_with_its_own_run_and_goes_on_with_those_after() {
        let claims = Claims::new(8, 4);
        assert_eq!(all(&claims, 2), [4, 5, 6, 7, 0, 1, 2, 3]);
        assert!(claims.is_used_up());
    }

    #[test]
    fn a_thread_whose_seat_is_taken_gets_the_next_that_is_free() {
        let claims = Claims::new(8, 4);
        let (mut first, mut second, mut third) = (Seat::of(3), Seat::of(3), Seat::of(7));
        assert_eq!(claims.take(&mut first), Some(6));
        assert_eq!(claims.take(&mut second), Some(0));
        assert_eq!(claims.take(&mut third), Some(2));
        assert_eq!(claims.take(&mut first), Some(7));
        assert_eq!(claims.take(&mut second), Some(1));
        assert_eq!(claims.take(&mut second), Some(3), "then what is left");
    }

    #[test]
    fn closed_and_empty_claims_hand_out_nothing() {
        let claims = Claims::new(1000, 7);
        let mut seat = Seat::of(1);
        assert!(claims.take(&mut seat).is_some() && !claims.is_used_up());
        claims.close();
        assert!(claims.is_used_up() && claims.take(&mut seat).is_none());
        assert!(all(&Claims::new(0, 3), 1).is_empty());
    }

    #[test]
    fn every_number_is_taken_once_by_threads_in_contention() {
        for limit in [16, 64, 500, 513, 4096] {
            let claims = Claims::new(limit, 4);
            let mut taken: Vec<usize> = thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|thread| {
                        let claims = &claims;
                        scope.spawn(move || all(claims, thread))
                    })
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
            });
            taken.sort_unstable();
            assert!(taken.into_iter().eq(0..limit));
        }
    }

    proptest! {
        #[test]
        fn any_interleaving_takes_every_number_once(
            limit in 0_usize..1200,
            seats in 1_usize..200,
            turns in prop::collection::vec(0_usize..8, 1..50),
        ) {
            let claims = Claims::new(limit, seats);
            let mut seats_taken: Vec<Seat> = (0..8).map(|thread| Seat::of(thread * 3)).collect();
            let mut taken = vec![false; limit];
            for turn in turns.iter().cycle().take(limit + turns.len()) {
                if let Some(number) = claims.take(&mut seats_taken[*turn]) {
                    prop_assert!(!taken[number]);
                    taken[number] = true;
                }
            }
            prop_assert!(taken.into_iter().all(|taken| taken));
            prop_assert!(claims.is_used_up());
        }
    }
}
