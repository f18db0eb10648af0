//! Sharing a CPU: what a helper does where another thread has the CPU that it needs.
//!
//! A helper and its caller on one CPU offer it to each other in turn, and neither
//! ever sleeps; so the kernel, which looks for an idle CPU for a thread that it
//! wakes, leaves both there for tens of milliseconds while other CPUs are idle.
//! First the helper sleeps, so that it is woken, which finds it the best CPU.
//! Where that has not helped, it moves by itself: the CPUs of a virtual machine that
//! are idle look busy to its kernel (`available_idle_cpu` asks `vcpu_is_preempted`).

use std::time::{Duration, Instant};

use firsttouch_topology::{CpuId, CpuSet, affinity};

/// How soon after it slept a helper that shares a CPU again has not been helped by that.
const SOON: Duration = Duration::from_millis(1);

/// The time from one move to the next: they take some 20 microseconds, and there may be no idle CPU.
const BETWEEN_MOVES: Duration = Duration::from_millis(10);

/// One helper's past of sharing its CPU.
#[derive(Debug, Default)]
pub(crate) struct CpuSharing {
    shared: Option<Instant>,
    moved: Option<Instant>,
}

impl CpuSharing {
    /// Notes that the helper shares its CPU now; returns whether it is time to move.
    pub(crate) fn is_time_to_move(&mut self, now: Instant) -> bool {
        let since = |then: Instant| now.saturating_duration_since(then);
        let again = self.shared.replace(now).is_some_and(|shared| since(shared) < SOON);
        let moves = again && self.moved.is_none_or(|moved| since(moved) >= BETWEEN_MOVES);
        if moves {
            self.moved = Some(now);
        }
        moves
    }
}

/// What came of a move to another CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Moved {
    /// The thread is on another CPU, or was moved back already, and may run where it might before.
    To(CpuId),
    /// It may run on one CPU alone, or the kernel refuses; nothing has changed.
    Not,
    /// It has moved, and the kernel refused to let it run where it might before.
    Narrowed,
}

/// Moves the calling thread from its CPU to another of those where it may run.
pub(crate) fn move_away() -> Moved {
    let Ok(before) = affinity::current() else { return Moved::Not };
    let others = before.difference(&CpuSet::from_iter([affinity::current_cpu()]));
    if others.is_empty() || affinity::set_current(&others).is_err() {
        return Moved::Not;
    }
    let to = affinity::current_cpu();
    affinity::set_current(&before).map_or(Moved::Narrowed, |()| Moved::To(to))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn it_moves_where_sleep_has_not_helped_and_not_all_the_time() {
        let begin = Instant::now();
        let after = |micros| begin + Duration::from_micros(micros);
        let mut sharing = CpuSharing::default();
        assert!(!sharing.is_time_to_move(after(0)), "it sleeps first");
        assert!(sharing.is_time_to_move(after(40)), "that has not helped");
        assert!(!sharing.is_time_to_move(after(80)), "it has just moved");
        assert!(!sharing.is_time_to_move(after(5_000)));
        assert!(!sharing.is_time_to_move(after(20_000)), "it had its CPU alone for long");
        assert!(sharing.is_time_to_move(after(20_100)));
    }

    #[test]
    fn a_thread_moves_to_another_of_its_cpus_and_may_run_on_all_of_them_after() {
        std::thread::spawn(|| {
            let all = affinity::current().expect("this thread's affinity");
            for _ in 0..100 {
                let from = affinity::current_cpu();
                match move_away() {
                    // The kernel may move it before the first look, and after.
                    Moved::To(to) => assert!(all.contains(to) && all.len() > 1, "{from} to {to}"),
                    Moved::Not => assert_eq!(all.len(), 1),
                    Moved::Narrowed => panic!("the kernel does not refuse what was there before"),
                }
                assert_eq!(affinity::current().ok().as_ref(), Some(&all));
            }
            let one = CpuSet::from_iter([affinity::current_cpu()]);
            affinity::set_current(&one).expect("one of its CPUs");
            assert_eq!(move_away(), Moved::Not);
            assert_eq!(affinity::current().ok(), Some(one));
        })
        .join()
        .expect("the thread that moves");
    }
}
