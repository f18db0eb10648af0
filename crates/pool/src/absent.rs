//! Threads of other nodes, and what they count on a node's helpers for.
//!
//! Why no wake-up is lost is in `docs/protocols/waiting.md` for owners that
//! wait, and in `docs/protocols/sleep.md` for jobs of other nodes.

use crate::front::look;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, Thread, current};

/// The threads of other nodes that count on one node's helpers.
#[derive(Debug, Default)]
pub(crate) struct Absent {
    /// Invariant: the length of `owners`, written only under its lock.
    count: AtomicUsize,
    /// Those that wait for tasks which they leave to the helpers while these keep up.
    owners: Mutex<Vec<Thread>>,
    /// Whether somebody has woken nobody else for a job of another node, as helpers of this one search.
    is_relied_on: AtomicBool,
}

impl Absent {
    /// Adds the calling thread; what it looks at next is ordered after this.
    pub(crate) fn enter(&self) {
        {
            let mut owners = self.owners.lock();
            owners.push(current());
            // Relaxed: the fence that follows orders it.
            self.count.store(owners.len(), Ordering::Relaxed);
        }
        // [left] SeqCst: between the entry and the look at who is free. Its
        // partner in `Front::end_search` stands between the end of a search
        // and the look at the count, so one of the two sees the other.
        look();
    }

    /// Notes that the node's searching helpers are relied on for a job of another node.
    ///
    /// What the caller looks at next, who searches, is ordered after this.
    pub(crate) fn rely(&self) {
        // Relaxed: the fence orders it.
        self.is_relied_on.store(true, Ordering::Relaxed);
        // [relied] SeqCst: between the note and the look at who searches. Its
        // partner in `Front::end_search` stands between the end of a search
        // and the look at the note.
        look();
    }

    /// Whether the node's searching helpers were relied on since the last time; after [`end_search`](crate::front::Front::end_search).
    pub(crate) fn were_relying(&self) -> bool {
        // [relied] Acquire, where it was set: jobs queued before are visible.
        self.is_relied_on.load(Ordering::Relaxed)
            && self.is_relied_on.swap(false, Ordering::Acquire)
    }

    /// Takes the calling thread off the list.
    pub(crate) fn leave(&self) {
        let mut owners = self.owners.lock();
        let own = current().id();
        if let Some(place) = owners.iter().position(|owner| owner.id() == own) {
            owners.swap_remove(place);
        }
        self.count.store(owners.len(), Ordering::Relaxed);
    }

    /// Has all of them look again; after [`end_search`](crate::front::Front::end_search).
    pub(crate) fn poke(&self) {
        // Relaxed: the caller's fence orders it.
        if self.count.load(Ordering::Relaxed) > 0 {
            self.owners.lock().iter().for_each(Thread::unpark);
        }
    }
}
