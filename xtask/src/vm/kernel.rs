//! The kernels that guests run.

use std::fmt;
use std::path::PathBuf;

use anyhow::Context as _;

use super::cache::Cache;
use super::debian::Suite;

/// A Debian kernel for virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kernel {
    /// No per-VMA locks, no weighted interleave, cpusets of both versions.
    #[value(name = "6.1")]
    V6_1,
    /// Per-VMA locks, weighted interleave, memory tiers; cpusets of version 2 only.
    #[value(name = "6.12")]
    V6_12,
}

impl Kernel {
    /// Every kernel, oldest first.
    pub(crate) const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// Returns the compressed kernel image, after fetching it where it is not there yet.
    pub(crate) fn image(self, cache: &Cache, mirror: Option<&str>) -> anyhow::Result<PathBuf> {
        let suite = match self {
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
        };
        let suite = Suite::new(cache, suite, mirror.map(str::to_owned));
        let boot = suite.unpack_target_of("linux-image-cloud-amd64")?.join("boot");
        for entry in boot.read_dir().with_context(|| format!("cannot list {}", boot.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_prefix("vmlinuz-").is_some_and(|version| self.is(version)) {
                return Ok(entry.path());
            }
        }
        anyhow::bail!("{} holds no kernel {self}", boot.display())
    }

    fn is(self, version: &str) -> bool {
        version.strip_prefix(&self.to_string()).is_some_and(|rest| rest.starts_with('.'))
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}
