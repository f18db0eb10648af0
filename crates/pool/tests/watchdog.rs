//! A test that hangs says so, and where its threads are.

mod common;

use std::panic::catch_unwind;
use std::time::Duration;

use common::watched_for;

/// What the report must name.
#[inline(never)]
fn waits_for_nobody() {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_hang_is_a_failure_that_shows_where_each_thread_is() {
    let name = "a_hang_is_a_failure_that_shows_where_each_thread_is";
    let watched = || {
        watched_for(Duration::from_secs(2), name, || {
            let stuck = std::thread::Builder::new().name("ft-stuck".to_owned());
            let stuck = stuck.spawn(waits_for_nobody).expect("a thread for a test");
            stuck.join().expect("it never ends");
        });
    };
    let payload = catch_unwind(watched).expect_err("it hangs");
    let report = payload.downcast_ref::<String>().expect("it says something");
    assert!(report.contains(&format!("{name} hangs")), "{report}");
    assert!(report.contains("ft-stuck"), "{report}");
    let has_stacks = !report.contains("gdb, which shows stacks");
    assert!(!has_stacks || report.contains("waits_for_nobody"), "{report}");
}
