//! `cargo xtask topology`.

use std::process::ExitCode;

/// Options of `cargo xtask topology`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
