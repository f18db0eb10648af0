//! The step that checks the feature `fork-union`, which other steps leave out.

use std::process::Command;

use super::cargo::counted;
use super::command::{run, succeeds};
use super::project::Project;
use super::step::{Finding, skipped};

pub(super) fn check(project: &Project) -> anyhow::Result<Finding> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    if !succeeds(Command::new(compiler).arg("--version")) {
        return skipped("a C++17 compiler is missing, to be had as g++");
    }
    let with = |command: &'static str| {
        [command, "-p", "firsttouch-benches", "--features", "fork-union"].into_iter()
    };
    if succeeds(&mut project.cargo(["clippy", "--version"])) {
        let lints = ["--all-targets", "--", "-D", "warnings"];
        run(&mut project.cargo(with("clippy").chain(lints)))?;
    }
    counted(&run(&mut project.cargo(with("test").chain(["--lib"])))?)
}
