//! Helpers with nothing to do use no CPU time.
//!
//! Alone in its binary, so that no other test delays what it watches.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use common::{fib, pool_of, threads_named};

/// Returns, per helper thread, how often it has been put on a CPU.
fn times_scheduled() -> BTreeMap<std::path::PathBuf, u64> {
    let names = ["firsttouch-0", "firsttouch-1", "firsttouch-2"];
    let tasks = names.into_iter().flat_map(threads_named);
    let count = |status: &str| -> u64 {
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        switches.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
    };
    tasks
        .map(|task| {
            let status = fs::read_to_string(task.join("status")).expect("the helper lives");
            (task, count(&status))
        })
        .collect()
}

#[test]
fn idle_helpers_sleep() {
    let pool = pool_of(3);
    assert_eq!(fib(&pool, 12), 144);
    pool.broadcast(|_| ());
    // Helpers still on their way to sleep get there: the first pauses in
    // which none runs end the wait; a pool that polls never ends it.
    let mut before = times_scheduled();
    assert_eq!(before.len(), 3);
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(100));
        let now = times_scheduled();
        if now == before {
            // Asleep once is asleep until there is work: not one of them
            // runs in a time in which polling helpers would run often.
            std::thread::sleep(Duration::from_millis(500));
            assert_eq!(times_scheduled(), now, "a helper that sleeps does not run");
            assert_eq!(fib(&pool, 12), 144);
            return;
        }
        before = now;
    }
    panic!("the helpers never stop running: {before:?}");
}
