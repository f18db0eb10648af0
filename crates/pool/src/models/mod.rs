//! Models of the protocols, for loom to try every order of their steps.
//!
//! `cargo xtask models` runs them. The protocols are in `docs/protocols/`;
//! `cargo xtask models --self-check` weakens each of their orderings and leaves
//! out their steps, and makes sure that models see it.

mod completion;
mod event_count;
mod node_counter;
mod origin;
mod pool;
mod post;
mod shutdown;
mod sleep;
mod summon;

use std::sync::{Arc, LazyLock};

use firsttouch_topology::Topology;

use crate::call::{Arrival, Share};
use crate::shared::Shared;

static TOPOLOGY: LazyLock<Arc<Topology>> = LazyLock::new(|| {
    Arc::new(Topology::synthetic("node:2 core:256 pu:1").expect("it is in the grammar"))
});

/// What each member of a call runs in a model.
struct Each<F>(F);

impl<F: Fn(Arrival) + Sync> Share for Each<F> {
    fn run(&self, _: &Shared, arrival: Arrival) {
        (self.0)(arrival);
    }
}

/// Tries every order of steps with at most two preemptions, or as many as `LOOM_MAX_PREEMPTIONS` says.
fn check(model: impl Fn() + Send + Sync + 'static) {
    check_within(2, model);
}

/// As [`check`], with so many preemptions: whole pools have too many steps for two.
fn check_within(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 10_000;
    builder.check(model);
}
