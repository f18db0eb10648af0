//! Sleeping: helpers with nothing to do park, and whoever publishes work wakes one.
//!
//! The states, both sides' steps, the race and the proof are in
//! `docs/protocols/sleep.md`.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicUsize, Mutex, Ordering, Thread, current, fence, park};

/// The idle helpers of a pool, per node. Nodes and helpers go by their place in the pool.
#[derive(Debug)]
pub(crate) struct Sleep {
    nodes: Box<[CachePadded<IdleHelpers>]>,
}

#[derive(Debug, Default)]
struct IdleHelpers {
    /// Invariant: the length of `list`, written only under its lock.
    count: AtomicUsize,
    /// Invariant: a helper is listed at most once, and only by itself.
    list: Mutex<Vec<IdleHelper>>,
}

#[derive(Debug)]
struct IdleHelper {
    helper: usize,
    thread: Thread,
}

/// How a helper's attempt to sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Slept {
    /// It did not park: work had arrived.
    WorkArrived,
    /// It parked and was unparked, perhaps for no reason.
    Unparked,
}

impl Sleep {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes: (0..nodes).map(|_| CachePadded::default()).collect() }
    }

    /// Parks the calling helper unless work has arrived.
    ///
    /// `work_arrived` looks at everything the helper could be woken for.
    pub(crate) fn sleep(
        &self,
        node: usize,
        helper: usize,
        work_arrived: impl FnOnce() -> bool,
    ) -> Slept {
        let idle = &self.nodes[node];
        idle.enter(helper);
        // [idle] SeqCst: between this helper's count and its look at the work.
        // Its partner in `wake_one` stands between the work and the look at
        // the count, so one of the two sees the other.
        fence(Ordering::SeqCst);
        let slept = if work_arrived() {
            Slept::WorkArrived
        } else {
            park();
            Slept::Unparked
        };
        idle.leave(helper);
        slept
    }

    /// Wakes one idle helper, of the first of these nodes that has one.
    ///
    /// The caller has published work before.
    pub(crate) fn wake_one(&self, nodes: impl IntoIterator<Item = usize>) {
        // [idle] SeqCst: between the work and the look at the counts.
        fence(Ordering::SeqCst);
        for node in nodes {
            if self.nodes[node].wake(1) == 1 {
                return;
            }
        }
    }

    /// Wakes up to `helpers` idle helpers of one node; returns how many.
    ///
    /// The caller has published work before.
    pub(crate) fn wake_on_node(&self, node: usize, helpers: usize) -> usize {
        // [idle] SeqCst, as in `wake_one`.
        fence(Ordering::SeqCst);
        self.nodes[node].wake(helpers)
    }

    /// Wakes every idle helper.
    pub(crate) fn wake_all(&self) {
        for node in 0..self.nodes.len() {
            self.wake_on_node(node, usize::MAX);
        }
    }
}

impl IdleHelpers {
    fn enter(&self, helper: usize) {
        let mut list = self.list.lock();
        list.push(IdleHelper { helper, thread: current() });
        // Relaxed: the fence that follows orders it.
        self.count.store(list.len(), Ordering::Relaxed);
    }

    /// Takes the helper off the list, where nobody who woke it has done so.
    fn leave(&self, helper: usize) {
        let mut list = self.list.lock();
        list.retain(|idle| idle.helper != helper);
        self.count.store(list.len(), Ordering::Relaxed);
    }

    /// Takes up to `helpers` off the list, the last to come first, and unparks them; returns how many.
    ///
    /// All are taken at once, so they are different helpers: one that was
    /// unparked could come back to the list before the next is taken.
    fn wake(&self, helpers: usize) -> usize {
        // Relaxed: the caller's fence orders it.
        if self.count.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let woken = {
            let mut list = self.list.lock();
            let left = list.len().saturating_sub(helpers);
            let woken = list.split_off(left);
            self.count.store(left, Ordering::Relaxed);
            woken
        };
        // Outside of the lock, so that a woken helper need not wait for it.
        woken.iter().for_each(|idle| idle.thread.unpark());
        woken.len()
    }
}
