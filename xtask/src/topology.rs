//! `cargo xtask topology`: draws a machine.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use firsttouch::Topology;

mod distance;
mod json;
mod part;
mod text;
mod tree;

/// Options of `cargo xtask topology`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Draw a recorded machine: a folder that holds its `sys` and perhaps `proc` tree.
    #[arg(long, value_name = "DIR", group = "source")]
    root: Option<PathBuf>,

    /// Draw a described machine, such as "node:4 core:8 pu:2" (hwloc's synthetic grammar).
    #[arg(long, value_name = "DESCRIPTION", group = "source")]
    synthetic: Option<String>,

    /// Read this machine through hwloc rather than from /sys and /proc.
    #[arg(long, group = "source")]
    hwloc: bool,

    /// Print one JSON object rather than a tree.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let topology = read(&args)?;
    let mut text = match args.json {
        true => serde_json::to_string_pretty(&json::object(&topology))?,
        false => tree::draw(&topology),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader has seen enough: `cargo xtask topology | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result.context("cannot write to standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(args: &Args) -> anyhow::Result<Topology> {
    if let Some(root) = &args.root {
        Ok(Topology::from_root(root)?)
    } else if let Some(description) = &args.synthetic {
        Ok(Topology::synthetic(description)?)
    } else if args.hwloc {
        through_hwloc()
    } else {
        Ok(Topology::discover()?)
    }
}

#[cfg(feature = "hwloc")]
fn through_hwloc() -> anyhow::Result<Topology> {
    Ok(Topology::from_hwloc()?)
}

#[cfg(not(feature = "hwloc"))]
fn through_hwloc() -> anyhow::Result<Topology> {
    anyhow::bail!(
        "this build cannot ask hwloc; install libhwloc-dev, libudev-dev and pkg-config (Debian's \
         names) and run `cargo run --release -p xtask --features hwloc -- topology --hwloc`"
    )
}
