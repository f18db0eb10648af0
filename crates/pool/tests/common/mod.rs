//! What the tests share.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part of it")]

pub(crate) mod forest;

use std::fs;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use firsttouch_pool::{Pin, Pool, PoolBuilder};
pub(crate) use firsttouch_testing::{watched, watched_for, watched_on_main_under, watched_under};
use firsttouch_topology::Topology;

/// Starts a pool of so many unpinned helpers on one made-up node.
pub(crate) fn pool_of(helpers: usize) -> Pool {
    pool_on(1, helpers)
}

/// Starts a pool of so many unpinned helpers on each of several made-up nodes.
pub(crate) fn pool_on(nodes: usize, helpers_per_node: usize) -> Pool {
    builder_on(nodes, helpers_per_node).build().expect("a small pool can be started")
}

/// Returns a builder of such a pool.
pub(crate) fn builder_on(nodes: usize, helpers_per_node: usize) -> PoolBuilder {
    let topology = Topology::synthetic(&format!("node:{nodes} core:8 pu:1"))
        .expect("the description is in the grammar");
    Pool::builder()
        .topology(Arc::new(topology))
        .helpers_per_node(NonZeroUsize::new(helpers_per_node).expect("a test asks for helpers"))
        .pin(Pin::None)
}

/// Returns the task folders of this process's threads with such a name.
pub(crate) fn threads_named(name: &str) -> Vec<std::path::PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").expect("a process lists its threads");
    let tasks = tasks.flatten().map(|task| task.path());
    tasks
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
        .collect()
}

/// Waits until this process has so many threads with such a name; returns how many it has in the end.
///
/// A thread that was joined may be listed for a moment more.
pub(crate) fn settled_threads_named(name: &str, expected: usize) -> usize {
    for _ in 0..2000 {
        if threads_named(name).len() == expected {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    threads_named(name).len()
}

/// The naive Fibonacci function on `join`.
pub(crate) fn fib(pool: &Pool, n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = pool.join(|| fib(pool, n - 1), || fib(pool, n - 2));
    a + b
}
