//! Building the programs that run in the guest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The package of the guest's first process, which runs the cases.
pub(crate) const GUEST: &str = "firsttouch-guest";

/// The package of the project's commands, which cases run as a person would.
pub(crate) const COMMANDS: &str = "xtask";

/// Builds packages of a workspace so that they need no library in the guest; returns the folder of the programs.
pub(crate) fn build(workspace: &Path, target: &Path, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(workspace)
        .args(["build", "--quiet", "--bins", "--profile", "guest"])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        // A target named in full keeps the flag below away from build scripts and macros.
        .args(["--target", TARGET])
        .arg("--target-dir")
        .arg(target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cannot run cargo to build the guest's programs")?;
    let packages = packages.join(" and ");
    ensure!(status.success(), "the guest's programs cannot be built ({packages})");
    Ok(target.join(TARGET).join("guest"))
}
