//! The project that is checked.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use cargo_metadata::{Metadata, MetadataCommand};

use super::command;

/// The project that is checked: where it is, and what cargo says of it.
#[derive(Debug)]
pub(super) struct Project {
    /// The workspace with every package that this machine builds, features at their defaults.
    pub(super) metadata: Metadata,
}

impl Project {
    /// Finds the workspace that this program was built from.
    pub(super) fn find() -> anyhow::Result<Self> {
        let host = command::answer(Command::new("rustc").arg("-vV"));
        let host = host.as_deref().and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
        });
        let host = host.context("rustc -vV does not name the machine it builds for")?;
        let metadata = MetadataCommand::new()
            .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
            .other_options(["--filter-platform".to_owned(), host])
            .exec()
            .context("cannot ask cargo about the workspace")?;
        Ok(Self { metadata })
    }

    /// The workspace's folder.
    pub(super) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// A folder below the target folder, for builds that would undo each other's work.
    pub(super) fn target(&self, name: &str) -> PathBuf {
        self.metadata.target_directory.join(name).into()
    }

    /// A cargo command in the workspace.
    pub(super) fn cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        self.program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
    }

    /// Any command, run in the workspace.
    pub(super) fn program<'a>(
        &self,
        program: impl AsRef<std::ffi::OsStr>,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.root()).env("CARGO_TERM_COLOR", "never");
        command
    }
}
