//! A node's queues: for each [`Steal`] an injector, and the deques that threads borrow.
//!
//! Every job lies in a queue of the [`Steal`] that it was queued under, and
//! thieves look only into those that let them: so nobody who may not run a job
//! ever holds it.

use std::fmt;

use crossbeam_utils::CachePadded;

use crate::deque::{Deque, Injector, Stealer};
use crate::steal::{Steal, close_first, rotated};
use crate::sync::{AtomicBool, Mutex, Ordering, RwLock};
use crate::task::JobRef;

/// A node's queues, but for the deque that each of its helpers has from the start.
///
/// `widest` is the pool's own [`Steal`] wherever it is asked for: nothing may be taken by more.
#[derive(Default)]
pub(crate) struct NodeQueues {
    /// Whether jobs were ever queued here that fewer may take than the pool lets.
    ///
    /// Invariant: set before the first of these is queued.
    is_narrowed: CachePadded<AtomicBool>,
    under: [Under; Steal::ALL.len()],
}

/// The queues of jobs that the same helpers may take.
#[derive(Default)]
struct Under {
    injector: CachePadded<Injector>,
    lent: CachePadded<Lent>,
}

/// The deques that threads borrow.
#[derive(Default)]
struct Lent {
    /// One for each deque that was ever made here.
    stealers: RwLock<Vec<LentStealer>>,
    /// Those that nobody has borrowed; all are empty.
    free: Mutex<Vec<Deque>>,
}

struct LentStealer {
    stealer: Stealer,
    /// The place in the node of the helper that has it for good.
    helper: Option<usize>,
}

/// A job that was taken from its node's queues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stolen {
    pub(crate) job: JobRef,
    /// What it was queued under, and what it queues under.
    pub(crate) steal: Steal,
    pub(crate) source: Source,
}

/// Whose job it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// One from an injector, or from the deque of somebody who shares no cache with the thief.
    Elsewhere,
    /// One from a helper that shares the thief's last-level cache, as far as is known.
    SameCache,
}

/// Which of a node's helpers share the thief's last-level cache.
#[derive(Clone, Copy)]
pub(crate) enum Close<F> {
    /// All of them.
    All,
    /// None of them: the thief is of another node.
    Nobody,
    /// Those at these places in the node.
    Those(F),
}

/// What is left in a node's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// What the job that most may take was queued under.
    pub(crate) steal: Steal,
    /// Whether some are in an injector, where no owner runs them.
    pub(crate) injected: bool,
}

impl NodeQueues {
    /// Visits what jobs may be queued under that a thief may take who needs `least`, the narrowest first.
    fn open_to(
        &self,
        least: Steal,
        widest: Steal,
    ) -> impl DoubleEndedIterator<Item = Steal> + use<> {
        // Relaxed: it is set before the job is queued, and ordered with the job by whatever orders that.
        let narrowest = if self.is_narrowed.load(Ordering::Relaxed) { least } else { widest };
        Steal::between(narrowest.max(least), widest)
    }

    /// Notes that a job is about to be queued here.
    fn note(&self, steal: Steal, widest: Steal) {
        if steal != widest && !self.is_narrowed.load(Ordering::Relaxed) {
            self.is_narrowed.store(true, Ordering::Relaxed);
        }
    }

    /// Queues a job for whoever may take it.
    pub(crate) fn inject(&self, job: JobRef, steal: Steal, widest: Steal) {
        self.note(steal, widest);
        self.under[steal.index()].injector.push(job);
    }

    /// Takes a job: from an injector, else from a helper that is close, else from whoever has one.
    ///
    /// `own` are the deques that the helpers have from the start, under the
    /// pool's own [`Steal`]; `start` chooses which of several is tried first.
    pub(crate) fn steal<F: Fn(usize) -> bool + Copy>(
        &self,
        own: &[Stealer],
        least: Steal,
        widest: Steal,
        start: usize,
        close: Close<F>,
    ) -> Option<Stolen> {
        self.open_to(least, widest).find_map(|steal| {
            let elsewhere = |job| Stolen { job, steal, source: Source::Elsewhere };
            let from = |(job, close)| {
                let source = if close { Source::SameCache } else { Source::Elsewhere };
                Stolen { job, steal, source }
            };
            let Under { injector, lent } = &self.under[steal.index()];
            if let Some(job) = injector.steal() {
                return Some(elsewhere(job));
            }
            if steal == widest {
                let take = |place: usize| own[place].steal();
                let any = || rotated(own.len(), start).find_map(take);
                let taken = match close {
                    Close::Those(those) => close_first(own.len(), start, those, take),
                    Close::All => any().map(|job| (job, true)),
                    Close::Nobody => any().map(|job| (job, false)),
                };
                if taken.is_some() {
                    return taken.map(from);
                }
            }
            let lent = lent.stealers.read();
            let take = |place: usize| lent[place].stealer.steal();
            let taken = match close {
                Close::Those(those) => {
                    let is_close = |place: usize| lent[place].helper.is_some_and(those);
                    close_first(lent.len(), start, is_close, take)
                }
                // Callers from outside are anywhere on the node.
                Close::All => rotated(lent.len(), start)
                    .find_map(|place| Some((take(place)?, lent[place].helper.is_some()))),
                Close::Nobody => rotated(lent.len(), start).find_map(take).map(|job| (job, false)),
            };
            taken.map(from)
        })
    }

