//! Tests that run in a process of their own, so that one that hangs fails.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable that tells a test that it runs as its own watched process.
const WATCHED: &str = "FIRSTTOUCH_WATCHED_JOB_TEST";

/// How long a watched test may take before it counts as hung; each needs a small part of it.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `body` in a process of its own, and fails where it fails or hangs.
///
/// `test` is the name of the calling test function, its module included.
pub(crate) fn watched(test: &str, body: impl FnOnce()) {
    if std::env::var_os(WATCHED).is_some_and(|running| running == *test) {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().expect("a test binary has a path"))
        .args([test, "--exact", "--nocapture"])
        .env(WATCHED, test)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary can be started again");
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
            child.wait().expect("a killed child ends");
            panic!("{test} hangs");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut output = String::new();
    let mut stdout = child.stdout.take().expect("the output is piped");
    stdout.read_to_string(&mut output).expect("a test's output is text");
    assert!(status.success(), "{test}: {status}\n{output}");
    assert!(output.contains("1 passed"), "{test} ran no test: is that its name?\n{output}");
}
