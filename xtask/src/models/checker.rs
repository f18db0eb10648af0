//! The two checkers: how each one's models are built, and found.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use cargo_metadata::Message;

/// What tries orders of a model's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Checker {
    /// Every order of a small model's steps, and what each ordering allows.
    Loom,
    /// Random orders of whole pools, the same order for every thread.
    Shuttle,
}

/// What runs models.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// The folder of its package, in which it runs as it would for cargo.
    pub(super) folder: PathBuf,
}

/// The crates that have models, by their folders' names.
pub(crate) const CRATES: [&str; 2] = ["pool", "job"];

impl Checker {
    pub(crate) const ALL: [Self; 2] = [Self::Loom, Self::Shuttle];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loom => "loom",
            Self::Shuttle => "shuttle",
        }
    }

    /// What its models of some crates are part of, for `cargo test`.
    ///
    /// loom's run long, and are optimised. shuttle's assertions of what a pool
    /// holds to itself are worth more than the time.
    pub(crate) fn tests(self, crates: &[&str]) -> Vec<String> {
        let of_all: &[_] = match self {
            Self::Loom => &["--release", "--lib"],
            Self::Shuttle => &["--test", "shuttle"],
        };
        let of_each = crates.iter().flat_map(|name| {
            let package = ["-p".to_owned(), format!("firsttouch-{name}")];
            // Tasks that poll a job's handle are modelled too.
            let features = (*name == "job").then(|| "--features=firsttouch-job/future".to_owned());
            package.into_iter().chain(features)
        });
        of_each.chain(of_all.iter().map(|&argument| argument.to_owned())).collect()
    }

    /// Prepares a cargo command to build for it, in a folder of its own.
    pub(crate) fn prepare(self, cargo: &mut Command, target: &Path) {
        let mut flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
        flags.push(OsString::from(format!(" --cfg {}", self.name())));
        cargo
            .env("RUSTFLAGS", flags.to_string_lossy().trim())
            // Models are built again and again, and run by nobody's debugger.
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true")
            .env("CARGO_TARGET_DIR", target.join(self.name()));
    }

    /// Builds its models of some crates in a workspace, and returns the programs that run them.
    pub(super) fn build(
        self,
        workspace: &Path,
        target: &Path,
        crates: &[&str],
    ) -> anyhow::Result<Vec<Program>> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .current_dir(workspace)
            .args(["test", "--quiet", "--no-run", "--message-format", "json-render-diagnostics"])
            .args(self.tests(crates))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        self.prepare(&mut command, target);
        let output = command.output().context("cannot run cargo")?;
        ensure!(output.status.success(), "the models for {} cannot be built", self.name());
        let messages = Message::parse_stream(output.stdout.as_slice()).filter_map(Result::ok);
        let programs = messages.filter_map(|message| match message {
            Message::CompilerArtifact(artifact) if artifact.profile.test => Some(Program {
                path: artifact.executable?.into_std_path_buf(),
                folder: artifact.manifest_path.parent()?.as_std_path().to_owned(),
            }),
            _ => None,
        });
        let mut programs: Vec<_> = programs.collect();
        ensure!(!programs.is_empty(), "cargo names no program that runs the models");
        programs.sort();
        Ok(programs)
    }

    /// The folder of a workspace that holds the sources of its models of a crate.
    #[cfg(test)]
    pub(super) fn sources(self, of: &str) -> PathBuf {
        let folder = match self {
            Self::Loom => "src/models",
            Self::Shuttle => "tests",
        };
        Path::new("crates").join(of).join(folder)
    }
}
