//! The word of a front: tickets of the open call, and helpers that look for work.

use super::Tickets;

/// What is in a front's word: `[round: 33][required: 9][optional: 9][searching: 13]`.
///
/// `required` and `optional` are tickets that nobody has taken. `searching` are helpers that look
/// for work, and those that were woken to do so.
///
/// Rounds begin again after 2^33 calls, three quarters of an hour of nothing else. A helper that is
/// away for exactly so many takes the call for the one that it came to last, and does not come; a
/// caller that is stopped in `Claim::claim` for as long would add its tickets to another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

/// The number of a post's call. Each helper takes one ticket of a round at most, so it remembers the last.
pub(crate) type Round = u64;

const SEARCHING: u32 = 13;
const TICKETS: u32 = 9;
const OPTIONAL: u32 = SEARCHING;
const REQUIRED: u32 = OPTIONAL + TICKETS;
const ROUND: u32 = REQUIRED + TICKETS;

/// The most helpers that can be counted as searching, and so the most of a node.
pub(crate) const MAX_SEARCHING: usize = (1 << SEARCHING) - 1;
/// More tickets of a kind than these are asked for on the board.
const MAX_TICKETS: u64 = (1 << TICKETS) - 1;
/// The rounds that a word can name.
pub(super) const ROUNDS: Round = 1 << (u64::BITS - ROUND);

/// What one helper that searches adds to a word.
pub(super) const ONE_SEARCHING: u64 = 1;

impl Word {
    /// What a call of the next round adds to a word that has no tickets; `None` where it wants more than fit.
    pub(super) fn opening(tickets: Tickets) -> Option<u64> {
        let (required, optional) = (tickets.required as u64, tickets.optional as u64);
        let fits = required <= MAX_TICKETS && optional <= MAX_TICKETS;
        fits.then_some(1 << ROUND | required << REQUIRED | optional << OPTIONAL)
    }

    /// The word without one ticket, a required one where there is one.
    pub(super) fn without_ticket(self) -> Self {
        Self(self.0 - if self.required() > 0 { 1 << REQUIRED } else { 1 << OPTIONAL })
    }

    pub(super) fn without_optional(self) -> Self {
        Self(self.0 & !(MAX_TICKETS << OPTIONAL))
    }

    pub(super) fn without_searching(self) -> Self {
        debug_assert!(self.searching() > 0, "who does not search cannot end it");
        Self(self.0 - ONE_SEARCHING)
    }

    pub(super) fn round(self) -> Round {
        self.0 >> ROUND
    }

    pub(super) fn required(self) -> usize {
        (self.0 >> REQUIRED & MAX_TICKETS) as usize
    }

    pub(super) fn optional(self) -> usize {
        (self.0 >> OPTIONAL & MAX_TICKETS) as usize
    }

    /// The tickets left.
    pub(super) fn tickets(self) -> Tickets {
        Tickets { required: self.required(), optional: self.optional() }
    }

    pub(super) fn searching(self) -> usize {
        self.0 as usize & MAX_SEARCHING
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_word_are_apart() {
        let all = MAX_TICKETS as usize;
        let most = Tickets { required: all, optional: all };
        let opening = Word::opening(most).expect("as many as fit");
        let word = Word(opening + ((ROUNDS - 2) << ROUND) + MAX_SEARCHING as u64);
        assert_eq!(word.round(), ROUNDS - 1);
        assert_eq!((word.tickets(), word.searching()), (most, MAX_SEARCHING));
        assert_eq!(word.without_ticket().tickets(), Tickets { required: all - 1, optional: all });
        assert_eq!(word.without_optional().tickets(), Tickets { required: all, optional: 0 });
        let without = word.without_searching();
        assert_eq!((without.searching(), without.round()), (MAX_SEARCHING - 1, ROUNDS - 1));
        assert_eq!(without.tickets(), most);

        let optional = Word(Word::opening(Tickets { required: 0, optional: 2 }).expect("it fits"));
        assert_eq!(optional.without_ticket().tickets(), Tickets { required: 0, optional: 1 });
        assert_eq!(Word::opening(Tickets { required: all + 1, optional: 0 }), None);
        assert_eq!(Word::opening(Tickets { required: 0, optional: all + 1 }), None);
    }

    #[test]
    fn the_round_after_the_last_is_the_first() {
        let last = Word((ROUNDS - 1) << ROUND | 5);
        let opening = Word::opening(Tickets { required: 1, optional: 0 }).expect("it fits");
        let next = Word(last.0.wrapping_add(opening));
        assert_eq!((next.round(), next.required(), next.searching()), (0, 1, 5));
    }
}
