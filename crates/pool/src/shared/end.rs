//! How the helpers of a pool end, and who waits for it.

use super::Shared;
use crate::completion::Completion;
use crate::front::look;
use crate::shutdown::Resting;
use crate::wait::wait_idly;

impl Shared {
    /// Tells the helpers to end when no work is left.
    pub(crate) fn shut_down(&self) {
        self.shutdown.begin();
        self.wake_all();
    }

    /// Counts a helper as one that has nothing to do while the pool shuts down; the last wakes all others, to end.
    pub(crate) fn rests(&self) -> Resting {
        let resting = self.shutdown.rests();
        if resting == Resting::All {
            self.wake_all();
        }
        resting
    }

    fn wake_all(&self) {
        look();
        self.nodes.iter().for_each(|node| {
            node.work.front.wake(node.helpers.len());
        });
    }

    /// Waits until a helper has left its loop, after [`Shared::shut_down`].
    ///
    /// Unlike the join of its thread, which has little left to do then, this is
    /// a wait as any other: a helper of another pool comes to calls that
    /// require it meanwhile.
    pub(crate) fn wait_for_end_of(&self, helper: usize) {
        wait_idly(&self.ended[helper], || false);
    }

    /// Whether a helper has left its loop.
    pub(crate) fn has_ended(&self, helper: usize) -> bool {
        self.ended[helper].is_complete()
    }

    /// Tells whoever drops the pool that a helper has left its loop.
    ///
    /// # Safety
    ///
    /// - `[once]` Only the helper itself calls this, once.
    pub(crate) unsafe fn ended(&self, helper: usize) {
        // SAFETY: [alive] the caller's reference keeps all of this alive. [once] by [once].
        unsafe { Completion::complete(&raw const self.ended[helper]) };
    }
}
