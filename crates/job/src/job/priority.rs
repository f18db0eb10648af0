//! Helpers at a lower priority while they run a job, and raised when its caller waits for them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use firsttouch_topology::TopologyError;
use firsttouch_topology::scheduling::{self, Nice, SchedPolicy, Scheduling, ThreadId};

use crate::sync::{Mutex, lock};

/// How a job's helpers are scheduled while they run its chunks; its caller stays as it is.
///
/// The kernel lets any thread lower itself, but raises it back only with
/// `CAP_SYS_NICE` or an `RLIMIT_NICE` that allows the old value. A job finds
/// out before (on a thread that it makes for that), and where it could not give a
/// helper its old priority back, it leaves it alone and says so:
/// [`PriorityReport::refused`]. `Batch` needs no right at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// As they are. (the default)
    #[default]
    Normal,
    /// With this nice value, where theirs is lower.
    Nice(Nice),
    /// As batch work (`SCHED_BATCH`): with the same share of the CPU, but without preempting others when they wake.
    Batch,
    /// Only where nothing else wants the CPU, or nearly so (`SCHED_IDLE`).
    Idle,
}

impl Priority {
    /// How a thread is to be scheduled; `None` where it stays as it is.
    fn lower(self, own: &Scheduling) -> Option<Scheduling> {
        let low = match (self, own.policy) {
            (_, SchedPolicy::Unmanaged(_)) | (Self::Normal, _) => return None,
            (Self::Nice(nice), policy) => Scheduling { policy, nice: own.nice.max(nice) },
            (Self::Batch, SchedPolicy::Other) => Scheduling { policy: SchedPolicy::Batch, ..*own },
            (Self::Idle, SchedPolicy::Other | SchedPolicy::Batch) => {
                Scheduling { policy: SchedPolicy::Idle, ..*own }
            }
            _ => return None,
        };
        (low != *own).then_some(low)
    }
}

/// What became of the helpers' priority in a job that asked for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PriorityReport {
    /// Helpers that ran at the job's priority.
    pub lowered: usize,
    /// Those of them that the caller raised, because it had nothing to do but wait for them.
    pub raised: usize,
    /// Helpers that ran as they were: the kernel refused to lower them, or would refuse to raise them again.
    pub refused: usize,
    /// Helpers that the kernel refused to give back what they had, against what it did before; each is named by a `warn` event.
    pub not_restored: usize,
}

/// What a helper was before it was lowered.
#[derive(Debug)]
pub(crate) struct Lowered {
    thread: ThreadId,
    before: Scheduling,
    raise: Raise,
}

/// Whether the caller has raised a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Raise {
    NotTried,
    Done,
    Refused,
}

impl Lowered {
    pub(crate) fn was_raised(&self) -> bool {
        self.raise != Raise::NotTried
    }
}

/// Counts of one run, read when all threads are joined: so Relaxed is enough.
#[derive(Debug, Default)]
pub(crate) struct PriorityCounts {
    lowered: AtomicUsize,
    raised: AtomicUsize,
    refused: AtomicUsize,
    not_restored: AtomicUsize,
    /// How the first helper was scheduled, and whether it could come back.
    restorable: OnceLock<(Scheduling, bool)>,
}

impl PriorityCounts {
    /// Lowers the calling helper, where it can be raised again.
    pub(crate) fn lower(&self, priority: Priority, place: &Mutex<Option<Lowered>>) {
        match self.try_lower(priority) {
            Ok(None) => {}
            Ok(Some(lowered)) => {
                *lock(place) = Some(lowered);
                self.lowered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
                    let error =
                        error.as_ref().map(|error| -> &(dyn std::error::Error + 'static) { error });
                    tracing::debug!(
                        ?priority,
                        error,
                        "helpers keep their priority: the kernel refuses, or would not let them have it back"
                    );
                }
            }
        }
    }

    /// `Err(None)` where the helper could not come back.
    fn try_lower(&self, priority: Priority) -> Result<Option<Lowered>, Option<TopologyError>> {
        let before = scheduling::current().map_err(Some)?;
        let Some(low) = priority.lower(&before) else { return Ok(None) };
        let is_free = before.policy == SchedPolicy::Other && low.policy == SchedPolicy::Batch;
        if !is_free && !self.can_restore(&before, &low) {
            return Err(None);
        }
        scheduling::set_current(&low).map_err(Some)?;
        Ok(Some(Lowered { thread: ThreadId::current(), before, raise: Raise::NotTried }))
    }

    /// Whether a helper could come back; found out once for all that are scheduled as the first.
    fn can_restore(&self, before: &Scheduling, low: &Scheduling) -> bool {
        let can = || scheduling::can_restore(before, low);
        let (first, restorable) = self.restorable.get_or_init(|| (*before, can()));
        if first == before { *restorable } else { can() }
    }

    /// Raises another thread, while it is lowered.
    pub(crate) fn raise(&self, place: &Mutex<Option<Lowered>>) {
        // The thread restores itself under the same lock, so it is not raised
        // out of what it does next; nor is its number another thread's by then.
        let mut place = lock(place);
        let Some(lowered) = place.as_mut().filter(|lowered| !lowered.was_raised()) else { return };
        lowered.raise = match scheduling::set(lowered.thread, &lowered.before) {
            Ok(()) => Raise::Done,
            Err(_) => Raise::Refused,
        };
        if lowered.raise == Raise::Done {
            self.raised.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives the calling thread what it had before, where it was lowered.
    pub(crate) fn restore(&self, place: &Mutex<Option<Lowered>>) {
        let Some(lowered) = lock(place).take() else { return };
        if lowered.raise == Raise::Done {
            return;
        }
        if let Err(error) = scheduling::set_current(&lowered.before) {
            self.not_restored.fetch_add(1, Ordering::Relaxed);
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(
                thread = lowered.thread.os_id(),
                error,
                "a helper's priority could not be restored"
            );
        }
    }

    pub(crate) fn report(&self) -> PriorityReport {
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        PriorityReport {
            lowered: read(&self.lowered),
            raised: read(&self.raised),
            refused: read(&self.refused),
            not_restored: read(&self.not_restored),
        }
    }
}
