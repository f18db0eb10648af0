//! Running the cases one after the other.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use firsttouch_guest::machine::Machine;
use firsttouch_guest::protocol::{Message, Outcome};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::case::{Case, Given};
use crate::cases;
use crate::condition::Held;
use crate::messages::Messages;
use crate::say;
use crate::stage::PROGRAM;
use crate::stuck;

/// A case that takes longer hangs; emulation is slow, so this is far from what any needs.
const LIMIT: Duration = Duration::from_secs(300);

/// Where a case's own words are kept while it runs.
const OUTPUT: &str = "/tmp/output";

/// Runs the cases that the filter names and says how each ended.
pub(crate) fn run(
    machine: &Machine,
    filter: &[String],
    messages: &mut Messages,
) -> anyhow::Result<()> {
    let named = |case: &&Case| filter.is_empty() || filter.iter().any(|f| case.name.contains(f));
    for case in cases::ALL.iter().copied().flatten().filter(named) {
        let name = || case.name.to_owned();
        messages.say(&Message::Started { case: name() })?;
        say(&format!("--- {}", case.name));
        let start = Instant::now();
        let outcome = run_case(case, machine);
        let ms = start.elapsed().as_millis() as u64;
        say(&format!("--- {}: {outcome:?} after {ms} ms", case.name));
        messages.say(&Message::Finished { case: name(), outcome, ms })?;
    }
    Ok(())
}

fn run_case(case: &Case, machine: &Machine) -> Outcome {
    let conditions = match (case.given)(machine) {
        Given::Conditions(conditions) => conditions,
        Given::Skip(reason) => return Outcome::Skipped { reason },
    };
    // What was changed for the case is undone when these drop, latest first.
    let mut held: Vec<Held> = Vec::new();
    let mut outcome = None;
    for condition in &conditions {
        match condition.prepare() {
            Ok(undo) => held.push(undo),
            Err(error) => {
                let reason = format!("{condition:?} cannot be had: {error:#}");
                outcome = Some(Outcome::Failed { reason });
                break;
            }
        }
    }
    let outcome = outcome.unwrap_or_else(|| match run_child(case) {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Failed { reason: format!("{error:#}") },
    });
    while held.pop().is_some() {}
    outcome
}

fn run_child(case: &Case) -> anyhow::Result<Outcome> {
    let output = File::create(OUTPUT).context("cannot keep what the case says")?;
    let child = Command::new(PROGRAM)
        .args(["stage", case.name])
        .env("RUST_BACKTRACE", "1")
        .stdout(output.try_clone()?)
        .stderr(output)
        // A group of its own, so that what it starts can be ended with it.
        .process_group(0)
        .spawn()
        .context("cannot start the case")?;
    let status = wait(child)?;
    let said = fs::read_to_string(OUTPUT).unwrap_or_default();
    say(said.trim_end());
    Ok(match status {
        Some(status) if status.success() => Outcome::Passed,
        Some(status) => Outcome::Failed { reason: reason(status, &said) },
        None => Outcome::Failed {
            reason: format!("it was not over after {LIMIT:?}; it had said: {}", tail(&said)),
        },
    })
}

/// Waits for the case's end; `None` where it had to be killed for being late.
///
/// The end itself wakes who waits, and no timer that an emulated CPU might miss: guests have stopped
/// with every CPU idle and this limit long past, where this process slept between looks.
fn wait(mut child: Child) -> anyhow::Result<Option<ExitStatus>> {
    let group = Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    let waiting = thread::spawn(move || sender.send(child.wait()));
    let status = match ended.recv_timeout(LIMIT) {
        Ok(status) => Some(status?),
        Err(_) => {
            stuck::say_where();
            None
        }
    };
    // Nothing the case has started outlives it; that there is nothing left is no failure.
    let _ = kill_process_group(group, Signal::KILL);
    // What it says now has been heard, or comes too late.
    let _ = waiting.join();
    Ok(status)
}

fn reason(status: ExitStatus, said: &str) -> String {
    match status.signal() {
        Some(signal) => format!("it was ended by signal {signal}: {}", tail(said)),
        None => tail(said),
    }
}

/// Returns the last lines of what a case has said.
fn tail(said: &str) -> String {
    let lines: Vec<_> = said.trim().lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
