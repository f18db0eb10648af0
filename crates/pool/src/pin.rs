//! Pinning: what was asked for, and what the kernel granted.

use std::time::Instant;

use core_affinity::CoreId;
use firsttouch_topology::{CpuId, CpuSet, NodeId, Topology, affinity};

use crate::cpus::{CpuNote, CpuSharing, Moved, Noted};
use crate::panic::{catch, discard};

/// How helpers are kept in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pin {
    /// Each helper may run on any of its node's CPUs that the pool may use.
    ///
    /// The kernel can still move it away from a CPU that something else keeps
    /// busy, which is why this is the default. Where the kernel leaves it on
    /// the CPU of the thread that it works with, it moves by itself.
    #[default]
    Node,
    /// Each helper keeps to one CPU of its node, one helper to a core before
    /// two share one. For machines that run nothing else.
    Cpu,
    /// Helpers go wherever the kernel puts them.
    None,
}

/// What pinning came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pinned {
    /// Kept to one CPU.
    Cpu(CpuId),
    /// Kept to the CPUs of one node.
    Node(NodeId),
    /// Not asked for.
    None,
    /// Asked for and refused by the kernel; the helper runs unpinned.
    Refused,
}

impl Pinned {
    /// Returns whether the helper is kept somewhere.
    #[must_use]
    pub fn is_granted(self) -> bool {
        matches!(self, Self::Cpu(_) | Self::Node(_))
    }
}

/// What one helper is to be kept to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Cpu(CpuId),
    Node(NodeId, CpuSet),
    Anywhere,
}

impl Place {
    /// Pins the calling thread, and reads back whether the kernel did it.
    pub(crate) fn pin_current(&self) -> Pinned {
        let (pinned, cpus) = match self {
            Self::Anywhere => return Pinned::None,
            Self::Node(node, cpus) => (Pinned::Node(*node), cpus.clone()),
            Self::Cpu(cpu) => (Pinned::Cpu(*cpu), CpuSet::from_iter([*cpu])),
        };
        let before = affinity::current();
        let set = match self {
            Self::Cpu(cpu) => pin_to_cpu(*cpu),
            _ => affinity::set_current(&cpus).is_ok(),
        };
        // The kernel leaves out CPUs that a cpuset forbids, and says nothing.
        let granted = set && affinity::current().is_ok_and(|current| current == cpus);
        if granted {
            return pinned;
        }
        // What it did in part is undone: a helper that was refused runs unpinned.
        let _ = before.and_then(|before| affinity::set_current(&before));
        Pinned::Refused
    }

    fn holds(&self, cpu: CpuId) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Node(_, cpus) => cpus.contains(cpu),
            Self::Cpu(own) => *own == cpu,
        }
    }
}

/// What keeps a helper in its place, also after its CPUs were offline.
///
/// The kernel gives a thread whose CPUs are all offline every other, and
/// leaves it so when they come back.
#[derive(Debug)]
pub(crate) struct Kept {
    place: Place,
    /// Whether the helper is known to be away, and is to be pinned again.
    away: bool,
    sharing: CpuSharing,
    /// What has not been traced yet.
    events: Vec<Event>,
}

impl Kept {
    /// Keeps to a place what the kernel has agreed to pin there.
    pub(crate) fn to(place: Place, pinned: Pinned) -> Self {
        let place = if pinned == Pinned::Refused { Place::Anywhere } else { place };
        Self { place, away: false, sharing: CpuSharing::default(), events: Vec::new() }
    }

    /// Moves the calling helper to another of its CPUs, as another thread uses this one; returns whether it did.
    ///
    /// Where it does not, it is better asleep: see [`CpuSharing`].
    pub(crate) fn moves_from_shared_cpu(&mut self, cpu: &CpuNote<'_>) -> bool {
        self.sharing.is_time_to_move(Instant::now()) && self.moves_away(cpu)
    }

    /// Has the calling helper, which has found work that its CPU's other thread has, too, leave that CPU, as far as it is noted.
    pub(crate) fn leaves_to_another(&mut self, cpu: &CpuNote<'_>) {
        self.leaves_if(cpu.is_shared(), cpu);
    }

    /// Notes which CPU the calling helper is on, each time that it wakes up; where another of the pool's threads needs that, it moves.
    pub(crate) fn note_cpu(&mut self, cpu: &CpuNote<'_>) {
        self.leaves_if(cpu.note() == Noted::Shared, cpu);
    }

    fn leaves_if(&mut self, is_shared: bool, cpu: &CpuNote<'_>) {
        if is_shared && self.sharing.may_move(Instant::now()) {
            self.moves_away(cpu);
        }
    }

    /// Moves the helper where the kernel chooses its CPU, of the node's.
    fn moves_away(&mut self, cpu: &CpuNote<'_>) -> bool {
        let Place::Node(_, allowed) = &self.place else { return false };
        match cpu.move_away(allowed) {
            // The first few, for it may not sleep for long.
            Moved::To(cpu) if self.events.len() < 16 => {
                self.events.push(Event::LeftSharedCpu { to: cpu });
            }
            Moved::To(_) => {}
            Moved::Not => return false,
            // It is pinned again when it next looks.
            Moved::Narrowed => self.away = true,
        }
        true
    }

