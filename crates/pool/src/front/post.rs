//! The post: where one fork-join call at a time asks a node's helpers without a lock.
//!
//! A caller that finds it taken goes to the [board](crate::board). The states,
//! both sides' steps, the race and the proof are in `docs/protocols/team.md`.

use std::ptr;

use super::sleep::{Searching, search_ended};
use super::word::{Round, Word};
use super::{Claim, Front};
use crate::board::Looking;
use crate::call::{Arrival, Call, CallRef, Run};
use crate::shared::Shared;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// The call of a post's round.
///
/// What helpers watch and what callers agree by, the [`Claim`], are apart, so that a caller
/// writes to the watched line once for a call.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Posted {
    /// Invariant: as for all below, written only by whoever has claimed the
    /// round, before it is open.
    call: AtomicPtr<Call>,
    share: AtomicPtr<()>,
    run: AtomicPtr<()>,
    /// The order of arrival of whoever takes the round's last ticket.
    last: AtomicUsize,
}

impl Default for Posted {
    fn default() -> Self {
        Self {
            call: AtomicPtr::new(ptr::null_mut()),
            share: AtomicPtr::new(ptr::null_mut()),
            run: AtomicPtr::new(ptr::null_mut()),
            last: AtomicUsize::new(0),
        }
    }
}

/// A call that has been opened on a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) round: Round,
    /// How many helpers looked for work when its tickets came: each sees them before it ends its search.
    pub(crate) searching: usize,
}

/// A ticket that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub(crate) part: Part,
    pub(crate) round: Round,
    /// Where the helper ended its search with it: whether others search.
    pub(crate) searching: Option<Searching>,
}

/// One member's part in a call, which its thread must now take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) call: CallRef,
    /// 1 for the first ticket of the call, and so on.
    pub(crate) order: usize,
    /// Whether tickets were left.
    pub(crate) more: bool,
}

impl Part {
    /// Takes the part as this helper, and calls `done` before its caller learns that it is. Never unwinds.
    ///
    /// # Safety
    ///
    /// - `[part]` as in [`CallRef::take_part`].
    pub(crate) unsafe fn take(self, shared: &Shared, helper: usize, done: impl FnOnce()) {
        let arrival = Arrival { order: self.order, helper: Some(helper) };
        // SAFETY: [part].
        unsafe { self.call.take_part(shared, arrival, done) }
    }
}

/// Tickets of open calls that nobody has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tickets {
    pub(crate) required: usize,
    pub(crate) optional: usize,
}

impl Tickets {
    #[inline]
    pub(crate) fn total(self) -> usize {
        self.required.saturating_add(self.optional)
    }

    #[inline]
    fn suit(self, looking: Looking) -> bool {
        match looking {
            Looking::ForAny => self.total() > 0,
            Looking::ForRequired => self.required > 0,
        }
    }
}

/// Has the processor fetch what lies there, if it can.
#[inline]
fn prefetch(at: *const ()) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: [hint] a prefetch reads nothing, and may be of any address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

impl Front {
    /// Opens a call for so many helpers; `None` where another is open, or they are too many.
    ///
    /// `first` is the order of arrival of whoever takes the first ticket. The
    /// caller keeps the call's frame until all tickets are given up.
    #[inline]
    pub(crate) fn open(
        &self,
        claim: &Claim,
        call: CallRef,
        first: usize,
        tickets: Tickets,
    ) -> Option<Opened> {
        let opening = Word::opening(tickets)?;
        let round = claim.claim(self, &call)?;
        let posted = &self.posted;
        // [call] Release: a helper that reads one of these sees that the last
        // round had no tickets left, so its exchange for one of them fails.
        posted.call.store(call.call.cast_mut(), Ordering::Release);
        posted.share.store(call.share.cast_mut(), Ordering::Release);
        posted.run.store(call.run as *mut (), Ordering::Release);
        posted.last.store(first + tickets.total() - 1, Ordering::Release);
        // [open] Release: publishes the call to the helpers that see the tickets.
        // Adds, as helpers that begin or end their search change the word meanwhile.
        let before = Word(self.word.fetch_add(opening, Ordering::Release));
        claim.open(round);
        Some(Opened { round, searching: before.searching() })
    }

