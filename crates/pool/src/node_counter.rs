//! Counters on a node's memory, lent by the pool.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use firsttouch_topology::NodeId;

use crate::shared::Shared;
use crate::sync::{AtomicU32, AtomicUsize, Ordering};

/// The counters that a node has to lend: as many as a word has bits.
const COUNTERS: usize = u32::BITS as usize;

/// A counter in a cache line of its own on the memory of a node's helpers.
///
/// For what those helpers count with: the line stays on their node. Zero when
/// it is lent; [`Pool::counter_on`](crate::Pool::counter_on) lends it until it
/// is dropped. `Send` and `Sync`.
pub struct NodeCounter {
    shared: Arc<Shared>,
    /// The node's place in the pool.
    node: usize,
    counter: usize,
}

/// A node's counters, and which of them are lent.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// A bit for each counter that is lent.
    lent: CachePadded<AtomicU32>,
    counters: [CachePadded<AtomicUsize>; COUNTERS],
}

impl NodeCounter {
    /// Lends a counter of a node; `None` where all are lent.
    pub(crate) fn lend(shared: &Arc<Shared>, node: usize) -> Option<Self> {
        let Counters { lent, counters } = &shared.nodes[node].work.counters;
        // [lent] Acquire: the last user's count is over.
        let before = lent.fetch_update(Ordering::Acquire, Ordering::Relaxed, |lent| {
            (lent != u32::MAX).then(|| lent | (lent + 1))
        });
        let counter = before.ok()?.trailing_ones() as usize;
        // Relaxed: whoever is given the counter is given it by other means.
        counters[counter].store(0, Ordering::Relaxed);
        Some(Self { shared: Arc::clone(shared), node, counter })
    }

    /// Returns the node that it lies on.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.shared.nodes[self.node].id
    }
}

impl Deref for NodeCounter {
    type Target = AtomicUsize;

    fn deref(&self) -> &AtomicUsize {
        &self.shared.nodes[self.node].work.counters.counters[self.counter]
    }
}

impl Drop for NodeCounter {
    fn drop(&mut self) {
        // [lent] Release: ends this user's count before the next one's.
        let lent = &self.shared.nodes[self.node].work.counters.lent;
        lent.fetch_and(!(1 << self.counter), Ordering::Release);
    }
}

impl fmt::Debug for NodeCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.load(Ordering::Relaxed);
        f.debug_struct("NodeCounter").field("node", &self.node()).field("count", &count).finish()
    }
}