    /// Looks where the calling thread is, and pins it again where that is elsewhere; for each time it is woken.
    pub(crate) fn look(&mut self) {
        let cpu = affinity::current_cpu();
        if !self.away && self.place.holds(cpu) {
            return;
        }
        let back = match &self.place {
            Place::Anywhere => Ok(()),
            Place::Node(_, cpus) => affinity::set_current(cpus),
            Place::Cpu(cpu) => affinity::set_current(&CpuSet::from_iter([*cpu])),
        };
        // Once for each time that it goes or comes back.
        if back.is_ok() || !self.away {
            self.events.push(Event::WasAway { cpu, back: back.is_ok() });
        }
        self.away = back.is_err();
    }

    /// Traces what has happened since the last time.
    ///
    /// This runs a subscriber's code, which may call the pool, and may panic. So
    /// the calling helper is not counted as one that looks for work meanwhile.
    pub(crate) fn trace(&mut self, helper: usize) {
        for event in self.events.drain(..) {
            discard(catch(|| event.trace(helper)));
        }
    }
}

/// What has happened to a helper's place.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// It was found elsewhere, or could not be pinned again before.
    WasAway {
        cpu: CpuId,
        back: bool,
    },
    LeftSharedCpu {
        to: CpuId,
    },
}

impl Event {
    fn trace(self, helper: usize) {
        match self {
            Self::WasAway { cpu, back } => {
                let cpu = cpu.os_index();
                tracing::debug!(
                    helper,
                    cpu,
                    back,
                    "this helper was away from where it is pinned: the kernel moves one whose CPUs go offline"
                );
            }
            Self::LeftSharedCpu { to } => {
                tracing::trace!(
                    helper,
                    to = to.os_index(),
                    "this helper left a CPU that it shared"
                );
            }
        }
    }
}

/// Pins to one CPU; `core_affinity` can name the first 1,024.
fn pin_to_cpu(cpu: CpuId) -> bool {
    /// `CPU_SETSIZE`: the bits of a `cpu_set_t`.
    const CPU_SET_BITS: u32 = 1024;
    match cpu.os_index() {
        index if index < CPU_SET_BITS => {
            core_affinity::set_for_current(CoreId { id: index as usize })
        }
        _ => affinity::set_current(&CpuSet::from_iter([cpu])).is_ok(),
    }
}

/// Keeps the calling thread, which is no helper, to the node it is on; restores its affinity when dropped.
#[derive(Debug)]
pub(crate) struct KeptCaller {
    before: CpuSet,
}

impl KeptCaller {
    /// Narrows the calling thread's affinity; `None` where there is nothing to narrow, or the kernel refuses.
    pub(crate) fn on(topology: &Topology, node: NodeId) -> Option<Self> {
        let node = topology.node(node)?;
        let narrowed = affinity::current().and_then(|before| {
            let kept = before.intersection(node.cpus());
            if kept.is_empty() || kept == before {
                return Ok(None);
            }
            affinity::set_current(&kept)?;
            Ok(Some(Self { before }))
        });
        narrowed.unwrap_or_else(|error| {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::debug!(
                node = node.id().os_index(),
                error,
                "the caller is not kept to its node: the kernel refused"
            );
            None
        })
    }
}

impl Drop for KeptCaller {
    fn drop(&mut self) {
        if let Err(error) = affinity::set_current(&self.before) {
            let error: &(dyn std::error::Error + 'static) = &error;
            // A subscriber is user code, and this may be a drop while a panic unwinds.
            discard(catch(|| tracing::warn!(error, "the caller's affinity could not be restored")));
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::cpus::BusyCpus;

    #[test]
    fn a_helper_that_wakes_up_on_a_cpu_that_another_needs_moves() {
        let thread = std::thread::spawn(|| {
            let all = affinity::current().expect("this thread's affinity");
            let busy = BusyCpus::of(&all);
            let node = NodeId::new(0);
            for free in all.iter() {
                let mut kept = Kept::to(Place::Node(node, all.clone()), Pinned::Node(node));
                let others = || all.iter().filter(|&cpu| cpu != free);
                others().for_each(|cpu| assert!(!busy.enter(cpu)));
                let note = CpuNote::of(&busy);
                kept.note_cpu(&note);
                assert!(!busy.is_free(free), "it is not on {free}");
                note.forget();
                others().for_each(|cpu| busy.leave(cpu));
            }
        });
        thread.join().expect("the thread ends well");
    }

    #[test]
    fn a_helper_that_is_not_pinned_to_its_node_does_not_move() {
        let thread = std::thread::spawn(|| {
            let all = affinity::current().expect("this thread's affinity");
            let busy = BusyCpus::of(&all);
            let here = affinity::current_cpu();
            for place in [Place::Anywhere, Place::Cpu(here)] {
                let mut kept = Kept::to(place, Pinned::None);
                // Nobody is anywhere, so it might move.
                assert!(!kept.moves_away(&CpuNote::of(&busy)));
            }
            let node = NodeId::new(0);
            let mut kept = Kept::to(Place::Node(node, all.clone()), Pinned::Node(node));
            let note = CpuNote::of(&busy);
            assert_eq!(kept.moves_away(&note), all.len() > 1);
        });
        thread.join().expect("the thread ends well");
    }
}
