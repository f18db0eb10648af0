//! The step that runs tests under the thread sanitizer.

use std::process::Command;

use super::cargo::counted;
use super::command::{answer, run, succeeds};
use super::project::Project;
use super::step::{Finding, skipped};

/// The one target that this project runs it on.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What is run: every call that a pool has, in random trees.
///
/// Jobs, and other tests, share things under locks of std's: where std is not compiled for the
/// sanitizer, that is reported.
const TESTS: [&str; 4] = ["-p", "firsttouch-pool", "--test", "stress"];

/// What tests print is not collected, as the test program does that under a lock of std's.
const UNCOLLECTED: [&str; 2] = ["--", "--nocapture"];

/// A tenth of the speed, and as long as other steps.
const ROUNDS: &str = "3";

pub(super) fn check(project: &Project) -> anyhow::Result<Finding> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return skipped("an x86-64 Linux machine");
    }
    let rustup = |arguments: &[&str]| {
        let nightly = ["run", "nightly"].into_iter().chain(arguments.iter().copied());
        let mut command = project.program("rustup", nightly);
        // The toolchain that runs this program must not speak for the other one.
        for variable in ["RUSTC", "RUSTDOC", "CARGO", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(variable);
        }
        command
    };
    if !succeeds(&mut rustup(&["cargo", "--version"])) {
        return skipped("a nightly compiler, to be had by: rustup toolchain install nightly");
    }
    let has_sources = answer(&mut rustup(&["rustc", "--print", "sysroot"])).is_some_and(|root| {
        std::path::Path::new(root.trim()).join("lib/rustlib/src/rust/library/Cargo.lock").exists()
    });
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer");
    // std's locks are seen where std is compiled, too.
    flags.push_str(if has_sources { "" } else { " --cfg thread_sanitizer" });
    let build_std: &[_] = if has_sources { &["-Zbuild-std"] } else { &[] };
    let arguments =
        [&["cargo", "test", "--target", TARGET], build_std, &TESTS, &UNCOLLECTED].concat();
    let suppressions = project.root().join("xtask/thread-sanitizer.txt");
    let mut command: Command = rustup(&arguments);
    command
        .env("RUSTFLAGS", flags.trim())
        .env("RUST_BACKTRACE", "0")
        .env("CARGO_TARGET_DIR", project.target("thread-sanitizer"))
        .env("TSAN_OPTIONS", format!("suppressions={}", suppressions.display()));
    if std::env::var_os("FIRSTTOUCH_STRESS_ROUNDS").is_none() {
        command.env("FIRSTTOUCH_STRESS_ROUNDS", ROUNDS);
    }
    let finding = counted(&run(&mut command)?)?;
    let std = if has_sources { "std too" } else { "std not compiled for it" };
    Ok(Finding { note: format!("{}, {std}", finding.note), ..finding })
}
