//! Sleeping: helpers with nothing to do park, and whoever publishes work wakes as many as it needs.
//!
//! The states, both sides' steps, the race and the proof are in
//! `docs/protocols/sleep.md`.

use super::Front;
use super::word::{ONE_SEARCHING, Word};
use crate::sync::{AtomicUsize, Mutex, Ordering, Thread, current, fence, park};

/// The sleeping helpers of one node. Helpers go by their place in the pool.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Sleepers {
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

/// Orders what the caller has published before its looks at who searches and who sleeps.
pub(crate) fn look() {
    // [idle] [search] SeqCst: between the work and the looks at the counts.
    fence(Ordering::SeqCst);
}

/// Says whether others search, to a helper that has ended its search by a change of this word.
///
/// Where nobody does, what the caller looks at next is ordered after that change.
#[inline]
pub(super) fn search_ended(before: Word) -> Searching {
    debug_assert!(before.searching() > 0, "who does not search cannot end it");
    if before.searching() > 1 {
        return Searching::Others;
    }
    // [search] SeqCst: between the count and the look at the work. Its
    // partner in `look` stands between the work and the look at the count.
    fence(Ordering::SeqCst);
    Searching::Nobody
}

impl Front {
    /// Counts the calling helper as one that looks for work.
    #[inline]
    pub(crate) fn begin_search(&self) {
        // Relaxed: whoever needs the count has a fence before it looks.
        self.word.fetch_add(ONE_SEARCHING, Ordering::Relaxed);
    }

    /// Ends the calling helper's search, because it found work or is about to sleep.
    ///
    /// What the caller looks at next is ordered after this, where nobody else searches.
    #[inline]
    pub(crate) fn end_search(&self) -> Searching {
        // Relaxed: the fence orders it, and the order of the word's changes.
        search_ended(Word(self.word.fetch_sub(ONE_SEARCHING, Ordering::Relaxed)))
    }

    /// Ends the calling helper's search where more search than this; returns whether it has.
    #[inline]
    pub(crate) fn leave_search_to(&self, others: usize) -> bool {
        // Relaxed: nothing is looked at after. Those who are left, one at least, see to what is there.
        let mut word = Word(self.word.load(Ordering::Relaxed));
        while word.searching() > others {
            let fewer = word.without_searching();
            match self.word.compare_exchange(word.0, fewer.0, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = Word(now),
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

    /// How many helpers look for work; after [`look`] or [`Front::end_search`].
    #[inline]
    pub(crate) fn searching(&self) -> usize {
        // Relaxed: the caller's fence orders it.
        Word(self.word.load(Ordering::Relaxed)).searching()
    }

    /// How many helpers sleep; after a fence, as [`Front::searching`].
    pub(crate) fn asleep(&self) -> usize {
        // Relaxed: the caller's fence orders it.
        self.sleepers.asleep.load(Ordering::Relaxed)
    }

    /// Wakes up to so many helpers, the last to fall asleep first; returns how many.
    ///
    /// After [`look`] or [`Front::end_search`].
    ///
    /// All are taken off the list at once, so they are different helpers: one
    /// that was unparked could come back before the next is taken.
    pub(crate) fn wake(&self, helpers: usize) -> usize {
        // Relaxed: the caller's fence orders it.
        if helpers == 0 || self.sleepers.asleep.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let (one, more) = {
            let mut list = self.sleepers.list.lock();
            // Nothing is allocated to wake one.
            let one = list.pop();
            let left = list.len().saturating_sub(helpers - 1);
            let more = if left < list.len() { list.split_off(left) } else { Vec::new() };
            self.sleepers.asleep.store(list.len(), Ordering::Relaxed);
            let woken = usize::from(one.is_some()) + more.len();
            // Under the lock: a helper that leaves by itself counts itself.
            self.word.fetch_add(woken as u64 * ONE_SEARCHING, Ordering::Relaxed);
            (one, more)
        };
        // Outside of the lock, so that a woken helper need not wait for it.
        let woken = one.iter().chain(&more);
        woken.inspect(|sleeper| sleeper.thread.unpark()).count()
    }

    fn enter(&self, helper: usize) {
        let mut list = self.sleepers.list.lock();
        list.push(Sleeper { helper, thread: current() });
        // Relaxed: the fence that follows orders it.
        self.sleepers.asleep.store(list.len(), Ordering::Relaxed);
    }

    /// Takes the helper off the list; returns whether nobody who woke it has done so.
    fn leave(&self, helper: usize) -> bool {
        let mut list = self.sleepers.list.lock();
        let before = list.len();
        list.retain(|sleeper| sleeper.helper != helper);
        self.sleepers.asleep.store(list.len(), Ordering::Relaxed);
        list.len() < before
    }
}
