//! The board: where a node's helpers find invitations to calls beyond the one on the post.
//!
//! The states, both sides' steps, the race and the proof are in
//! `docs/protocols/team.md`.

use crate::call::CallRef;
use crate::front::{Part, Tickets};
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// One node's invitations, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Invariant: the length of `list`, written only under its lock.
    posted: AtomicUsize,
    list: Mutex<Vec<Invitation>>,
}

/// One call's invitation to one node: so many helpers that must come, so many that may.
#[derive(Debug)]
pub(crate) struct Invitation {
    /// Invariant: the call is alive while its invitation is on a board, and
    /// from acceptance until the member gives up its part.
    pub(crate) call: CallRef,
    /// Helpers that must still come; the caller waits for them.
    pub(crate) required: usize,
    /// Helpers that may still come, until the caller withdraws this.
    pub(crate) optional: usize,
    /// The order of arrival of whoever takes the first ticket that is left.
    pub(crate) next: usize,
    /// The helpers that have come, and the caller where it is one of them.
    pub(crate) came: HelperSet,
}

/// Which invitations a helper looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looking {
    /// All of them: the helper has nothing else to do.
    ForAny,
    /// Those that another thread waits for: the helper itself waits for something.
    ForRequired,
}

impl Invitation {
    fn suits(&self, helper: usize, looking: Looking) -> bool {
        let open = match looking {
            Looking::ForAny => self.required > 0 || self.optional > 0,
            Looking::ForRequired => self.required > 0,
        };
        open && !self.came.contains(helper)
    }

    fn is_used_up(&self) -> bool {
        self.required == 0 && self.optional == 0
    }
}

impl Board {
    pub(crate) fn post(&self, invitation: Invitation) {
        let mut invitations = self.list.lock();
        invitations.push(invitation);
        self.count(&invitations);
    }

    fn count(&self, invitations: &[Invitation]) {
        // Relaxed: whoever posts, and whoever is about to sleep, has a fence.
        self.posted.store(invitations.len(), Ordering::Relaxed);
    }

    /// Whether nothing is posted; spares those that look the lock.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed: see `count`.
        self.posted.load(Ordering::Relaxed) == 0
    }

    /// All tickets that nobody has taken.
    pub(crate) fn tickets(&self) -> Tickets {
        if self.is_empty() {
            return Tickets::default();
        }
        let invitations = self.list.lock();
        invitations.iter().fold(Tickets::default(), |all, invitation| Tickets {
            required: all.required.saturating_add(invitation.required),
            optional: all.optional.saturating_add(invitation.optional),
        })
    }

    /// Accepts the oldest invitation that suits; a helper accepts each at most once.
    ///
    /// `helper` is the helper's place in its node. Whoever gets a call from
    /// here owns one part of it and must take part.
    #[must_use]
    pub(crate) fn accept(&self, helper: usize, looking: Looking) -> Option<Part> {
        if self.is_empty() {
            return None;
        }
        let mut invitations = self.list.lock();
        let index = invitations.iter().position(|i| i.suits(helper, looking))?;
        let invitation = &mut invitations[index];
        invitation.came.insert(helper);
        match invitation.required.checked_sub(1) {
            Some(required) => invitation.required = required,
            None => invitation.optional -= 1,
        }
        let more = !invitation.is_used_up();
        let part = Part { call: invitation.call, order: invitation.next, more };
        invitation.next += 1;
        if invitation.is_used_up() {
            invitations.remove(index);
            self.count(&invitations);
        }
        Some(part)
    }

    /// Whether [`Board::accept`] with [`Looking::ForAny`] would find something.
    pub(crate) fn invites(&self, helper: usize) -> bool {
        !self.is_empty() && self.list.lock().iter().any(|i| i.suits(helper, Looking::ForAny))
    }

    /// Whether a call requires more helpers, to which this one has come.
    pub(crate) fn requires_others(&self, helper: usize) -> bool {
        let is_for_others = |i: &Invitation| i.required > 0 && i.came.contains(helper);
        !self.is_empty() && self.list.lock().iter().any(is_for_others)
    }

    /// Takes back what nobody has accepted and nobody must; returns how many helpers it was for.
    #[must_use]
    pub(crate) fn withdraw(&self, call: &CallRef) -> usize {
        if self.is_empty() {
            return 0;
        }
        let mut invitations = self.list.lock();
        let Some(index) = invitations.iter().position(|i| i.call.is(call)) else { return 0 };
        let withdrawn = std::mem::take(&mut invitations[index].optional);
        if invitations[index].is_used_up() {
            invitations.remove(index);
            self.count(&invitations);
        }
        withdrawn
    }
}

/// A set of one node's helpers by their place in it; needs no allocation up to 64.
#[derive(Clone, Debug, Default)]
pub(crate) struct HelperSet {
    first: u64,
    more: Vec<u64>,
}

impl FromIterator<usize> for HelperSet {
    fn from_iter<I: IntoIterator<Item = usize>>(helpers: I) -> Self {
        let mut set = Self::default();
        helpers.into_iter().for_each(|helper| set.insert(helper));
        set
    }
}

impl HelperSet {
    const WORD: usize = u64::BITS as usize;

    fn insert(&mut self, helper: usize) {
        let bit = 1 << (helper % Self::WORD);
        match (helper / Self::WORD).checked_sub(1) {
            None => self.first |= bit,
            Some(word) => {
                if word >= self.more.len() {
                    self.more.resize(word + 1, 0);
                }
                self.more[word] |= bit;
            }
        }
    }

    pub(crate) fn contains(&self, helper: usize) -> bool {
        let word = match (helper / Self::WORD).checked_sub(1) {
            None => self.first,
            Some(word) => self.more.get(word).copied().unwrap_or(0),
        };
        word & (1 << (helper % Self::WORD)) != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_helper_set_grows_beyond_one_word() {
        let mut set = HelperSet::default();
        for helper in [0, 63, 64, 200] {
            assert!(!set.contains(helper));
            set.insert(helper);
            assert!(set.contains(helper));
        }
        assert!(![1, 62, 65, 128, 199, 201, 1000].iter().any(|&helper| set.contains(helper)));
    }
}
