//! Taking jobs: from whom, in which order, and under what they are queued.

use std::sync::atomic::Ordering::Relaxed;

use firsttouch_topology::affinity;

use super::Shared;
use crate::node_queues::{Close, Source, Stolen};
use crate::origin::JobId;
use crate::steal::{Neighbour, Steal};
use crate::task::JobRef;
use crate::worker::Worker;

impl Shared {
    /// What a job is queued under where that is asked for.
    pub(crate) fn effective(&self, steal: Steal) -> Steal {
        effective(steal, self.nodes.len(), self.all_are_near).min(self.widest)
    }

    /// Whether the helpers of one node may take a job of another that is queued under this.
    pub(crate) fn may_take(&self, thief: usize, victim: usize, steal: Steal) -> bool {
        let mut thieves = self.nodes[victim].thieves.iter();
        thieves.any(|neighbour| neighbour.place == thief && neighbour.least <= steal)
    }

    /// Takes a job that the helper may take from its own node, else from others by distance; returns the place of the job's node, too.
    ///
    /// The job is to be run under what comes with it.
    ///
    /// `start` chooses which deque of a node is tried first. A node that has
    /// helpers without work keeps its jobs for them.
    pub(crate) fn steal(
        &self,
        node: usize,
        helper: usize,
        start: usize,
    ) -> Option<(Stolen, usize)> {
        let mut victims = self.nodes[node].victims.iter().enumerate();
        let (distance, stolen, victim) = victims.find_map(|(distance, &victim)| {
            let Neighbour { place, least } = victim;
            let there = &self.nodes[place];
            let stolen = match place == node {
                true => there.steal_own(helper - there.helpers.start, start),
                false if there.keeps_up() => None,
                false => there.steal(least, start, Close::<fn(usize) -> bool>::Nobody),
            };
            Some((distance, stolen?, place))
        })?;
        self.work[helper].tally.stolen(distance, stolen.source == Source::SameCache);
        let steal = if victim == node { stolen.steal } else { stolen.steal.off_its_node() };
        Some((Stolen { steal, ..stolen }, victim))
    }

    /// Takes a job that stems from one of the caller's, which this helper runs.
    ///
    /// `job` is what the caller waits for.
    pub(crate) fn take_from(
        &self,
        worker: &Worker<'_>,
        thief: usize,
        job: JobId,
    ) -> Option<JobRef> {
        let place = self.place_of_node(thief);
        let node = &self.nodes[place];
        let far = place != worker.node;
        if far && (node.keeps_up() || !self.may_take(worker.node, place, self.widest)) {
            return None;
        }
        let stealer = &node.stealers[thief - node.helpers.start];
        if stealer.is_empty() {
            return None;
        }
        let taken = self.work[thief].origin.while_at(job, || stealer.steal())?;
        if let Some(helper) = worker.helper {
            let mut victims = self.nodes[worker.node].victims.iter();
            let distance = victims.position(|victim| victim.place == place);
            let in_cache = place == worker.node && self.share_cache(place, helper, thief);
            self.work[helper].tally.stolen(distance.unwrap_or(usize::MAX), in_cache);
        }
        Some(taken)
    }

    /// Whether two helpers of a node share a last-level cache, as far as is known.
    fn share_cache(&self, node: usize, one: usize, other: usize) -> bool {
        let node = &self.nodes[node];
        let cache = |helper: usize| node.cache_of(helper - node.helpers.start).load(Relaxed);
        !node.has_caches || cache(one) == cache(other)
    }

    /// Notes which last-level cache a helper is at, where its node has several.
    pub(crate) fn note_cache(&self, node: usize, helper: usize) {
        let node = &self.nodes[node];
        if node.has_caches {
            let cpu = affinity::current_cpu().os_index() as usize;
            let (noted, cache) =
                (node.cache_of(helper - node.helpers.start), self.cache_by_cpu.get(cpu));
            // Relaxed, here and where it is read: a hint. Written only where it
            // changes, so that thieves keep the line.
            if let Some(&cache) = cache.filter(|&&cache| noted.load(Relaxed) != cache) {
                noted.store(cache, Relaxed);
            }
        }
    }
}

/// What comes of a [`Steal`] in a pool of so many nodes: the widest that lets the same helpers.
///
/// So that there are no more queues to look into than there are kinds of job.
pub(super) fn effective(steal: Steal, nodes: usize, all_are_near: bool) -> Steal {
    match steal {
        _ if nodes == 1 => Steal::Anywhere,
        Steal::Near if all_are_near => Steal::Anywhere,
        _ => steal,
    }
}
