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
    /// It may run on no other CPU that nobody needs, or the kernel refuses; it is where it was.
    Not,
    /// It has moved, and the kernel refused to let it run where it might before.
    Narrowed,
}

impl<'n> CpuNote<'n> {
    /// One that says nothing yet. To be forgotten before it is dropped.
    #[inline(always)]
    pub(crate) fn of(node: &'n BusyCpus) -> Self {
        Self { node, on: Cell::new(None) }
    }

    /// Notes the CPU that the calling thread is on.
    pub(crate) fn note(&self) -> Noted {
        self.forget();
        let here = affinity::current_cpu();
        self.on.set(Some(here));
        if self.node.enter(here) { Noted::Shared } else { Noted::Alone }
    }

    /// Notes where the calling thread is, if that is elsewhere by now.
    pub(crate) fn renew(&self) {
        if self.on.get() != Some(affinity::current_cpu()) {
            let _ = self.note();
        }
    }

    /// Notes that the thread needs no CPU.
    pub(crate) fn forget(&self) {
        if let Some(cpu) = self.on.take() {
            self.node.leave(cpu);
        }
    }

    /// Moves the calling thread from the CPU that it has noted to another of those where it may run, which nobody else needs.
    pub(crate) fn move_away(&self) -> Moved {
        let from = self.on.get().unwrap_or_else(affinity::current_cpu);
        // First, so that whoever is left here alone stays.
        self.forget();
        let moved = self.move_to_free(from);
        if !matches!(moved, Moved::To(_)) {
            let _ = self.note();
        }
        moved
    }

    fn move_to_free(&self, from: CpuId) -> Moved {
        let Ok(before) = affinity::current() else { return Moved::Not };
        // Which one is decided here: of several, the kernel would not seek an idle one either.
        let after = before.iter().filter(|&cpu| cpu > from);
        let mut others = after.chain(before.iter().filter(|&cpu| cpu < from));
        // It is counted there before it goes, so that two do not choose the same.
        let Some(to) = others.find(|&cpu| self.node.enter_free(cpu)) else { return Moved::Not };
        self.on.set(Some(to));
        match affinity::set_current(&CpuSet::from_iter([to])) {
            Err(_) => Moved::Not,
            Ok(()) => affinity::set_current(&before).map_or(Moved::Narrowed, |()| Moved::To(to)),
        }
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
                let from = affinity::current_cpu();
                match note.move_away() {
                    // The kernel may move it before the first look, and after.
                    Moved::To(to) => assert!(all.contains(to) && all.len() > 1, "{from} to {to}"),
                    Moved::Not => assert_eq!(all.len(), 1),
                    Moved::Narrowed => panic!("the kernel does not refuse what was there before"),
                }
                assert_eq!(affinity::current().ok().as_ref(), Some(&all));
                let busy = all.iter().filter(|&cpu| !is_free(&node, cpu));
                assert_eq!(busy.count(), 1, "it is counted where it is, and nowhere else");
            }
            let one = CpuSet::from_iter([affinity::current_cpu()]);
            affinity::set_current(&one).expect("one of its CPUs");
            assert_eq!(note.move_away(), Moved::Not);
            assert_eq!(affinity::current().ok(), Some(one));
        });
    }

    #[test]
    fn it_moves_where_nobody_is() {
        on_a_thread(|all| {
            let node = BusyCpus::of(&all);
            all.iter().for_each(|cpu| assert!(!node.enter(cpu), "nobody is there yet"));
            let note = CpuNote::of(&node);
            assert_eq!(note.note(), Noted::Shared);
            assert_eq!(note.move_away(), Moved::Not, "each CPU is another's");
            for free in all.iter() {
                node.leave(free);
                // Wherever the kernel has it now, it ends up there.
                if note.note() == Noted::Shared {
                    assert_eq!(note.move_away(), Moved::To(free));
                }
                assert_eq!(note.on.get(), Some(free));
                note.forget();
                node.enter(free);
            }
        });
    }

    #[test]
    fn a_thread_is_counted_once_until_it_forgets_its_cpu() {
        on_a_thread(|all| {
            let node = BusyCpus::of(&all);
            let note = CpuNote::of(&node);
            assert_eq!(note.note(), Noted::Alone);
            assert_eq!(note.note(), Noted::Alone, "it is not counted twice");
            note.renew();
            note.forget();
            assert!(all.iter().all(|cpu| is_free(&node, cpu)));
        });
    }

    fn is_free(node: &BusyCpus, cpu: CpuId) -> bool {
        let is_free = node.enter_free(cpu);
        if is_free {
            node.leave(cpu);
        }
        is_free
    }
}
