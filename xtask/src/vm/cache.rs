//! Where the lab keeps what it fetches, builds and writes: `target/vm/`.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::workspace;

/// The folders under `target/vm/`; deleting any of them costs time and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Finds the workspace's target folder.
    pub(crate) fn open() -> anyhow::Result<Self> {
        Ok(Self { root: workspace::target()?.join("vm") })
    }

    /// Returns the folder of Debian packages from one suite, existing or not.
    pub(crate) fn debian(&self, suite: &str) -> PathBuf {
        self.root.join("debian").join(suite)
    }

    /// Returns the target folder of what is built for the guest.
    pub(crate) fn build(&self) -> PathBuf {
        self.root.join("build")
    }

    /// Returns the folder of `cargo xtask vm --self-check`: a copy of the sources, and what is built of it.
    pub(crate) fn self_check(&self) -> PathBuf {
        self.root.join("self-check")
    }

    /// Returns the folder of guests' logs, made if need be.
    pub(crate) fn logs(&self) -> anyhow::Result<PathBuf> {
        make(self.root.join("logs"))
    }

    /// Returns the folder of what is put together for each boot, made if need be.
    pub(crate) fn boots(&self) -> anyhow::Result<PathBuf> {
        make(self.root.join("boots"))
    }
}

fn make(folder: PathBuf) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
