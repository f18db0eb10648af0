//! Models of what jobs and loops share, for loom to try every order of their steps.
//!
//! `cargo xtask models` runs them. The protocols are in `docs/protocols/jobs.md`;
//! `cargo xtask models --self-check` weakens each of their orderings and leaves
//! out their steps, and makes sure that models see it.
//!
//! No pool of a model has helpers: loom's threads take their place.

mod cancel;
mod chunks;
mod handle;
mod limits;
mod run;
mod sums;

use std::sync::{Arc, LazyLock};

use firsttouch_pool::Pool;
use firsttouch_topology::Topology;
use loom::cell::UnsafeCell;

/// Two nodes; every CPU of a real machine is on the first.
static TOPOLOGY: LazyLock<Arc<Topology>> = LazyLock::new(|| {
    Arc::new(Topology::synthetic("node:2 core:1024 pu:1").expect("it is in the grammar"))
});

/// Tries every order of steps with at most two preemptions, or as many as `LOOM_MAX_PREEMPTIONS` says.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.max_branches = 10_000;
    builder.check(model);
}

/// A pool whose caller is alone.
fn pool() -> Pool {
    let alone = Pool::builder().topology(Arc::clone(&TOPOLOGY)).current_thread();
    alone.build().expect("nothing is asked of the machine")
}

/// Counts that no lock guards: a model fails where two threads are at one and nothing orders them.
#[derive(Debug)]
struct Places(Vec<UnsafeCell<u32>>);

// SAFETY: loom checks every access to the cells.
unsafe impl Sync for Places {}

impl Places {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    /// Counts one more at a place.
    fn count(&self, place: usize) {
        // SAFETY: loom checks that nobody else has the cell.
        self.0[place].with_mut(|count| unsafe { *count += 1 });
    }

    /// The counts, read by one who has to see them.
    fn counts(&self) -> Vec<u32> {
        // SAFETY: loom checks that nobody else writes to the cell.
        self.0.iter().map(|place| place.with(|count| unsafe { *count })).collect()
    }
}
