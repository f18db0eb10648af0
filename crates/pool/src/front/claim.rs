//! The claim: which caller may write to a node's post.
//!
//! The states, both sides' steps, the race and the proof are in `docs/protocols/team.md`.

use std::ptr;

use super::word::{ROUNDS, Round};
use super::{Front, Tickets};
use crate::call::{Call, CallRef};
use crate::sync::{AtomicPtr, AtomicU64, Ordering};

/// Which caller may write to a node's post.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Round, and what its caller does: see [`Claimed`]. Invariant: the round never falls, but to begin again after the last.
    word: AtomicU64,
    /// The call of that round. Invariant: written only by whoever has claimed the round.
    call: AtomicPtr<Call>,
}

/// What is in a claim's word: `[round: 33][state: 2]`.
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

impl Default for Claim {
    fn default() -> Self {
        Self { word: AtomicU64::new(0), call: AtomicPtr::new(ptr::null_mut()) }
    }
}

impl Claim {
    /// Claims the next round for a call; `None` where another call has the post, or tickets of one are left.
    #[inline]
    pub(super) fn claim(&self, front: &Front, call: &CallRef) -> Option<Round> {
        // [open] Acquire: an open round's tickets are visible.
        let last = Claimed(self.word.load(Ordering::Acquire));
        let free = match last.state() {
            Claimed::CLOSED => true,
            Claimed::WRITING => false,
            // Relaxed: as the claim below succeeds, no later round was open.
            _ => front.all_tickets() == Tickets::default(),
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

    /// Says that the round that the caller has claimed is open.
    #[inline]
    pub(super) fn open(&self, round: Round) {
        // [open] Release: whoever sees that the round is open sees its tickets.
        self.word.store(Claimed::new(round, Claimed::OPEN).0, Ordering::Release);
    }

    /// Says that no ticket of a call is left, where it has the post: the next caller need not look.
    #[inline]
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
