//! QEMU: the one on the search path, or Debian's, unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::cache::Cache;
use super::command;
use super::debian::{self, Suite};

const PROGRAM: &str = "qemu-system-x86_64";

/// A way to start QEMU.
#[derive(Clone, Debug)]
pub(crate) enum Emulator {
    /// It is installed.
    Installed,
    /// Debian's package is unpacked in this folder, with every library it needs.
    Unpacked(PathBuf),
}

impl Emulator {
    /// Finds QEMU on the search path, or fetches it.
    pub(crate) fn find(cache: &Cache, mirror: Option<&str>) -> anyhow::Result<Self> {
        if command::exists(PROGRAM) {
            return Ok(Self::Installed);
        }
        let suite = Suite::new(cache, debian::TOOLS, mirror.map(str::to_owned));
        let folder = suite
            .unpack_with_dependencies("qemu-system-x86")
            .context("QEMU is not installed (Debian: qemu-system-x86), nor can it be fetched")?;
        Ok(Self::Unpacked(folder))
    }

    /// Returns a command that starts it.
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Installed => Command::new(PROGRAM),
            Self::Unpacked(folder) => unpacked(folder),
        }
    }
}

/// Starts the unpacked program with the loader and the libraries beside it, whatever the machine's own are.
fn unpacked(folder: &Path) -> Command {
    let libraries = folder.join("usr/lib/x86_64-linux-gnu");
    let share = folder.join("usr/share");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(&libraries);
    command.arg(folder.join("usr/bin").join(PROGRAM));
    command.arg("-L").arg(share.join("qemu")).arg("-L").arg(share.join("seabios"));
    command
}
