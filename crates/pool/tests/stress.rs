//! Random trees of everything that a pool can run, with panics, over pools that come and go.
//!
//! `FIRSTTOUCH_STRESS_ROUNDS` sets the rounds for each size of pool; the
//! default takes seconds.

mod common;

use std::time::Duration;

use common::forest::{self, Extent, Handler, mix};
use common::{builder_on, pool_on, watched_for};
use firsttouch_pool::Pool;

/// Rounds for each size of pool where the environment does not say.
const ROUNDS: u64 = 12;

const EXTENT: Extent = Extent { threads: 5, trees: 6, depth: 4 };

/// Starts one of the pools that come and go within a tree.
fn short_lived(seed: u64, handler: Handler) -> Pool {
    let builder = builder_on(1 + mix(seed, 0) as usize % 2, 1 + mix(seed, 1) as usize % 2);
    let builder = match mix(seed, 2) % 3 {
        0 => builder.spin(Duration::ZERO),
        _ => builder,
    };
    builder.panic_handler(handler).build().expect("a small pool can be started")
}

fn rounds() -> u64 {
    let rounds = std::env::var("FIRSTTOUCH_STRESS_ROUNDS").ok();
    rounds.map_or(ROUNDS, |rounds| rounds.parse().expect("the number of rounds is a number"))
}

fn stress(test: &str, nodes: usize, helpers: usize) {
    let rounds = rounds();
    let limit = Duration::from_secs(60) * (1 + rounds / ROUNDS) as u32;
    watched_for(limit, test, || {
        for round in 0..rounds {
            let pools = [pool_on(nodes, helpers), pool_on(1, helpers)];
            forest::grow(pools, short_lived, EXTENT, mix(round, nodes as u64));
        }
    });
}

#[test]
fn trees_of_calls_over_pools_of_one_helper_end_as_the_serial_walk_says() {
    stress("trees_of_calls_over_pools_of_one_helper_end_as_the_serial_walk_says", 1, 1);
}

#[test]
fn trees_of_calls_over_two_nodes_end_as_the_serial_walk_says() {
    stress("trees_of_calls_over_two_nodes_end_as_the_serial_walk_says", 2, 1);
}

#[test]
fn trees_of_calls_over_five_helpers_end_as_the_serial_walk_says() {
    stress("trees_of_calls_over_five_helpers_end_as_the_serial_walk_says", 1, 5);
}

#[test]
fn trees_of_calls_over_twenty_helpers_end_as_the_serial_walk_says() {
    stress("trees_of_calls_over_twenty_helpers_end_as_the_serial_walk_says", 4, 5);
}
