//! Building the program that runs in the guest.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::cache::{self, Cache};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the guest's program, which needs no library in the guest, and returns its path.
pub(crate) fn build(cache: &Cache) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(cache::workspace())
        .args(["build", "--quiet", "--package", "firsttouch-guest", "--profile", "guest"])
        // A target named in full keeps the flag below away from build scripts and macros.
        .args(["--target", TARGET])
        .arg("--target-dir")
        .arg(cache.build())
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cannot run cargo to build the guest's program")?;
    ensure!(status.success(), "the guest's program cannot be built (firsttouch-guest)");
    Ok(cache.build().join(TARGET).join("guest/firsttouch-guest"))
}
