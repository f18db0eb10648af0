//! The project's commands: `cargo xtask bench`, `models`, `test`, `topology` and `vm`.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

mod bench;
mod models;
mod planted;
mod test;
mod topology;
mod vm;
mod workspace;

/// Commands for people who use, measure or change firsttouch.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// What to trace to standard error, such as `debug` or `firsttouch_pool=trace`; RUST_LOG says the same.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure firsttouch beside the other ways of doing the same work.
    Bench(bench::Args),
    /// Run the models of the protocols of pools and jobs, or weaken these to see which models fail.
    Models(models::Args),
    /// Run everything the project checks.
    Test(test::Args),
    /// Draw this machine, or a recorded one.
    Topology(topology::Args),
    /// Run tests in an emulated machine with many nodes.
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = trace_to_stderr(cli.log.as_deref()) {
        return fail(&error);
    }
    let outcome = match cli.command {
        Command::Bench(args) => bench::run(args),
        Command::Models(args) => models::run(args),
        Command::Test(args) => test::run(args),
        Command::Topology(args) => topology::run(args),
        Command::Vm(args) => vm::run(args),
    };
    outcome.unwrap_or_else(|error| fail(&error))
}

/// Sends traces to standard error, filtered by `--log`, else by `RUST_LOG`, else warnings only.
fn trace_to_stderr(filter: Option<&str>) -> anyhow::Result<()> {
    let read = |name: &str, filter: &str| {
        let filter = filter.trim();
        let wrong =
            || format!("{name} {filter:?} is no filter, such as debug or firsttouch_pool=trace");
        EnvFilter::try_new(filter).with_context(wrong)
    };
    let filter = match (filter, std::env::var("RUST_LOG")) {
        (Some(filter), _) => read("--log", filter)?,
        (None, Ok(filter)) if !filter.is_empty() => read("RUST_LOG", &filter)?,
        (None, _) => EnvFilter::new("warn"),
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a command says why it failed")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
