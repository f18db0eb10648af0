//! The step that keeps the oldest compiler true.

use std::process::Command;

use anyhow::{Context, ensure};
use cargo_metadata::Package;
use cargo_metadata::semver::Version;

use super::command::{answer, run};
use super::project::Project;
use super::step::{Finding, passed};

/// Builds everything with the oldest compiler where it is installed.
///
/// Elsewhere the parts are checked that can be: no dependency asks for a newer
/// compiler; and the lint `incompatible_msrv` (the clippy step) sees to it that
/// no newer part of the standard library is used.
pub(super) fn check(project: &Project) -> anyhow::Result<Finding> {
    let ours = oldest(project)?;
    let name = format!("{}.{}", ours.major, ours.minor);
    if let Some(toolchain) = toolchain(&name) {
        let cargo = ["run", toolchain.as_str(), "cargo"];
        let check = ["check", "--workspace", "--all-targets"];
        let mut command = project.program("rustup", cargo.into_iter().chain(check));
        // The toolchain that runs this program must not speak for the other one.
        for variable in ["RUSTC", "RUSTDOC", "CARGO", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(variable);
        }
        run(command.env("CARGO_TARGET_DIR", project.target("msrv")))?;
        return passed(format!("built with {toolchain}"));
    }
    let newer = newer_than(&ours, &project.metadata.packages);
    ensure!(newer.is_empty(), "newer than {name}, which is ours: {}", newer.join(", "));
    passed(format!("no Rust {name} here: only what dependencies ask for was checked"))
}

/// The oldest compiler that the workspace names; every package names the same.
fn oldest(project: &Project) -> anyhow::Result<Version> {
    let mut versions: Vec<_> = project
        .metadata
        .workspace_packages()
        .iter()
        .map(|package| package.rust_version.clone().context(package.name.to_string()))
        .collect::<anyhow::Result<_>>()
        .context("a package does not name its oldest compiler")?;
    versions.dedup();
    ensure!(versions.len() == 1, "packages name different oldest compilers: {versions:?}");
    versions.pop().context("the workspace is empty")
}

fn toolchain(version: &str) -> Option<String> {
    let list = answer(Command::new("rustup").args(["toolchain", "list"]))?;
    let of_version =
        |name: &&str| name.strip_prefix(version).is_some_and(|rest| rest.starts_with(['-', '.']));
    list.lines().filter_map(|line| line.split(' ').next()).find(of_version).map(str::to_owned)
}

/// The packages that ask for a newer compiler, and which.
fn newer_than(ours: &Version, packages: &[Package]) -> Vec<String> {
    let asks = |package: &Package| {
        let version = package.rust_version.as_ref().filter(|&version| version > ours)?;
        Some(format!("{} {} asks for {version}", package.name, package.version))
    };
    packages.iter().filter_map(asks).collect()
}
