//! What a helper has run, and whom it was taken from.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use firsttouch_topology::NodeId;

/// What one helper has run since its pool was built.
///
/// A caller from outside steals from nobody and has no counters. The numbers
/// are read while helpers run on: each is right, but together they are no
/// picture of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Jobs that it queued itself and that nobody else took first.
    pub own: u64,
    /// Parts in fork-join calls.
    pub calls: u64,
    /// Jobs taken from others, per node they were queued on: the helper's own node first, then by distance.
    ///
    /// Nodes from which it may never take anything ([`Steal`](crate::Steal)) are not listed.
    pub stolen: Vec<(NodeId, u64)>,
    /// Of those from its own node, jobs taken from helpers that shared its last-level cache.
    ///
    /// A helper that may move between caches counts as at the one where it last began to look for work.
    /// Jobs from no helper, those of [`spawn`](crate::Pool::spawn) above all, are not among these.
    pub stolen_in_cache: u64,
}

impl Counters {
    /// Returns how many jobs were taken from the helper's own node.
    #[must_use]
    pub fn local_steals(&self) -> u64 {
        self.stolen.first().map_or(0, |&(_, jobs)| jobs)
    }

    /// Returns how many jobs were taken from other nodes.
    #[must_use]
    pub fn remote_steals(&self) -> u64 {
        self.stolen.iter().skip(1).map(|&(_, jobs)| jobs).sum()
    }
}

/// One helper's counters, in cache lines that only it writes.
pub(crate) struct Tally(CachePadded<Counts>);

struct Counts {
    own: AtomicU64,
    calls: AtomicU64,
    /// By the node's place in the order in which this helper's node looks for work.
    stolen: Box<[AtomicU64]>,
    in_cache: AtomicU64,
}

impl Tally {
    /// Makes counters for a pool of so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        let zero = || AtomicU64::new(0);
        let stolen = (0..nodes).map(|_| zero()).collect();
        Self(CachePadded::new(Counts { own: zero(), calls: zero(), stolen, in_cache: zero() }))
    }

    pub(crate) fn own(&self) {
        count(&self.0.own);
    }

    pub(crate) fn call(&self) {
        count(&self.0.calls);
    }

    /// Counts a job taken from the node at this place in the order of victims, from within the same cache perhaps.
    pub(crate) fn stolen(&self, distance: usize, in_cache: bool) {
        self.0.stolen.get(distance).into_iter().for_each(count);
        if in_cache {
            count(&self.0.in_cache);
        }
    }

    /// Reads the counters; `victims` are the nodes in the order of their places.
    pub(crate) fn read(&self, victims: impl Iterator<Item = NodeId>) -> Counters {
        Counters {
            own: read(&self.0.own),
            calls: read(&self.0.calls),
            stolen: victims.zip(self.0.stolen.iter().map(read)).collect(),
            stolen_in_cache: read(&self.0.in_cache),
        }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").field("own", &self.0.own).finish_non_exhaustive()
    }
}

/// Adds one. Only the helper writes, so a load and a store are enough.
fn count(counter: &AtomicU64) {
    // Relaxed: nothing is published with a count.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    // Relaxed: see `count`.
    counter.load(Ordering::Relaxed)
}
