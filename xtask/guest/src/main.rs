//! The first process of an emulated machine: runs the cases there and says how each ended.
//!
//! The program starts itself twice for each case, so that nothing a case does
//! to its process outlives it: as the first process it brings the machine into
//! the state the case is given, as `stage` it brings itself into the state
//! that a child inherits (control group, affinity, policy, filters), and as
//! `check` it finds out whether what the case claims is so.

mod case;
mod cases;
mod condition;
mod events;
mod first_process;
mod hotplug;
mod left_behind;
mod messages;
mod numa_maps;
mod read_back;
mod runner;
mod shell;
mod stage;
mod stuck;
mod sysfs;
mod threads;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        first_process::run();
    }
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["stage", case] => stage::run(case),
        ["check", case] => stage::check(case),
        ["fill", node, left] => fill(node, left),
        _ => Err(anyhow::anyhow!("this program is the first process of a guest of cargo xtask vm")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn fill(node: &str, left: &str) -> anyhow::Result<()> {
    condition::fill(node.parse()?, left.parse()?)
}

/// Writes a line to standard error: the guest's console, or the reason why a case failed.
#[expect(clippy::print_stderr, reason = "a guest's console is what it is for")]
fn say(line: &str) {
    eprintln!("{line}");
}
