//! Measures one runtime, in a process of its own, for `cargo xtask bench`.
//!
//! `--list` prints the runtimes of this build, `--list page-init` and `--list
//! memory` those of the suites that have their own; a request as JSON is measured.
//! The answers are JSON too.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use firsttouch_benches::measure::Request;
use firsttouch_benches::{operations, page_init, runtime};

/// No measurement takes so long: whoever is still at it waits for something that never comes.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    match answer() {
        Ok(answer) => print(&answer),
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn answer() -> anyhow::Result<String> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let request: Request = match *arguments {
        ["--list"] => return Ok(serde_json::to_string(&runtime::catalogue())?),
        ["--list", "page-init"] => return Ok(serde_json::to_string(&page_init::catalogue())?),
        ["--list", "memory"] => return Ok(serde_json::to_string(&operations::catalogue())?),
        [request] => serde_json::from_str(request).context("this is no request")?,
        _ => {
            bail!("usage: firsttouch-measure --list [page-init | memory] | REQUEST, which is JSON")
        }
    };
    std::thread::spawn(|| {
        std::thread::sleep(PATIENCE);
        fail(&format!("not finished after {} s", PATIENCE.as_secs()));
        std::process::exit(1);
    });
    Ok(serde_json::to_string(&request.measure()?)?)
}

#[expect(clippy::print_stdout, reason = "a program's answer goes to standard output")]
fn print(answer: &str) -> ExitCode {
    println!("{answer}");
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "a program says why it failed")]
fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}
