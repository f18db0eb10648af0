//! `cargo xtask bench`.

mod page_init;
mod record;
mod table;

use std::process::ExitCode;

use clap::Subcommand;

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// Initialise fresh memory: serially, and on each node's own CPUs.
    PageInit(page_init::Args),
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.suite {
        Suite::PageInit(args) => page_init::run(&args),
    }
}
