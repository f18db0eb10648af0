//! Tasks of a scope that lie on no deque: each waits on a node for that node's helpers.
//!
//! The scope's owner runs them too (`docs/protocols/waiting.md`). An
//! announcement in the node's injector has a helper come for each.

use std::collections::VecDeque;
use std::sync::Arc;

use super::JobRef;
use crate::steal::Steal;
use crate::sync::Mutex;
use crate::worker::Worker;

/// A scope's tasks by where they wait.
#[derive(Default)]
pub(super) struct Elsewhere(Mutex<Vec<Arc<Waiting>>>);

/// Where tasks wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The node's place in the pool.
    pub(super) node: usize,
    /// What they are queued under.
    pub(super) steal: Steal,
}

/// The tasks that wait in one spot.
///
/// The announcements keep this alive, not the tasks: a late one finds it empty.
struct Waiting {
    spot: Spot,
    tasks: Mutex<VecDeque<JobRef>>,
}

impl Elsewhere {
    /// Adds a task to those that wait in a spot; returns its announcement, to be injected there.
    pub(super) fn push(&self, spot: Spot, job: JobRef) -> Announcement {
        let there = {
            let mut spots = self.0.lock();
            let known = spots.iter().find(|there| there.spot == spot).map(Arc::clone);
            known.unwrap_or_else(|| {
                let there = Arc::new(Waiting { spot, tasks: Mutex::default() });
                spots.push(Arc::clone(&there));
                there
            })
        };
        there.tasks.lock().push_back(job);
        Announcement(there)
    }

    /// Takes the oldest task that waits in a spot.
    pub(super) fn pop(&self, spot: Spot) -> Option<JobRef> {
        let there = self.0.lock().iter().find(|there| there.spot == spot).map(Arc::clone)?;
        there.tasks.lock().pop_front()
    }

    /// Returns the first spot, of those with this number and above, where tasks wait, and the number after it.
    pub(super) fn first_from(&self, number: usize) -> Option<(Spot, usize)> {
        let spots = self.0.lock();
        let mut rest = spots.iter().enumerate().skip(number);
        let (number, there) = rest.find(|(_, there)| !there.tasks.lock().is_empty())?;
        Some((there.spot, number + 1))
    }
}

/// Tells helpers, through an injector, that a task waits for them.
#[must_use]
pub(super) struct Announcement(Arc<Waiting>);

impl Announcement {
    pub(super) fn into_job(self) -> JobRef {
        let job = Arc::into_raw(self.0).cast();
        // SAFETY: [job] the job owns one count of the Arc.
        unsafe { JobRef::new(job, follow_announcement) }
    }
}

/// Runs one of the tasks that an announcement was made for, where one is left.
///
/// # Safety
///
/// - `[job]` as in [`JobRef::new`].
unsafe fn follow_announcement(job: *const (), worker: &Worker<'_>) {
    // SAFETY: [job] this is the pointer that `announcement` took from the Arc.
    let there = unsafe { Arc::from_raw(job.cast::<Waiting>()) };
    let task = there.tasks.lock().pop_front();
    drop(there);
    if let Some(task) = task {
        // SAFETY: [taken] it comes from a queue.
        unsafe { task.run(worker) };
    }
}
