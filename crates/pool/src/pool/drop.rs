//! Dropping a pool: what is queued runs, and every helper is joined.

use super::Pool;
use crate::current::with_current;
use crate::helper::Dropper;
use crate::panic::{catch, discard};
use crate::sync::thread;

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.is_here() {
            // No handle names a thread of this process now, and each may name one later.
            self.threads.drain(..).for_each(std::mem::forget);
            return;
        }
        self.shared.shut_down();
        let current = thread::current().id();
        with_current(&self.shared, |worker| {
            // A helper of the pool is needed for what no other may run.
            let dropper = worker.and_then(|worker| Some(Dropper::new(worker, worker.helper?)));
            for (index, thread) in self.threads.drain(..).enumerate() {
                if thread.thread().id() == current {
                    continue;
                }
                match &dropper {
                    Some(dropper) => dropper.wait_for_end_of(index),
                    None => self.shared.wait_for_end_of(index),
                }
                // A helper catches every panic, so it ends well.
                let _ = thread.join();
            }
            if let Some(dropper) = dropper {
                // What it runs after this, it runs alone.
                dropper.rests();
            }
        });
        // A subscriber is user code, and this may be a drop while a panic unwinds.
        discard(catch(|| tracing::debug!(helpers = self.shared.helpers.len(), "pool stopped")));
    }
}
