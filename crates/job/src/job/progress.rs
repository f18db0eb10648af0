//! How far a job has come, read by other threads while it runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use firsttouch_topology::{CpuId, NodeId};

use crate::job::watch::Watch;
use crate::sync::{Mutex, lock};

/// How far a job has come; clones read the same job.
///
/// Given to a job by [`Job::progress`](crate::Job::progress). Each node's
/// threads count in a counter of their node's own, once for each chunk;
/// whoever reads adds them up. A `Progress` tells of one job at a time: the
/// one that began last. `Send` and `Sync`.
///
/// # Examples
///
/// ```
/// use firsttouch_job::{Job, Progress};
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let progress = Progress::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let snapshot = progress.snapshot();
///         println!("{:.0} %", snapshot.fraction() * 100.0);
///     });
///     Job::new(0, 1000).progress(&progress).run(&pool, |_| ())
/// })?;
/// assert_eq!(progress.snapshot().completed, 1000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    NotBegun,
    Running(Arc<Watch>),
    Over(ProgressSnapshot),
}

/// How far a job had come at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgressSnapshot {
    /// Units in the job's range; 0 where the job has not begun.
    pub size: usize,
    /// Units in chunks that have completed.
    pub completed: usize,
    /// Whether the job has ended, however it did.
    pub is_over: bool,
    /// The same for each node's part, in the order of their first parts.
    pub nodes: Vec<NodeProgress>,
}

/// How far a job had come with one node's part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeProgress {
    /// The node; `None` for what lives nowhere in particular.
    pub node: Option<NodeId>,
    /// Units in the node's part.
    pub size: usize,
    /// Units of it in chunks that have completed.
    pub completed: usize,
}

/// A chunk that has not ended for as long as [`Job::stall_after`](crate::Job::stall_after) says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// The helper that runs it, by its index in the pool; `None` for a caller from outside.
    pub helper: Option<usize>,
    /// The piece that it is of, in a job over pieces.
    pub piece: Option<usize>,
    /// Where the chunk starts.
    pub start: usize,
    /// Where it ends: the first unit past it.
    pub end: usize,
    /// The CPU that the thread was on when it took the chunk.
    pub cpu: CpuId,
    /// How long it has been running.
    pub since: Duration,
}

impl Progress {
    /// Returns a reader that tells of no job yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads how far the job has come; counts of different nodes may be of slightly different moments.
    #[must_use]
    pub fn snapshot(&self) -> ProgressSnapshot {
        match self.watch() {
            Ok(watch) => watch.snapshot(false),
            Err(over) => over,
        }
    }

    /// Lists the chunks that have stalled: none unless [`Job::stall_after`](crate::Job::stall_after) says when that is.
    ///
    /// Those not told of before are told of by `warn` events, as the job's
    /// own threads do. For when all of them are stuck.
    #[must_use]
    pub fn stalls(&self) -> Vec<Stall> {
        self.watch().map_or_else(|_| Vec::new(), |watch| watch.stalls())
    }

    /// The job's watch while it runs, else what there is to tell without one.
    fn watch(&self) -> Result<Arc<Watch>, ProgressSnapshot> {
        match &*lock(&self.0) {
            State::NotBegun => Err(ProgressSnapshot::default()),
            State::Running(watch) => Ok(Arc::clone(watch)),
            State::Over(snapshot) => Err(snapshot.clone()),
        }
    }

    /// Begins to tell of a job, until the guard is dropped.
    pub(crate) fn begin(&self, watch: &Arc<Watch>) -> Telling {
        *lock(&self.0) = State::Running(Arc::clone(watch));
        Telling { progress: self.clone(), watch: Arc::clone(watch) }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.snapshot()).finish()
    }
}

impl ProgressSnapshot {
    /// Returns the share of units that have completed, from 0 to 1; 1 for a job without any, once it is over.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        match self.size {
            0 if self.is_over => 1.0,
            0 => 0.0,
            size => self.completed as f64 / size as f64,
        }
    }
}

/// While it lives, a progress tells of a job that runs; then of how it ended.
pub(crate) struct Telling {
    progress: Progress,
    watch: Arc<Watch>,
}

impl Drop for Telling {
    fn drop(&mut self) {
        let over = State::Over(self.watch.snapshot(true));
        let mut state = lock(&self.progress.0);
        // Another job may have begun to tell meanwhile.
        if matches!(&*state, State::Running(watch) if Arc::ptr_eq(watch, &self.watch)) {
            *state = over;
        }
    }
}

/// What is called as a job comes on.
#[derive(Clone)]
pub(crate) struct OnProgress {
    /// The least time from one call to the next, and from the job's start to the first.
    pub(crate) every: Duration,
    pub(crate) call: Arc<dyn Fn(&ProgressSnapshot) + Send + Sync>,
}

impl fmt::Debug for OnProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnProgress").field("every", &self.every).finish_non_exhaustive()
    }
}
