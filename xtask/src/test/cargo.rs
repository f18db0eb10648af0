//! Steps that are one cargo command.

use anyhow::ensure;

use super::command::{run, succeeds, tests_passed};
use super::project::Project;
use super::step::{Finding, passed, skipped};
use crate::models::{CRATES, Checker};

/// The features that need nothing which a machine could lack.
const FEATURES: &str = "firsttouch/future";

pub(super) fn fmt(project: &Project) -> anyhow::Result<Finding> {
    if !succeeds(&mut project.cargo(["fmt", "--version"])) {
        return skipped("rustfmt is missing: rustup component add rustfmt");
    }
    run(&mut project.cargo(["fmt", "--all", "--check"]))?;
    passed("")
}

pub(super) fn clippy(project: &Project) -> anyhow::Result<Finding> {
    if !succeeds(&mut project.cargo(["clippy", "--version"])) {
        return skipped("clippy is missing: rustup component add clippy");
    }
    let workspace = ["clippy", "--workspace", "--all-targets", "--features", FEATURES];
    run(project.cargo(workspace).args(["--", "-D", "warnings"]))?;
    passed("")
}

pub(super) fn tests(project: &Project) -> anyhow::Result<Finding> {
    // A failure in one crate hides none in the others.
    let text =
        run(&mut project.cargo(["test", "--workspace", "--no-fail-fast", "--features", FEATURES]))?;
    counted(&text)
}

pub(super) fn docs(project: &Project) -> anyhow::Result<Finding> {
    let mut command =
        project.cargo(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    command.args(["--features", FEATURES]);
    run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    passed("")
}

/// Only pools and jobs have such protocols; built for loom, their crates' tests are their models.
pub(super) fn loom(project: &Project) -> anyhow::Result<Finding> {
    models(project, Checker::Loom)
}

pub(super) fn shuttle(project: &Project) -> anyhow::Result<Finding> {
    models(project, Checker::Shuttle)
}

fn models(project: &Project, checker: Checker) -> anyhow::Result<Finding> {
    let mut command = project.cargo(["test"]);
    command.args(checker.tests(&CRATES));
    checker.prepare(&mut command, project.metadata.target_directory.as_std_path());
    counted(&run(&mut command)?)
}

/// A run of tests counts only if there was a test.
pub(super) fn counted(text: &str) -> anyhow::Result<Finding> {
    let tests = tests_passed(text);
    ensure!(tests > 0, "no test ran");
    passed(if tests == 1 { "1 test".to_owned() } else { format!("{tests} tests") })
}
