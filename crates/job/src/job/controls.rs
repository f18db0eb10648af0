//! What a job is asked for beyond where and how it is cut.

use std::time::Duration;

use crate::job::cancel::StopWhen;
use crate::job::limits::JobLimits;
use crate::job::priority::Priority;
use crate::job::progress::{OnProgress, Progress};

/// What a job is asked for beyond where and how it is cut; by default nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Controls {
    pub(crate) stop: StopWhen,
    /// Whether a job that is stopped is undone.
    pub(crate) undo_when_stopped: bool,
    pub(crate) progress: Option<Progress>,
    pub(crate) on_progress: Option<OnProgress>,
    pub(crate) stall_after: Option<Duration>,
    pub(crate) priority: Priority,
    pub(crate) limits: Option<JobLimits>,
    pub(crate) within_caller_affinity: bool,
}

impl Controls {
    /// Nothing.
    pub(crate) const NONE: &Self = &Self {
        stop: StopWhen { tokens: [None, None], deadline: None },
        undo_when_stopped: false,
        progress: None,
        on_progress: None,
        stall_after: None,
        priority: Priority::Normal,
        limits: None,
        within_caller_affinity: false,
    };

    /// Whether a thread that runs alone is to look around between chunks.
    pub(crate) fn need_chunks(&self) -> bool {
        !self.stop.is_never() || self.progress.is_some() || self.on_progress.is_some()
    }

    /// Whether the job's threads are to be watched.
    pub(crate) fn need_watch(&self) -> bool {
        self.progress.is_some()
            || self.on_progress.is_some()
            || self.stall_after.is_some()
            || self.priority != Priority::Normal
    }

    /// Whether the caller has something to do while it waits for others.
    pub(crate) fn need_waiting(&self) -> bool {
        self.on_progress.is_some()
            || self.stall_after.is_some()
            || self.priority != Priority::Normal
    }
}
