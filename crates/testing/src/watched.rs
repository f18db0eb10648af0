//! Tests that run in a process of their own, so that one that hangs fails.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::stacks;

/// The environment variable that tells a test that it runs as its own watched process.
const WATCHED: &str = "FIRSTTOUCH_WATCHED_TEST";

/// How long a watched test may take before it counts as hung; most need a small part of it.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `body` in a process of its own, and fails where it fails or hangs.
///
/// `test` is the name of the calling test function, its module included.
pub fn watched(test: &str, body: impl FnOnce()) {
    watched_under("true", test, body);
}

/// As [`watched`], for a test that may take so long.
pub fn watched_for(limit: Duration, test: &str, body: impl FnOnce()) {
    watch("true", limit, test, body);
}

/// As [`watched`], in a process prepared by a shell command, such as one that sets limits.
pub fn watched_under(shell: &str, test: &str, body: impl FnOnce()) {
    watch(shell, LIMIT, test, body);
}

/// As [`watched_under`], where the process cannot start the thread that a test runs on.
pub fn watched_on_main_under(shell: &str, test: &str, body: impl FnOnce()) {
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
