//! What a job is asked for beyond where and how it is cut.

use crate::job::cancel::StopWhen;

/// What a job is asked for beyond where and how it is cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Controls {
    pub(crate) stop: StopWhen,
    /// Whether a job that is stopped is undone.
    pub(crate) undo_when_stopped: bool,
}

impl Controls {
    /// Whether a thread that runs alone is to look around between chunks.
    pub(crate) fn need_chunks(&self) -> bool {
        !self.stop.is_never()
    }
}
