//! What the tests share.
#![allow(dead_code, reason = "each test binary uses its part of it")]

pub(crate) mod forest;
mod stacks;

use std::fs;
use std::io::Read;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use firsttouch_pool::{Pin, Pool, PoolBuilder};
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

/// The environment variable that tells a test that it runs as its own watched process.
const WATCHED: &str = "FIRSTTOUCH_WATCHED_TEST";

/// How long a watched test may take before it counts as hung; most need a small part of it.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `body` in a process of its own, and fails where it fails or hangs.
///
/// `test` is the name of the calling test function.
pub(crate) fn watched(test: &str, body: impl FnOnce()) {
    watched_under("true", test, body);
}

/// As [`watched`], for a test that may take so long.
pub(crate) fn watched_for(limit: Duration, test: &str, body: impl FnOnce()) {
    watch("true", limit, test, body);
}

/// As [`watched`], in a process prepared by a shell command, such as one that sets limits.
pub(crate) fn watched_under(shell: &str, test: &str, body: impl FnOnce()) {
    watch(shell, LIMIT, test, body);
}

/// As [`watched_under`], where the process cannot start the thread that a test runs on.
pub(crate) fn watched_on_main_under(shell: &str, test: &str, body: impl FnOnce()) {
    // One test at a time is run on the main thread.
    watched_under(&format!("export RUST_TEST_THREADS=1 && {shell}"), test, body);
}

fn watch(shell: &str, limit: Duration, test: &str, body: impl FnOnce()) {
    if std::env::var_os(WATCHED).is_some_and(|running| running == *test) {
        return body();
    }
    let mut child = Command::new("sh")
        .args(["-c", &format!("{shell} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("a test binary has a path"))
        .args([test, "--exact", "--nocapture"])
        .env(WATCHED, test)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary can be started again");
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() > deadline {
            let threads = stacks::of(child.id());
            child.kill().expect("a child can be killed");
            child.wait().expect("a killed child ends");
            panic!("{test} hangs; its threads:\n{threads}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut output = String::new();
    let mut stdout = child.stdout.take().expect("the output is piped");
    stdout.read_to_string(&mut output).expect("a test's output is text");
    assert!(status.success(), "{test}: {status}\n{output}");
    assert!(output.contains("1 passed"), "{test} ran no test: is that its name?\n{output}");
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
