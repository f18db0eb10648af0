//! One thread's note of the CPU that it needs.

use std::cell::Cell;

use firsttouch_topology::{CpuId, CpuSet, affinity};

use super::BusyCpus;

/// The CPU that a thread needs, as others of its node see it.
#[derive(Debug)]
pub(crate) struct CpuNote<'n> {
    node: &'n BusyCpus,
    /// Invariant: this thread is counted there, and nowhere else.
    on: Cell<Option<CpuId>>,
}

/// Whether another thread has noted the same CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Noted {
    Alone,
    Shared,
}

/// What came of a move to another CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Moved {
    /// The thread is on another CPU, or was moved back already, and may run where it might before.
    To(CpuId),
    /// There is no other CPU that nobody needs, or it may not go there; it is where it was.
    Not,
    /// It has moved, and the kernel refused to let it run where it might before.
    Narrowed,
}

impl<'n> CpuNote<'n> {
    /// One that says nothing yet. Whoever drops it and not the node [forgets](Self::forget) first.
    #[inline(always)]
    pub(crate) fn of(node: &'n BusyCpus) -> Self {
        Self { node, on: Cell::new(None) }
    }

    /// Notes the CPU that the calling thread is on.
    pub(crate) fn note(&self) -> Noted {
        self.note_on(affinity::current_cpu())
    }

    fn note_on(&self, cpu: CpuId) -> Noted {
        self.forget();
        self.on.set(Some(cpu));
        if self.node.enter(cpu) { Noted::Shared } else { Noted::Alone }
    }

    /// Notes where the calling thread is, if that is elsewhere by now.
    pub(crate) fn renew(&self) {
        if self.on.get() != Some(affinity::current_cpu()) {
            let _ = self.note();
        }
    }

    /// Whether another thread has noted the CPU that the calling thread is on. This one has noted its own.
    pub(crate) fn is_shared(&self) -> bool {
        self.renew();
        self.on.get().is_some_and(|cpu| self.node.is_shared(cpu))
    }

    /// Whether a CPU is noted.
    #[cfg(test)]
    pub(crate) fn is_noted(&self) -> bool {
        self.on.get().is_some()
    }

    /// Notes that the thread needs no CPU; returns whether it had noted one.
    pub(crate) fn forget(&self) -> bool {
        let noted = self.on.take();
        noted.into_iter().for_each(|cpu| self.node.leave(cpu));
        noted.is_some()
    }

    /// Runs `sleep`, in which the thread needs no CPU.
    pub(crate) fn while_forgotten(&self, sleep: impl FnOnce()) {
        let noted = self.forget();
        sleep();
        if noted {
            let _ = self.note();
        }
    }

    /// Moves the calling thread to another CPU, which nobody has noted, of those where it may run: these.
    ///
    /// It does not where these are not all that it may use, as one of them is offline, or somebody has chosen
    /// others: that is not to be undone.
    pub(crate) fn move_away(&self, allowed: &CpuSet) -> Moved {
        match self.move_once(allowed) {
            // Another may have come to the same CPU at the same time.
            Moved::To(cpu) if self.node.is_shared(cpu) => match self.move_once(allowed) {
                Moved::Not => Moved::To(cpu),
                again => again,
            },
            moved => moved,
        }
    }

    fn move_once(&self, allowed: &CpuSet) -> Moved {
        // First, so that another who looks now, and is alone here without this thread, stays.
        self.forget();
        let moved = self.move_to_free(allowed);
        let _ = match moved {
            Moved::To(cpu) => self.note_on(cpu),
            Moved::Not | Moved::Narrowed => self.note(),
        };
        moved
    }

    fn move_to_free(&self, allowed: &CpuSet) -> Moved {
        if affinity::current().ok().as_ref() != Some(allowed) {
            return Moved::Not;
        }
        let here = affinity::current_cpu();
        // All of them, so that the kernel can still balance, should something else keep one busy.
        let free = allowed.iter().filter(|&cpu| cpu != here && self.node.is_free(cpu));
        let free: CpuSet = free.collect();
        if free.is_empty() || affinity::set_current(&free).is_err() {
            return Moved::Not;
        }
        let to = affinity::current_cpu();
        affinity::set_current(allowed).map_or(Moved::Narrowed, |()| Moved::To(to))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Runs `f` on a thread whose affinity it may change, with all CPUs where that may run.
    fn on_a_thread(f: impl FnOnce(CpuSet) + Send + 'static) {
        let thread = std::thread::spawn(|| f(affinity::current().expect("the thread's affinity")));
        thread.join().expect("the thread ends well");
    }

    #[test]
    fn a_thread_moves_to_another_of_its_cpus_and_may_run_on_all_of_them_after() {
        on_a_thread(|all| {
            let node = BusyCpus::of(&all);
            let note = CpuNote::of(&node);
            for _ in 0..100 {
                match note.move_away(&all) {
                    Moved::To(to) => assert!(all.contains(to) && all.len() > 1, "to {to}"),
                    Moved::Not => assert_eq!(all.len(), 1),
                    Moved::Narrowed => panic!("the kernel does not refuse what was there before"),
                }
                assert_eq!(affinity::current().ok().as_ref(), Some(&all));
                let busy = all.iter().filter(|&cpu| !node.is_free(cpu));
                assert!(busy.eq(note.on.get()), "it is counted once");
            }
        });
    }

    #[test]
    fn it_moves_to_the_cpu_that_nobody_needs() {
        on_a_thread(|all| {
            let node = BusyCpus::of(&all);
            all.iter().for_each(|cpu| assert!(!node.enter(cpu), "nobody is there yet"));
            let note = CpuNote::of(&node);
            assert_eq!(note.note(), Noted::Shared);
            assert_eq!(note.move_away(&all), Moved::Not, "each CPU is another's");
            for free in all.iter() {
                node.leave(free);
                // The kernel may move it there first, and back.
                let is_there = || match note.note() {
                    Noted::Alone => true,
                    Noted::Shared => note.move_away(&all) == Moved::To(free),
                };
                assert!((0..100).any(|_| is_there()));
                assert_eq!(note.on.get(), Some(free));
                note.forget();
                node.enter(free);
            }
        });
    }

    #[test]
    fn what_somebody_else_has_narrowed_stays() {
        on_a_thread(|all| {
            let node = BusyCpus::of(&all);
            let note = CpuNote::of(&node);
            let one = CpuSet::from_iter([affinity::current_cpu()]);
            affinity::set_current(&one).expect("one of its CPUs");
            assert_eq!(note.move_away(&one), Moved::Not, "there is no other");
            if all.len() > 1 {
                assert_eq!(note.move_away(&all), Moved::Not);
            }
            assert_eq!(affinity::current().ok(), Some(one));
        });
    }

    #[test]
    fn a_thread_is_counted_once_until_it_forgets_its_cpu() {
        on_a_thread(|all| {
            let node = BusyCpus::of(&all);
            let note = CpuNote::of(&node);
            let is_free = || all.iter().all(|cpu| node.is_free(cpu));
            assert_eq!(note.note(), Noted::Alone);
            assert_eq!(note.note(), Noted::Alone, "it is not counted twice");
            note.renew();
            note.while_forgotten(|| assert!(is_free()));
            assert!(!is_free());
            assert!(note.forget() && is_free());
            note.while_forgotten(|| assert!(is_free()));
            assert!(is_free() && !note.forget());
        });
    }
}
