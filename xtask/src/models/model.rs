//! Running one model, in a process of its own.
//!
//! A model that fails may end in an abort, and one with a fault may go round
//! without end: neither keeps the next from being run.

use std::io::{Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::checker::Program;

/// How one model ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Ended {
    Passed,
    /// It said that something is wrong; this is what.
    Failed(String),
    /// It was still running when its time was over, and said nothing: neither passed nor failed.
    Late,
}

/// Lists the models that a program has.
pub(super) fn list(program: &Program) -> anyhow::Result<Vec<String>> {
    let output = Command::new(&program.path).args(["--list", "--format", "terse"]).output()?;
    ensure!(output.status.success(), "{} lists no models", program.path.display());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.filter(|name| is_model(name)).map(str::to_owned).collect())
}

/// Whether a test is a model: the programs also have unit tests of what the models use.
fn is_model(name: &str) -> bool {
    name.starts_with("models::") || !name.contains("::")
}

/// Runs one model of a program for as long as `limit` at most.
pub(super) fn run(
    program: &Program,
    name: &str,
    limit: Duration,
    environment: &[(&str, &str)],
) -> anyhow::Result<Ended> {
    let mut output = tempfile::tempfile()?;
    let mut child = Command::new(&program.path)
        .args([name, "--exact", "--nocapture", "--test-threads", "1"])
        .current_dir(&program.folder)
        .envs(environment.iter().copied())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot run {}", program.path.display()))?;
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(Ended::Late);
        }
        thread::sleep(Duration::from_millis(10));
    };
    output.rewind()?;
    let mut text = Vec::new();
    output.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    ensure!(text.contains("running 1 test\n"), "there is no model {name}");
    if status.success() {
        return Ok(Ended::Passed);
    }
    let reason = reason(&text).map_or_else(|| status.to_string(), str::to_owned);
    Ok(Ended::Failed(reason))
}

/// Returns the first thing that a failing model complained about.
fn reason(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.contains(" panicked at "))?;
    lines.find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_complaint_is_the_reason() {
        let text = "running 1 test\n\nthread 'a' (7) panicked at src/a.rs:1:2:\ndeadlock; threads = []\n\
                    thread 'a' (7) panicked at src/b.rs:1:2:\nlater\n";
        assert_eq!(reason(text), Some("deadlock; threads = []"));
        assert_eq!(reason("signal: 6\n"), None);
    }

    #[test]
    fn a_program_that_ends_in_time_is_no_late_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = |text: &str| {
            let path = folder.path().join("model");
            std::fs::write(&path, format!("#!/bin/sh\necho running 1 test\n{text}\n"))
                .expect("a script can be written");
            let chmod = Command::new("chmod").arg("+x").arg(&path).status();
            assert!(chmod.is_ok_and(|status| status.success()));
            let program = Program { path, folder: folder.path().to_owned() };
            run(&program, "name", Duration::from_secs(2), &[]).expect("it runs")
        };
        assert_eq!(script("exit 0"), Ended::Passed);
        assert_eq!(script("exit 3"), Ended::Failed("exit status: 3".to_owned()));
        assert_eq!(script("exec sleep 60"), Ended::Late);
    }
}
