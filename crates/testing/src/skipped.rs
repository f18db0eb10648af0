//! What a test did not check.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Says on the real stderr, past the test harness, that something was not checked.
pub fn skipped(what: &str, why: &dyn Display) {
    // A lost message is no reason for a test to fail.
    let _ = writeln!(io::stderr(), "not checked: {what}: {why}");
}
