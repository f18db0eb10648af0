//! Sleeping: helpers with nothing to do park, and whoever publishes work wakes as many as it needs.
//!
//! The states, both sides' steps, the race and the proof are in
//! `docs/protocols/sleep.md`.

use crate::sync::{AtomicUsize, Mutex, Ordering, Thread, current, fence, park};

/// The searching and the sleeping helpers of one node. Helpers go by their place in the pool.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Sleep {
    /// Helpers that look for work, and those that were woken to do so.
    searching: AtomicUsize,
    /// Invariant: the length of `list`, written only under its lock.
    asleep: AtomicUsize,
    /// Invariant: a helper is listed at most once, and only by itself.
    list: Mutex<Vec<Sleeper>>,
}

#[derive(Debug)]
struct Sleeper {
    helper: usize,
    thread: Thread,
}

/// Whether a helper that found work was the last that searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Searching {
    /// Others search on, and see what is published.
    Others,
    /// Nobody searches: what was published for this helper to see may need another.
    Nobody,
}

impl Sleep {
    /// Counts the calling helper as one that looks for work.
    pub(crate) fn begin_search(&self) {
        // Relaxed: whoever needs the count has a fence before it looks.
        self.searching.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the calling helper's search, because it found work or is about to sleep.
    ///
    /// What the caller looks at next is ordered after this.
    pub(crate) fn end_search(&self) -> Searching {
        // Relaxed: the fence orders it.
        let before = self.searching.fetch_sub(1, Ordering::Relaxed);
        // [search] SeqCst: between the count and the look at the work. Its
        // partner in `look` stands between the work and the look at the count.
        fence(Ordering::SeqCst);
        if before == 1 { Searching::Nobody } else { Searching::Others }
    }

    /// Ends the calling helper's search where more search than this; returns whether it has.
    pub(crate) fn leave_search_to(&self, others: usize) -> bool {
        // Relaxed: `end_search` follows where this finds too many; a hint before that.
        let mut searching = self.searching.load(Ordering::Relaxed);
        while searching > others {
            let fewer = searching - 1;
            match self.searching.compare_exchange(
                searching,
                fewer,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => searching = now,
            }
        }
        false
    }

    /// Parks the calling helper, which has ended its search, unless work has arrived. It searches again after.
    ///
    /// `work_arrived` looks at everything the helper could be woken for.
    pub(crate) fn sleep(&self, helper: usize, work_arrived: impl FnOnce() -> bool) {
        self.enter(helper);
        // [idle] SeqCst: between this helper's entry and its look at the work.
        // Its partner in `look` stands between the work and the look at the
        // list's length, so one of the two sees the other.
        fence(Ordering::SeqCst);
        if !work_arrived() {
            park();
        }
        if self.leave(helper) {
            // Else whoever took it off the list has counted it.
            self.begin_search();
        }
    }

    /// Orders what the caller has published before its looks at who searches and who sleeps.
    pub(crate) fn look() {
        // [idle] [search] SeqCst: between the work and the looks at the counts.
        fence(Ordering::SeqCst);
    }

    /// How many helpers look for work; after [`Sleep::look`] or [`Sleep::end_search`].
    pub(crate) fn searching(&self) -> usize {
        // Relaxed: the caller's fence orders it.
        self.searching.load(Ordering::Relaxed)
    }

    /// How many helpers sleep; after a fence, as [`Sleep::searching`].
    pub(crate) fn asleep(&self) -> usize {
        // Relaxed: the caller's fence orders it.
        self.asleep.load(Ordering::Relaxed)
    }

    /// Wakes up to so many helpers, the last to fall asleep first; returns how many.
    ///
    /// After [`Sleep::look`] or [`Sleep::end_search`].
    ///
    /// All are taken off the list at once, so they are different helpers: one
    /// that was unparked could come back before the next is taken.
    pub(crate) fn wake(&self, helpers: usize) -> usize {
        // Relaxed: the caller's fence orders it.
        if helpers == 0 || self.asleep.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let (one, more) = {
            let mut list = self.list.lock();
            // Nothing is allocated to wake one.
            let one = list.pop();
            let left = list.len().saturating_sub(helpers - 1);
            let more = if left < list.len() { list.split_off(left) } else { Vec::new() };
            self.asleep.store(list.len(), Ordering::Relaxed);
            let woken = usize::from(one.is_some()) + more.len();
            // Under the lock: a helper that leaves by itself counts itself.
            self.searching.fetch_add(woken, Ordering::Relaxed);
            (one, more)
        };
        // Outside of the lock, so that a woken helper need not wait for it.
        let woken = one.iter().chain(&more);
        woken.inspect(|sleeper| sleeper.thread.unpark()).count()
    }

    fn enter(&self, helper: usize) {
        let mut list = self.list.lock();
        list.push(Sleeper { helper, thread: current() });
        // Relaxed: the fence that follows orders it.
        self.asleep.store(list.len(), Ordering::Relaxed);
    }

    /// Takes the helper off the list; returns whether nobody who woke it has done so.
    fn leave(&self, helper: usize) -> bool {
        let mut list = self.list.lock();
        let before = list.len();
        list.retain(|sleeper| sleeper.helper != helper);
        self.asleep.store(list.len(), Ordering::Relaxed);
        list.len() < before
    }
}