    /// Takes a ticket that suits a helper which took part in `last`, a required one first.
    ///
    /// Whoever gets a part from here must take it. With `ends_search` the helper,
    /// which is one of those that search, is not any more.
    #[inline]
    pub(crate) fn accept(
        &self,
        last: Round,
        looking: Looking,
        ends_search: bool,
    ) -> Option<Accepted> {
        loop {
            // [open] Acquire: the call of this round, or a later one, is visible.
            let word = Word(self.word.load(Ordering::Acquire));
            let tickets = word.tickets();
            if word.round() == last || !tickets.suit(looking) {
                return None;
            }
            let posted = &self.posted;
            // [call] Acquire: where this is of a later round, the exchange fails.
            let call = posted.call.load(Ordering::Acquire);
            let share = posted.share.load(Ordering::Acquire);
            let run = posted.run.load(Ordering::Acquire);
            let last_order = posted.last.load(Ordering::Acquire);
            // While the exchange waits for the word's line: what is run lies in its caller's.
            prefetch(share);
            let mut after = word.without_ticket();
            if ends_search {
                after = after.without_searching();
            }
            // Relaxed: the look at the word has published the call.
            let taken =
                self.word.compare_exchange(word.0, after.0, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_ok() {
                // SAFETY: the round is open, so this is what its caller has stored.
                let run = unsafe { std::mem::transmute::<*mut (), Run>(run) };
                // Tickets that were withdrawn leave a gap, and no number twice.
                let order = last_order + 1 - tickets.total();
                let more = tickets.total() > 1;
                return Some(Accepted {
                    part: Part { call: CallRef { call, share, run }, order, more },
                    round: word.round(),
                    searching: ends_search.then(|| search_ended(word)),
                });
            }
        }
    }

    /// Takes back what nobody has accepted and nobody must; returns how many tickets it was.
    #[must_use]
    #[inline]
    pub(crate) fn withdraw(&self, call: &CallRef) -> usize {
        loop {
            // [open] Acquire: the call of this round, or a later one, is visible.
            let word = Word(self.word.load(Ordering::Acquire));
            let optional = word.optional();
            // Relaxed: while its frame lives, no other call has this address.
            if optional == 0 || !ptr::eq(self.posted.call.load(Ordering::Relaxed), call.call) {
                return 0;
            }
            let without = word.without_optional();
            let taken =
                self.word.compare_exchange(word.0, without.0, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_ok() {
                return optional;
            }
        }
    }

    /// The tickets left to a helper that took part in `last`.
    #[inline]
    pub(crate) fn tickets(&self, last: Round) -> Tickets {
        // Relaxed: the caller's fence orders it, where that matters.
        let word = Word(self.word.load(Ordering::Relaxed));
        if word.round() == last { Tickets::default() } else { word.tickets() }
    }

    /// Whether required tickets are left, and a helper that took part in `last` has come to their call.
    #[inline]
    pub(crate) fn requires_others(&self, last: Round) -> bool {
        // Relaxed: as above.
        let word = Word(self.word.load(Ordering::Relaxed));
        word.round() == last && word.required() > 0
    }

    /// The tickets left to helpers that have not come.
    #[inline]
    pub(crate) fn all_tickets(&self) -> Tickets {
        // Relaxed: as above.
        Word(self.word.load(Ordering::Relaxed)).tickets()
    }

    /// The round whose call requires helpers that have not come, and how many.
    #[inline]
    pub(crate) fn required(&self) -> Option<(Round, usize)> {
        // Relaxed: as above.
        let word = Word(self.word.load(Ordering::Relaxed));
        (word.required() > 0).then(|| (word.round(), word.required()))
    }
}