    /// What is left for a thief that needs `least`.
    pub(crate) fn left(&self, own: &[Stealer], least: Steal, widest: Steal) -> Option<Left> {
        let mut shown = None;
        for steal in self.open_to(least, widest).rev() {
            let Under { injector, lent } = &self.under[steal.index()];
            if !injector.is_empty() {
                return Some(Left { steal: shown.unwrap_or(steal), injected: true });
            }
            let own = if steal == widest { own } else { &[] };
            let any = || own.iter().any(|stealer| !stealer.is_empty());
            let any_lent = || lent.stealers.read().iter().any(|lent| !lent.stealer.is_empty());
            if shown.is_none() && (any() || any_lent()) {
                shown = Some(steal);
            }
        }
        shown.map(|steal| Left { steal, injected: false })
    }

    /// Whether a job that is queued under this waits in the injector.
    pub(crate) fn has_injected(&self, steal: Steal) -> bool {
        !self.under[steal.index()].injector.is_empty()
    }

    /// Lends a deque to a helper of the node for good, or to a caller from outside until it gives it back.
    pub(crate) fn borrow_deque(&self, steal: Steal, widest: Steal, helper: Option<usize>) -> Deque {
        self.note(steal, widest);
        let lent = &self.under[steal.index()].lent;
        let free = if helper.is_none() { lent.free.lock().pop() } else { None };
        free.unwrap_or_else(|| {
            let deque = Deque::new();
            lent.stealers.write().push(LentStealer { stealer: deque.stealer(), helper });
            deque
        })
    }

    /// Takes back a deque that is empty again.
    pub(crate) fn return_deque(&self, steal: Steal, deque: Deque) {
        self.under[steal.index()].lent.free.lock().push(deque);
    }
}

impl fmt::Debug for NodeQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeQueues").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::worker::Worker;

    /// A job that is told apart by its address, and never run.
    fn job(number: usize) -> JobRef {
        unsafe fn run(_: *const (), _: &Worker<'_>) {
            unreachable!("these jobs are only moved");
        }
        // SAFETY: [job] it is not run.
        unsafe { JobRef::new(std::ptr::without_provenance(number), run) }
    }

    fn is(stolen: Option<Stolen>, number: usize) -> bool {
        stolen.is_some_and(|stolen| stolen.job.is(std::ptr::without_provenance(number)))
    }

    #[test]
    fn a_thief_takes_from_the_injector_then_from_its_cache_then_from_its_node() {
        let (queues, deques) = (NodeQueues::default(), [(); 4].map(|()| Deque::new()));
        let own: Vec<_> = deques.iter().map(Deque::stealer).collect();
        for (number, deque) in deques.iter().enumerate() {
            deque.push(job(number));
        }
        let guest = queues.borrow_deque(Steal::Anywhere, Steal::Anywhere, None);
        guest.push(job(4));
        queues.inject(job(5), Steal::Anywhere, Steal::Anywhere);
        let close = Close::Those(|helper: usize| helper >= 2);
        let steal = || queues.steal(&own, Steal::Node, Steal::Anywhere, 3, close);
        let order = [5, 3, 2, 0, 1, 4];
        for (place, number) in order.into_iter().enumerate() {
            let stolen = steal();
            assert!(is(stolen, number), "{place}: {stolen:?}");
            let in_cache = stolen.is_some_and(|stolen| stolen.source == Source::SameCache);
            assert_eq!(in_cache, [3, 2].contains(&number));
        }
        assert!(steal().is_none());
    }

    #[test]
    fn thieves_find_only_what_was_queued_for_them() {
        use Steal::{Anywhere, Near, Node};
        let queues = NodeQueues::default();
        let deque = queues.borrow_deque(Node, Anywhere, Some(0));
        deque.push(job(1));
        queues.inject(job(2), Near, Anywhere);
        let steal = |least| queues.steal(&[], least, Anywhere, 0, Close::<fn(usize) -> bool>::All);
        assert_eq!(queues.left(&[], Anywhere, Anywhere), None);
        assert!(steal(Anywhere).is_none());
        assert_eq!(queues.left(&[], Near, Anywhere), Some(Left { steal: Near, injected: true }));
        assert!(is(steal(Near), 2) && steal(Near).is_none());
        assert_eq!(queues.left(&[], Node, Anywhere), Some(Left { steal: Node, injected: false }));
        let stolen = steal(Node);
        assert!(is(stolen, 1));
        let stolen = stolen.expect("it was just looked at");
        assert_eq!((stolen.steal, stolen.source), (Node, Source::SameCache));
        assert_eq!(queues.left(&[], Node, Anywhere), None);
    }
}
