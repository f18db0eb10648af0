//! The post: where one fork-join call at a time asks a node's helpers without a lock.
//!
//! A caller that finds it taken goes to the [board](crate::board). The states,
//! both sides' steps, the race and the proof are in `docs/protocols/team.md`.

use std::ptr;

use crate::board::Looking;
use crate::call::{Arrival, Call, CallRef, Run};
use crate::shared::Shared;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// One node's call that is open, if there is one.
///
/// What helpers watch and what callers agree by are apart, so that a caller
/// writes to the watched line once for a call.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Post {
    /// Round, and tickets: see [`Word`]. Invariant: the round never falls.
    word: AtomicU64,
    /// The call of that round. Invariant: as for all below, written only by
    /// whoever has claimed the round, before it is open.
    call: AtomicPtr<Call>,
    share: AtomicPtr<()>,
    run: AtomicPtr<()>,
    /// The order of arrival of whoever takes the round's last ticket.
    last: AtomicUsize,
}

/// Which caller may write to a node's post.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Round, and what its caller does: see [`Claimed`]. Invariant: the round never falls.
    word: AtomicU64,
    /// The call of that round. Invariant: written only by whoever has claimed the round.
    call: AtomicPtr<Call>,
}

/// What is in a claim's word: `[round: 40][state: 2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claimed(u64);

impl Claimed {
    /// The caller has no tickets left on the post.
    const CLOSED: u64 = 0;
    /// The caller is writing its call.
    const WRITING: u64 = 1;
    /// The call is open; tickets may be left.
    const OPEN: u64 = 2;

    fn new(round: Round, state: u64) -> Self {
        Self(round << 2 | state)
    }

    fn round(self) -> Round {
        self.0 >> 2
    }

    fn state(self) -> u64 {
        self.0 & 3
    }
}

/// What is in the post's word: `[round: 40][required: 12][optional: 12]`.
///
/// `required` and `optional` are tickets that nobody has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

const TICKETS: u32 = 12;
/// More tickets than these are asked for on the board.
const MAX: u64 = (1 << TICKETS) - 1;
/// The rounds that a word can name.
const ROUNDS: Round = 1 << (u64::BITS - 2 * TICKETS);

/// The number of a post's call. Each helper takes one ticket of a round at most, so it remembers the last.
pub(crate) type Round = u64;

impl Word {
    fn new(round: Round, required: u64, optional: u64) -> Self {
        Self(round << (2 * TICKETS) | required << TICKETS | optional)
    }

    fn round(self) -> Round {
        self.0 >> (2 * TICKETS)
    }

    fn required(self) -> u64 {
        self.0 >> TICKETS & MAX
    }

    fn optional(self) -> u64 {
        self.0 & MAX
    }

    /// The tickets left.
    fn tickets(self) -> Tickets {
        Tickets { required: self.required() as usize, optional: self.optional() as usize }
    }
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
    pub(crate) fn total(self) -> usize {
        self.required.saturating_add(self.optional)
    }

    fn suit(self, looking: Looking) -> bool {
        match looking {
            Looking::ForAny => self.total() > 0,
            Looking::ForRequired => self.required > 0,
        }
    }
}

impl Default for Post {
    fn default() -> Self {
        Self {
            word: AtomicU64::new(0),
            call: AtomicPtr::new(ptr::null_mut()),
            share: AtomicPtr::new(ptr::null_mut()),
            run: AtomicPtr::new(ptr::null_mut()),
            last: AtomicUsize::new(0),
        }
    }
}

impl Default for Claim {
    fn default() -> Self {
        Self { word: AtomicU64::new(0), call: AtomicPtr::new(ptr::null_mut()) }
    }
}

impl Claim {
    /// Claims the next round for a call; `None` where another call has the post, or tickets of one are left.
    fn claim(&self, post: &Post, call: &CallRef) -> Option<Round> {
        // [open] Acquire: an open round's tickets are visible.
        let last = Claimed(self.word.load(Ordering::Acquire));
        let free = match last.state() {
            Claimed::CLOSED => true,
            Claimed::WRITING => false,
            // Relaxed: as the claim below succeeds, no later round was open.
            _ => Word(post.word.load(Ordering::Relaxed)).tickets() == Tickets::default(),
        };
        if !free {
            return None;
        }
        let round = (last.round() + 1) % ROUNDS;
        let next = Claimed::new(round, Claimed::WRITING);
        // [open] Acquire: this round's stores come after those of the last.
        let claim =
            self.word.compare_exchange(last.0, next.0, Ordering::Acquire, Ordering::Relaxed);
        claim.ok()?;
        // Relaxed: the store of the state publishes it to the call's own thread only.
        self.call.store(call.call.cast_mut(), Ordering::Relaxed);
        Some(round)
    }

