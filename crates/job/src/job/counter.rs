//! Counters that many threads count with, each on the node of those threads.
//!
//! A thread that calls jobs keeps one page on each node that its jobs count
//! on. The page is mapped and placed when the node first needs it, and its
//! cache lines are lent to one job after the other, so that a job costs one
//! store for each counter, and neither a system call nor an allocation. The
//! pages are unmapped when the thread ends.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use firsttouch_memory::{MemoryError, Policy, Region};
use firsttouch_topology::NodeId;

/// A counter and the cache line that it has to itself.
type Line = CachePadded<AtomicUsize>;

/// The smallest page that Linux has, in bytes.
const PAGE_BYTES: usize = 4096;

/// The lines that a page lends: as many as fit, and as a word has bits.
const LINES: usize = {
    let fit = PAGE_BYTES / size_of::<Line>();
    if fit < usize::BITS as usize { fit } else { usize::BITS as usize }
};

thread_local! {
    /// What this thread keeps for its jobs. Invariant: ascending by node, no node twice.
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// What a thread keeps for one node.
struct Kept {
    node: NodeId,
    /// `None` where none could be had, which is not tried again.
    page: Option<Rc<Page>>,
}

/// A page of lines on one node.
struct Page {
    node: NodeId,
    /// Invariant: holds `LINES` lines, which are reached only through counters.
    region: Region,
    /// A bit for each line that is lent.
    lent: Cell<usize>,
}

/// A counter in a cache line of its own, at zero when it is made.
pub(crate) struct Counter(Place);

enum Place {
    /// On a node's page.
    Node { page: Rc<Page>, line: usize },
    /// In the counter itself, wherever that is.
    Own(Line),
}

// SAFETY: a shared reference reaches the line alone, which is atomic. The
// page's own cells are used where a counter is made and where it is dropped;
// both are on the thread that keeps the page, as a counter is not `Send`.
unsafe impl Sync for Counter {}

impl Counter {
    /// Returns a counter that lies on a node where that can be had, else wherever the caller keeps it.
    pub(crate) fn on(node: Option<NodeId>) -> Self {
        match node.and_then(page_on) {
            Some(page) => page.lend().unwrap_or_else(Self::anywhere),
            None => Self::anywhere(),
        }
    }

    /// Returns a counter that lies wherever the caller keeps it.
    pub(crate) fn anywhere() -> Self {
        Self(Place::Own(Line::default()))
    }

    /// Returns the node that it was placed on.
    pub(crate) fn node(&self) -> Option<NodeId> {
        match &self.0 {
            Place::Node { page, .. } => Some(page.node),
            Place::Own(_) => None,
        }
    }
}

impl Deref for Counter {
    type Target = AtomicUsize;

    fn deref(&self) -> &AtomicUsize {
        match &self.0 {
            Place::Node { page, line } => page.line(*line),
            Place::Own(line) => line,
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Place::Node { page, line } = &self.0 {
            page.lent.set(page.lent.get() & !(1 << line));
        }
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (node, count) = (self.node(), self.load(Ordering::Relaxed));
        f.debug_struct("Counter").field("node", &node).field("count", &count).finish()
    }
}

impl Page {
    /// Maps a page and places it.
    fn on(node: NodeId) -> Result<Self, MemoryError> {
        let policy = Policy::Preferred(node);
        let mut region = Region::builder(PAGE_BYTES).policy(policy).build()?;
        region.populate(0..PAGE_BYTES)?;
        Ok(Self { node, region, lent: Cell::new(0) })
    }

    /// Lends a line; `None` where all are lent, to as many jobs inside of each other.
    fn lend(self: Rc<Self>) -> Option<Counter> {
        let line = (!self.lent.get()).trailing_zeros() as usize;
        if line >= LINES {
            return None;
        }
        self.lent.set(self.lent.get() | 1 << line);
        // Relaxed: the job's threads are started after this.
        self.line(line).store(0, Ordering::Relaxed);
        Some(Counter(Place::Node { page: self, line }))
    }

    fn line(&self, line: usize) -> &Line {
        assert!(line < LINES);
        let line = self.region.as_ptr().cast::<Line>().wrapping_add(line);
        // SAFETY: the region holds the line and lives as long as this page, it
        // starts on a page and lines divide one, its bytes are zero or what was
        // counted, and nobody reaches them but through such references.
        unsafe { &*line }
    }
}

/// Returns this thread's page on a node, made where it is not there yet.
fn page_on(node: NodeId) -> Option<Rc<Page>> {
    let find = |kept: &RefCell<Vec<Kept>>| {
        let kept = kept.borrow();
        let place = kept.binary_search_by_key(&node, |kept| kept.node).ok()?;
        Some(kept[place].page.clone())
    };
    // A thread that ends may still run jobs, and keeps nothing by then.
    if let Some(known) = KEPT.try_with(find).ok()? {
        return known;
    }
    // Nothing is borrowed meanwhile: whoever listens to events may run jobs.
    let page = Page::on(node).map(Rc::new).inspect_err(|error| {
        let error: &(dyn std::error::Error + 'static) = error;
        tracing::debug!(
            node = node.os_index(),
            error,
            "this thread's jobs count for the node in memory that lies anywhere"
        );
    });
    let page = page.ok();
    KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if let Err(place) = kept.binary_search_by_key(&node, |kept| kept.node) {
            kept.insert(place, Kept { node, page: page.clone() });
        }
    })
    .ok()?;
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The node that some memory of this process lies on, so that more can be had there.
    fn node() -> NodeId {
        let topology = firsttouch_topology::Topology::discover().expect("a machine");
        topology.allowed().nodes().first().expect("a node that may be used")
    }

    fn address(counter: &Counter) -> usize {
        &raw const **counter as usize
    }

    #[test]
    fn a_counter_starts_at_zero_and_its_line_is_lent_again() {
        let first = Counter::on(Some(node()));
        first.store(7, Ordering::Relaxed);
        let (place, home) = (address(&first), first.node());
        drop(first);
        let second = Counter::on(Some(node()));
        assert_eq!(second.load(Ordering::Relaxed), 0);
        assert_eq!(second.node(), home);
        if home.is_some() {
            assert_eq!(address(&second), place);
        }
    }

    #[test]
    fn counters_have_cache_lines_of_their_own_however_many_there_are() {
        let counters: Vec<_> = (0..2 * LINES + 1).map(|_| Counter::on(Some(node()))).collect();
        let mut places: Vec<usize> = counters.iter().map(address).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= size_of::<Line>()));
        let placed = counters.iter().filter(|counter| counter.node().is_some()).count();
        assert!(placed == LINES || placed == 0, "{placed} of {LINES} lines of one page");
    }

    #[test]
    fn a_node_that_is_not_there_is_no_trouble() {
        let counter = Counter::on(Some(NodeId::new(1_000_000)));
        assert_eq!(counter.node(), None);
        counter.fetch_add(1, Ordering::Relaxed);
        assert_eq!(counter.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn threads_share_no_page() {
        let own = Counter::on(Some(node()));
        let there = || {
            let counter = Counter::on(Some(node()));
            counter.node().map(|_| address(&counter) & !(PAGE_BYTES - 1))
        };
        let other = std::thread::spawn(there).join().expect("no panic");
        assert_ne!(other, Some(address(&own) & !(PAGE_BYTES - 1)));
    }
}
