//! A node of the pool: its helpers, and how far away the others are.

use std::ops::Range;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;

use firsttouch_topology::NodeId;

use super::work::NodeWork;
use crate::deque::{Deque, Stealer};
use crate::node_queues::{Close, Left, Stolen};
use crate::steal::{Neighbour, Steal};
use crate::storage::OwnPages;

/// One node of the pool: its helpers, which stay the same, and their work.
pub(crate) struct PoolNode {
    pub(crate) id: NodeId,
    /// The places of its helpers in the pool.
    pub(crate) helpers: Range<usize>,
    /// The nodes whose jobs its helpers may take, in the order in which they look; itself first.
    pub(super) victims: Box<[Neighbour]>,
    /// The nodes whose helpers may take its jobs, in the order in which they are woken; itself first.
    pub(super) thieves: Box<[Neighbour]>,
    /// The pool's own [`Steal`].
    pub(super) widest: Steal,
    /// The deques that its helpers have from the start, by their places in the node.
    pub(super) stealers: Box<[Stealer]>,
    /// Whether its CPUs have several last-level caches.
    pub(super) has_caches: bool,
    pub(crate) work: Box<OwnPages<NodeWork>>,
}

impl PoolNode {
    /// Whether the node has a helper that is about to run what is queued there.
    pub(super) fn keeps_up(&self) -> bool {
        self.work.front.searching() > 0 && !self.work.activity.is_saturated()
    }

    /// Whether the node has a helper that runs what is queued there, or will be woken to.
    ///
    /// Where its helpers are at work, or wait, that is false.
    pub(crate) fn has_free_helper(&self) -> bool {
        let front = &self.work.front;
        front.searching() > 0 || front.asleep() > 0
    }

    /// Whether a job that is queued under this waits in the node's injector.
    pub(crate) fn has_injected(&self, steal: Steal) -> bool {
        self.work.queues.has_injected(steal)
    }

    /// Takes a job for one of the node's own helpers, by its place in the node.
    pub(super) fn steal_own(&self, helper: usize, start: usize) -> Option<Stolen> {
        if !self.has_caches {
            return self.steal(Steal::Node, start, Close::<fn(usize) -> bool>::All);
        }
        let cache = self.cache_of(helper).load(Relaxed);
        let shares = |other: usize| self.cache_of(other).load(Relaxed) == cache;
        self.steal(Steal::Node, start, Close::Those(shares))
    }

    pub(super) fn steal<F: Fn(usize) -> bool + Copy>(
        &self,
        least: Steal,
        start: usize,
        close: Close<F>,
    ) -> Option<Stolen> {
        self.work.queues.steal(&self.stealers, least, self.widest, start, close)
    }

    /// What is left here for helpers that need `least`.
    pub(super) fn left(&self, least: Steal) -> Option<Left> {
        self.work.queues.left(&self.stealers, least, self.widest)
    }

    /// Lends a deque, as `NodeQueues::borrow_deque` does.
    pub(crate) fn borrow_deque(&self, steal: Steal, helper: Option<usize>) -> Deque {
        self.work.queues.borrow_deque(steal, self.widest, helper)
    }

    /// Takes back a deque that is empty again.
    pub(crate) fn return_deque(&self, steal: Steal, deque: Deque) {
        self.work.queues.return_deque(steal, deque);
    }

    /// The cache of a helper, by its place in the node.
    pub(super) fn cache_of(&self, helper: usize) -> &AtomicU16 {
        &self.work.caches[helper]
    }
}