    /// Says that no ticket of a call is left, where it has the post: the next caller need not look.
    pub(crate) fn close(&self, call: &CallRef) {
        // [open] Acquire: the call read below is this round's or a later one's, never an earlier one's.
        let open = Claimed(self.word.load(Ordering::Acquire));
        // Relaxed: while its frame lives, no other call has this address. So this
        // round is that call's, or one of a call that was at the address before,
        // and has no ticket left either.
        let is_own = ptr::eq(self.call.load(Ordering::Relaxed), call.call);
        if open.state() != Claimed::OPEN || !is_own {
            return;
        }
        let closed = Claimed::new(open.round(), Claimed::CLOSED);
        // [open] Release: all tickets were taken, or taken back, before the next round's stores.
        // Where it fails, another caller has seen that none is left.
        let _ = self.word.compare_exchange(open.0, closed.0, Ordering::Release, Ordering::Relaxed);
    }
}

impl Post {
    /// Opens a call for so many helpers; `None` where another is open, or they are too many.
    ///
    /// `first` is the order of arrival of whoever takes the first ticket. The
    /// caller keeps the call's frame until all tickets are given up.
    pub(crate) fn open(
        &self,
        claim: &Claim,
        call: CallRef,
        first: usize,
        tickets: Tickets,
    ) -> Option<Round> {
        let (required, optional) = (tickets.required as u64, tickets.optional as u64);
        if required > MAX || optional > MAX {
            return None;
        }
        let round = claim.claim(self, &call)?;
        // [call] Release: a helper that reads one of these sees that the last
        // round had no tickets left, so its exchange for one of them fails.
        self.call.store(call.call.cast_mut(), Ordering::Release);
        self.share.store(call.share.cast_mut(), Ordering::Release);
        self.run.store(call.run as *mut (), Ordering::Release);
        self.last.store(first + tickets.total() - 1, Ordering::Release);
        // [open] Release: publishes the call to the helpers that see the tickets.
        self.word.store(Word::new(round, required, optional).0, Ordering::Release);
        // [open] Release: whoever sees that the round is open sees its tickets.
        claim.word.store(Claimed::new(round, Claimed::OPEN).0, Ordering::Release);
        Some(round)
    }

    /// Takes a ticket that suits a helper which took part in `last`, a required one first.
    ///
    /// Whoever gets a part from here must take it.
    #[inline]
    pub(crate) fn accept(&self, last: Round, looking: Looking) -> Option<(Part, Round)> {
        loop {
            // [open] Acquire: the call of this round, or a later one, is visible.
            let word = Word(self.word.load(Ordering::Acquire));
            let tickets = word.tickets();
            if word.round() == last || !tickets.suit(looking) {
                return None;
            }
            // [call] Acquire: where this is of a later round, the exchange fails.
            let call = self.call.load(Ordering::Acquire);
            let share = self.share.load(Ordering::Acquire);
            let run = self.run.load(Ordering::Acquire);
            let last_order = self.last.load(Ordering::Acquire);
            let one = if tickets.required > 0 { 1 << TICKETS } else { 1 };
            // Relaxed: the look at the word has published the call.
            let taken = self.word.compare_exchange(
                word.0,
                word.0 - one,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if taken.is_ok() {
                // SAFETY: the round is open, so this is what its caller has stored.
                let run = unsafe { std::mem::transmute::<*mut (), Run>(run) };
                // Tickets that were withdrawn leave a gap, and no number twice.
                let order = last_order + 1 - tickets.total();
                let more = tickets.total() > 1;
                return Some((
                    Part { call: CallRef { call, share, run }, order, more },
                    word.round(),
                ));
            }
        }
    }

    /// Takes back what nobody has accepted and nobody must; returns how many tickets it was.
    #[must_use]
    pub(crate) fn withdraw(&self, call: &CallRef) -> usize {
        loop {
            // [open] Acquire: the call of this round, or a later one, is visible.
            let word = Word(self.word.load(Ordering::Acquire));
            let optional = word.tickets().optional;
            // Relaxed: while its frame lives, no other call has this address.
            if optional == 0 || !ptr::eq(self.call.load(Ordering::Relaxed), call.call) {
                return 0;
            }
            let without = word.0 - optional as u64;
            let taken =
                self.word.compare_exchange(word.0, without, Ordering::Relaxed, Ordering::Relaxed);
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
    pub(crate) fn all_tickets(&self) -> Tickets {
        // Relaxed: as above.
        Word(self.word.load(Ordering::Relaxed)).tickets()
    }
}
