//! `cargo xtask bench`.

mod beside;
mod compare;
mod comparison_table;
mod measure_program;
mod operations;
mod page_init;
mod page_init_table;
mod place;
mod plot;
mod record;
mod table;

use std::process::ExitCode;

use clap::Subcommand;
use firsttouch_benches::suite;

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// Initialise fresh memory: by share of each node's own CPUs, and beside rivals.
    PageInit(page_init::Args),
    /// Set threads to work and wait for them: hot and cold latency, CPU time when idle, beside rivals.
    ForkJoin(compare::Args),
    /// Join, spawn and loop over much memory, beside rivals.
    Tasks(compare::Args),
    /// Give memory back, pin, move, copy and find it, beside one thread and plain threads.
    Memory(operations::Args),
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.suite {
        Suite::PageInit(args) => page_init::run(&args),
        Suite::ForkJoin(args) => compare::run(suite::Suite::ForkJoin, &args),
        Suite::Memory(args) => operations::run(&args),
        Suite::Tasks(args) => compare::run(suite::Suite::Tasks, &args),
    }
}
