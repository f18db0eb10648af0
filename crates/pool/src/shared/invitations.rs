//! Inviting a node's helpers to a call, and waking those that sleep for it.

use super::Shared;
use super::work::{Callers, NodeWork};
use crate::board::{HelperSet, Invitation, Looking};
use crate::call::CallRef;
use crate::post::{Part, Tickets};
use crate::sleep::Sleep;
use crate::sync::{Ordering, Thread};
use crate::worker::Worker;

impl Shared {
    /// Invites helpers of a node to a call; `first` is the order of arrival of the first. [`Shared::summon`] wakes those that sleep.
    pub(crate) fn invite(
        &self,
        worker: &Worker<'_>,
        node: usize,
        call: CallRef,
        first: usize,
        tickets: Tickets,
    ) {
        let caller = self.place_in_node(node, worker.helper);
        let work = &self.nodes[node].work;
        match work.front.post.open(&work.callers.claim, call, first, tickets) {
            // The caller is no helper of its own call.
            Some(round) if caller.is_some() => worker.round.set(round),
            Some(_) => {}
            None => {
                let Tickets { required, optional } = tickets;
                let came = caller.into_iter().collect::<HelperSet>();
                work.board.post(Invitation { call, required, optional, next: first, came });
            }
        }
    }

    /// Accepts an invitation to one of the node's helpers.
    pub(crate) fn accept(&self, worker: &Worker<'_>, looking: Looking) -> Option<Part> {
        let helper = worker.helper?;
        let node = &self.nodes[worker.node];
        let part = match node.work.front.post.accept(worker.round.get(), looking) {
            Some((part, round)) => {
                worker.round.set(round);
                part
            }
            None => node.work.board.accept(helper - node.helpers.start, looking)?,
        };
        self.work[helper].tally.call();
        // Relaxed: a hint; see `summon`.
        if part.more && node.work.callers.unsummoned.load(Ordering::Relaxed) > 0 {
            Sleep::look();
            self.summon_more(worker.node);
        }
        Some(part)
    }

    /// Leaves the node's post to the next call, where this one has it. No ticket of it is left.
    pub(crate) fn close(&self, node: usize, call: &CallRef) {
        self.nodes[node].work.callers.claim.close(call);
    }

    /// Takes back the tickets of a call that nobody has taken and nobody must; returns how many.
    pub(crate) fn withdraw(&self, node: usize, call: &CallRef) -> usize {
        let NodeWork { front, board, .. } = &**self.nodes[node].work;
        match front.post.withdraw(call) {
            0 => board.withdraw(call),
            withdrawn => withdrawn,
        }
    }

    /// Counts a call as one that wants helpers of a node woken which it does not require; before it [summons](Shared::summon) them.
    pub(crate) fn begin_inviting(&self, node: usize) {
        // Relaxed: the fence in `summon` orders it before the look at who searches.
        self.nodes[node].work.callers.inviting.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends what [`Shared::begin_inviting`] began.
    pub(crate) fn end_inviting(&self, node: usize) {
        self.nodes[node].work.callers.inviting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Wakes helpers where calls still invite some, and nobody is about to come.
    ///
    /// Whom a call has counted on may have gone to another call, or to a job.
    /// After [`Sleep::end_search`].
    pub(super) fn wake_for_invited(&self, node: usize) {
        let NodeWork { front, callers, .. } = &**self.nodes[node].work;
        let optional = self.nodes[node].work.tickets().optional;
        // Callers write to their line in each call, so that is looked at last.
        // Relaxed: the fence in `end_search` orders all of these.
        if optional == 0
            || front.sleep.searching() > 0
            || callers.inviting.load(Ordering::Relaxed) == 0
        {
            return;
        }
        // Relaxed: see `summon`.
        callers.unsummoned.store(optional, Ordering::Relaxed);
        self.summon_more(node);
    }

    /// Wakes helpers of a node for a call that was just published with so many tickets.
    ///
    /// Those that search see it by themselves.
    pub(crate) fn summon(&self, node: usize, tickets: Tickets) {
        let NodeWork { front, callers, .. } = &**self.nodes[node].work;
        let Callers { unsummoned, summoned, .. } = &**callers;
        // [summon] Release: publishes the call's tickets to whoever wakes helpers for it.
        // The fence that follows orders it before the look at who searches.
        summoned.fetch_add(1, Ordering::Release);
        Sleep::look();
        let missing = tickets.total().saturating_sub(front.sleep.searching());
        if missing > 0 {
            // Relaxed: a hint. Where it is lost, the last to search wakes all.
            unsummoned.store(missing, Ordering::Relaxed);
            self.summon_more(node);
        }
    }

    /// As [`Shared::summon`], for a call that has been open for a while and may have fewer tickets left.
    pub(crate) fn summon_late(&self, node: usize, tickets: Tickets) {
        let left = self.nodes[node].work.tickets().total();
        let optional = tickets.total().min(left);
        if optional > 0 {
            self.summon(node, Tickets { required: 0, optional });
        }
    }

    /// Wakes some of the helpers that a call still wants; each that comes wakes more.
    ///
    /// After [`Sleep::look`].
    fn summon_more(&self, node: usize) {
        const AT_ONCE: usize = 2;
        let work = &self.nodes[node].work;
        // Relaxed: see `summon`.
        let missing = work.callers.unsummoned.load(Ordering::Relaxed);
        let wanted = missing.min(AT_ONCE);
        work.callers.unsummoned.store(missing - wanted, Ordering::Relaxed);
        if work.front.sleep.wake(wanted) < wanted && work.tickets().required > 0 {
            self.unpark_waiting(node);
        }
    }

    /// Has the node's helpers that wait for something look whether a call requires them.
    ///
    /// For those that run, it is one needless look the next time they park.
    pub(super) fn unpark_waiting(&self, node: usize) {
        self.threads[self.nodes[node].helpers.clone()].iter().for_each(Thread::unpark);
    }
}
