//! Inviting a node's helpers to a call, and waking those that sleep for it.

use super::Shared;
use super::work::{Callers, NodeWork};
use crate::board::{HelperSet, Invitation, Looking};
use crate::call::CallRef;
use crate::front::{Opened, Part, Searching, Tickets, look};
use crate::sync::{Ordering, Thread};
use crate::worker::Worker;

impl Shared {
    /// Invites helpers of a node to a call; `first` is the order of arrival of the first.
    ///
    /// Returns whether [`Shared::summon`] must wake some: whether fewer than `wanted` look for work.
    #[must_use]
    #[inline]
    pub(crate) fn invite(
        &self,
        worker: Option<&Worker<'_>>,
        node: usize,
        call: CallRef,
        first: usize,
        tickets: Tickets,
        wanted: usize,
    ) -> bool {
        let caller = worker.and_then(|worker| self.place_in_node(node, worker.helper));
        let NodeWork { front, callers, board, .. } = &**self.nodes[node].work;
        if let Some(Opened { round, searching }) = front.open(&callers.claim, call, first, tickets)
        {
            if let Some(worker) = worker.filter(|_| caller.is_some()) {
                // The caller is no helper of its own call.
                worker.round.set(round);
            }
            return searching < wanted;
        }
        let Tickets { required, optional } = tickets;
        let came = caller.into_iter().collect::<HelperSet>();
        board.post(Invitation { call, required, optional, next: first, came });
        // [summon] Release: publishes the call's tickets to whoever wakes helpers for it.
        callers.on_board.fetch_add(1, Ordering::Release);
        wanted > 0
    }

    /// Accepts an invitation to one of the node's helpers.
    #[inline]
    pub(crate) fn accept(&self, worker: &Worker<'_>, looking: Looking) -> Option<Part> {
        self.accept_as(worker, looking, false).map(|(part, _)| part)
    }

    /// Accepts an invitation to a helper that searches, and ends its search.
    #[inline]
    pub(crate) fn accept_in_search(&self, worker: &Worker<'_>) -> Option<(Part, Searching)> {
        let (part, searching) = self.accept_as(worker, Looking::ForAny, true)?;
        let front = &self.nodes[worker.node].work.front;
        Some((part, searching.unwrap_or_else(|| front.end_search())))
    }

    #[inline]
    fn accept_as(
        &self,
        worker: &Worker<'_>,
        looking: Looking,
        ends_search: bool,
    ) -> Option<(Part, Option<Searching>)> {
        let helper = worker.helper?;
        let node = &self.nodes[worker.node];
        let NodeWork { front, callers, board, .. } = &**node.work;
        let (part, searching) = match front.accept(worker.round.get(), looking, ends_search) {
            Some(accepted) => {
                worker.round.set(accepted.round);
                (accepted.part, accepted.searching)
            }
            None => (board.accept(helper - node.helpers.start, looking)?, None),
        };
        self.work[helper].tally.call();
        // Relaxed: a hint; see `summon`.
        if part.more && callers.unsummoned.load(Ordering::Relaxed) > 0 {
            look();
            self.summon_more(worker.node);
        }
        Some((part, searching))
    }

    /// Leaves the node's post to the next call, where this one has it. No ticket of it is left.
    #[inline]
    pub(crate) fn close(&self, node: usize, call: &CallRef) {
        self.nodes[node].work.callers.claim.close(call);
    }

    /// Takes back the tickets of a call that nobody has taken and nobody must; returns how many.
    pub(crate) fn withdraw(&self, node: usize, call: &CallRef) -> usize {
        let NodeWork { front, board, .. } = &**self.nodes[node].work;
        match front.withdraw(call) {
            0 => board.withdraw(call),
            withdrawn => withdrawn,
        }
    }

    /// Counts a call as one that wants helpers of a node woken which it does not require; before it [invites](Shared::invite) them.
    pub(crate) fn begin_inviting(&self, node: usize) {
        // Relaxed: its tickets publish it.
        self.nodes[node].work.callers.inviting.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends what [`Shared::begin_inviting`] began.
    pub(crate) fn end_inviting(&self, node: usize) {
        self.nodes[node].work.callers.inviting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Wakes helpers where calls still invite some, and nobody is about to come.
    ///
    /// Whom a call has counted on may have gone to another call, or to a job.
    /// After [`end_search`](crate::front::Front::end_search).
    pub(super) fn wake_for_invited(&self, node: usize) {
        let NodeWork { front, callers, .. } = &**self.nodes[node].work;
        let optional = self.nodes[node].work.tickets().optional;
        // Callers write to their line in each call, so that is looked at last.
        // Relaxed: the fence in `search_ended` orders all of these.
        if optional == 0 || front.searching() > 0 || callers.inviting.load(Ordering::Relaxed) == 0 {
            return;
        }
        // Relaxed: see `summon`.
        callers.unsummoned.store(optional, Ordering::Relaxed);
        self.summon_more(node);
    }

    /// Wakes helpers of a node for a call of so many tickets that are there.
    ///
    /// Those that search see it by themselves. Returns whether it woke any.
    pub(crate) fn summon(&self, node: usize, tickets: Tickets) -> bool {
        let NodeWork { front, callers, .. } = &**self.nodes[node].work;
        let Callers { unsummoned, .. } = &**callers;
        look();
        let missing = tickets.total().saturating_sub(front.searching());
        if missing == 0 {
            return false;
        }
        // Relaxed: a hint. Where it is lost, the last to search wakes all.
        unsummoned.store(missing, Ordering::Relaxed);
        self.summon_more(node)
    }

    /// As [`Shared::summon`], for a call that has been open for a while and may have fewer tickets left.
    pub(crate) fn summon_late(&self, node: usize, tickets: Tickets) -> bool {
        let left = self.nodes[node].work.tickets().total();
        let optional = tickets.total().min(left);
        optional > 0 && self.summon(node, Tickets { required: 0, optional })
    }

    /// Wakes some of the helpers that a call still wants; each that comes wakes more.
    ///
    /// After [`look`]. Returns whether it woke any.
    fn summon_more(&self, node: usize) -> bool {
        const AT_ONCE: usize = 2;
        let work = &self.nodes[node].work;
        // Relaxed: see `summon`.
        let missing = work.callers.unsummoned.load(Ordering::Relaxed);
        let wanted = missing.min(AT_ONCE);
        work.callers.unsummoned.store(missing - wanted, Ordering::Relaxed);
        let woken = work.front.wake(wanted);
        if woken < wanted && work.tickets().required > 0 {
            self.unpark_waiting(node);
        }
        woken > 0
    }

    /// Has the node's helpers that wait for something look whether a call requires them.
    ///
    /// For those that run, it is one needless look the next time they park.
    pub(super) fn unpark_waiting(&self, node: usize) {
        self.threads[self.nodes[node].helpers.clone()].iter().for_each(Thread::unpark);
    }
}
