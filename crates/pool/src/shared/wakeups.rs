//! Who wakes whom for jobs, and who sees to what is left when a search ends.

use super::Shared;
use super::work::{Callers, NodeWork};
use crate::front::{Searching, look};
use crate::node_queues::Left;
use crate::steal::{Neighbour, Steal};
use crate::sync::Ordering;
use crate::task::JobRef;
use crate::worker::Worker;

/// Which helpers a job wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// One that has a CPU: the job's owner runs it, if nobody else does.
    WhereFree,
    /// One that sleeps.
    Anyhow,
}

/// Which helpers may be about to come to a call that requires some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    /// Those that search.
    WhoSearch,
    /// None: who searches has come already.
    Nobody,
}

impl Shared {
    /// Queues a job on a node, and wakes a helper for it.
    pub(crate) fn inject(&self, node: usize, job: JobRef, steal: Steal) {
        self.nodes[node].work.queues.inject(job, steal, self.widest);
        look();
        self.wake_for_job(node, steal, Wake::Anyhow);
    }

    /// Wakes a helper for a job that a worker of this node shows, where one would have a CPU; returns whether it woke one.
    pub(crate) fn wake_for_shown(&self, node: usize, steal: Steal) -> bool {
        look();
        self.wake_for_job(node, steal, Wake::WhereFree)
    }

    /// Wakes a helper that may take a job of this node unless one of the node's searches: one of its own, else the nearest.
    ///
    /// After [`look`]. Returns whether it woke one.
    fn wake_for_job(&self, node: usize, steal: Steal, wake: Wake) -> bool {
        let thieves = self.nodes[node].thieves.iter().filter(|thief| thief.least <= steal);
        for &Neighbour { place: near, .. } in thieves {
            let NodeWork { front, activity, absent, .. } = &**self.nodes[near].work;
            if near == node && front.searching() > 0 {
                return false;
            }
            if wake == Wake::WhereFree && activity.is_saturated() {
                continue;
            }
            if near != node {
                if front.searching() + front.asleep() == 0 {
                    continue;
                }
                absent.rely();
            }
            if wake == Wake::WhereFree && front.searching() > 0 {
                // It looks here, too, as this node does not keep up.
                return false;
            }
            if front.wake(1) > 0 {
                return true;
            }
        }
        false
    }

    /// Wakes a helper where a worker of this node leaves its CPU and jobs are left.
    pub(crate) fn left_cpu(&self, node: usize) {
        if let Some(Left { steal, .. }) = self.nodes[node].left(Steal::Node) {
            self.wake_for_shown(node, steal);
        }
    }

    /// For one of the node's helpers that has ended its search with work, a job of node `from` perhaps.
    ///
    /// Whoever published something while it searched may have woken nobody for
    /// it. So the last to search sees to what is left: on its own node, where
    /// it took its work, for it may have left more there, and on all others
    /// where somebody has relied on its node's helpers for a job of another.
    pub(crate) fn found_work(&self, node: usize, from: usize, searching: Searching) {
        if searching == Searching::Others {
            return;
        }
        let own = &self.nodes[node];
        let NodeWork { absent, .. } = &**own.work;
        absent.poke();
        let everywhere = absent.were_relying();
        for &Neighbour { place, least } in &own.victims {
            let looks = everywhere || place == node || place == from;
            if !looks || (place != node && self.nodes[place].keeps_up()) {
                continue;
            }
            if let Some(Left { steal, injected }) = self.nodes[place].left(least) {
                let wake = if injected { Wake::Anyhow } else { Wake::WhereFree };
                self.wake_for_job(place, steal, wake);
            }
        }
        self.wake_for_required(node, Coming::WhoSearch);
        self.wake_for_invited(node);
    }

    /// Ends the search of one of the node's helpers that is about to sleep.
    ///
    /// It looks for jobs once more before it does. A call that requires others
    /// may need them woken.
    pub(crate) fn found_nothing(&self, node: usize) {
        if self.nodes[node].work.front.end_search() == Searching::Nobody {
            self.wake_for_required(node, Coming::WhoSearch);
        }
    }

    /// Wakes all of a node's helpers where calls require more, and this one, which searches, has come to them.
    pub(crate) fn found_tickets_for_others(&self, worker: &Worker<'_>, helper: usize) {
        let node = &self.nodes[worker.node];
        let NodeWork { front, board, .. } = &**node.work;
        // A ticket that this helper may take it sees at its next look, and nobody need be woken for it.
        if front.requires_others(worker.round.get())
            || board.requires_others(helper - node.helpers.start)
        {
            look();
            self.wake_for_required(worker.node, Coming::Nobody);
        }
    }

    /// Wakes all of a node's helpers where calls require more than search: once for each call.
    ///
    /// Who of those that sleep has come already is not known here. Once is
    /// enough: whoever does not sleep now sees the call before it does.
    fn wake_for_required(&self, node: usize, coming: Coming) {
        let NodeWork { front, board, callers, .. } = &**self.nodes[node].work;
        let Callers { wakened_for_post, on_board, wakened_for_board, .. } = &**callers;
        let posted = front.required();
        let more = board.tickets().required;
        let coming = match coming {
            Coming::WhoSearch => front.searching(),
            Coming::Nobody => 0,
        };
        if posted.map_or(0, |(_, required)| required).saturating_add(more) <= coming {
            return;
        }
        // Relaxed: the fence below orders it before the look at who sleeps.
        let is_new = |(round, _)| wakened_for_post.swap(round, Ordering::Relaxed) != round;
        let mut wakes = posted.is_some_and(is_new);
        if more > 0 {
            // [summon] Acquire: whoever is woken for these calls sees their tickets.
            let calls = on_board.load(Ordering::Acquire);
            wakes |= wakened_for_board.swap(calls, Ordering::Relaxed) != calls;
        }
        if wakes {
            // Whoever sleeps by now is seen; whoever does later sees the tickets before.
            look();
            front.wake(usize::MAX);
            self.unpark_waiting(node);
        }
    }

    /// How many of a node's helpers look for work; a hint.
    pub(crate) fn searching(&self, node: usize) -> usize {
        self.nodes[node].work.front.searching()
    }

    /// Whether any job is queued anywhere.
    pub(crate) fn has_jobs(&self) -> bool {
        self.nodes.iter().any(|node| node.left(Steal::Node).is_some())
    }

    /// Whether an idle helper would find something to do.
    pub(crate) fn has_work_for(&self, worker: &Worker<'_>, helper: usize) -> bool {
        let own = &self.nodes[worker.node];
        own.work.front.tickets(worker.round.get()).total() > 0
            || own.work.board.invites(helper - own.helpers.start)
            || own.victims.iter().any(|&Neighbour { place, least }| {
                let node = &self.nodes[place];
                (place == worker.node || !node.keeps_up()) && node.left(least).is_some()
            })
    }
}
