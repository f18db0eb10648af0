//! Counters that many threads count with, each on the node of those threads.

use std::fmt;
use std::ops::Deref;

use crossbeam_utils::CachePadded;
use firsttouch_pool::{NodeCounter, Pool};
use firsttouch_topology::NodeId;

use crate::sync::{AtomicUsize, Ordering};

/// A counter in a cache line of its own, at zero when it is made.
pub(crate) struct Counter(Place);

enum Place {
    /// Among what the pool keeps on the node.
    Node(NodeCounter),
    /// In the counter itself, wherever that is.
    Own(CachePadded<AtomicUsize>),
}

impl Counter {
    /// Returns a counter that lies on a node where the pool has one to lend, else wherever the caller keeps it.
    pub(crate) fn on(pool: &Pool, node: Option<NodeId>) -> Self {
        let lent = node.and_then(|node| pool.counter_on(node));
        lent.map_or_else(Self::anywhere, |lent| Self(Place::Node(lent)))
    }

    /// Returns a counter that lies wherever the caller keeps it.
    pub(crate) fn anywhere() -> Self {
        Self(Place::Own(CachePadded::default()))
    }

    /// Returns the node that it was placed on.
    pub(crate) fn node(&self) -> Option<NodeId> {
        match &self.0 {
            Place::Node(lent) => Some(lent.node()),
            Place::Own(_) => None,
        }
    }
}

impl Deref for Counter {
    type Target = AtomicUsize;

    fn deref(&self) -> &AtomicUsize {
        match &self.0 {
            Place::Node(lent) => lent,
            Place::Own(own) => own,
        }
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (node, count) = (self.node(), self.load(Ordering::Relaxed));
        f.debug_struct("Counter").field("node", &node).field("count", &count).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::error::Error;

    use super::*;

    fn address(counter: &Counter) -> usize {
        &raw const **counter as usize
    }

    #[test]
    fn a_counter_starts_at_zero_and_its_line_is_lent_again() -> Result<(), Box<dyn Error>> {
        let pool = Pool::new()?;
        let node = pool.helpers().first().map(|helper| helper.node);
        let first = Counter::on(&pool, node);
        assert_eq!(first.node(), node);
        first.store(7, Ordering::Relaxed);
        let place = address(&first);
        drop(first);
        let second = Counter::on(&pool, node);
        assert_eq!((address(&second), second.load(Ordering::Relaxed)), (place, 0));
        Ok(())
    }

    #[test]
    fn counters_have_cache_lines_of_their_own_however_many_there_are() -> Result<(), Box<dyn Error>>
    {
        let pool = Pool::new()?;
        let node = pool.helpers().first().map(|helper| helper.node);
        let counters: Vec<_> = (0..100).map(|_| Counter::on(&pool, node)).collect();
        let mut places: Vec<usize> = counters.iter().map(address).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= align_of::<CachePadded<u8>>()));
        assert!(counters.iter().any(|counter| counter.node().is_none()), "the pool's are used up");
        Ok(())
    }

    #[test]
    fn a_node_that_is_not_there_is_no_trouble() -> Result<(), Box<dyn Error>> {
        let counter = Counter::on(&Pool::new()?, Some(NodeId::new(1_000_000)));
        assert_eq!(counter.node(), None);
        counter.fetch_add(1, Ordering::Relaxed);
        assert_eq!(counter.load(Ordering::Relaxed), 1);
        Ok(())
    }
}
