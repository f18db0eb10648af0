//! Threads that take the policy of the node that they work for.

use std::sync::atomic::{AtomicBool, Ordering};

use firsttouch_memory::{MemoryError, ThreadPolicy};
use firsttouch_topology::NodeId;

use crate::init::placement::Binding;
use crate::init::policies::{policy_for, tell_refused};

/// What threads do that place pages by their own policies.
#[derive(Debug)]
pub(crate) struct Follow {
    binding: Binding,
    /// Set where a thread's policy is refused. Relaxed: it is read when all threads are joined, and a thread that misses it asks once more.
    refused: AtomicBool,
}

/// One thread's policy and the node it is for; dropping restores what it had, on unwind too.
#[derive(Debug, Default)]
pub(crate) struct Following(Option<(ThreadPolicy, NodeId)>);

impl Follow {
    pub(crate) fn new(binding: Binding) -> Self {
        Self { binding, refused: AtomicBool::new(false) }
    }

    /// Whether a thread's policy was refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Gives the thread the policy of a node, where it has another; a refusal is an error for [`Binding::Bind`] alone.
    pub(crate) fn follow(&self, own: &mut Following, node: NodeId) -> Result<(), MemoryError> {
        let policy = policy_for(node, self.binding);
        let changed = match &mut own.0 {
            Some((_, now)) if *now == node => Ok(()),
            Some((guard, now)) => guard.change(&policy).map(|()| *now = node),
            None if self.is_refused() => Ok(()),
            none => ThreadPolicy::set(&policy).map(|guard| *none = Some((guard, node))),
        };
        match changed {
            Err(error) if self.binding == Binding::Bind => Err(error),
            Err(error) => {
                // A policy for another node would be worse than none.
                own.0 = None;
                if !self.refused.swap(true, Ordering::Relaxed) {
                    tell_refused(&error);
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
