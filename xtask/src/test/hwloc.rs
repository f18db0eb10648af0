//! The step that checks the feature `hwloc`.

use std::process::Command;

use super::cargo::counted;
use super::command::{run, succeeds};
use super::project::Project;
use super::step::{Finding, skipped};

/// What the feature is built with, as Debian names it.
const PACKAGES: [&str; 3] = ["libhwloc-dev", "libudev-dev", "pkg-config"];

pub(super) fn check(project: &Project) -> anyhow::Result<Finding> {
    if !installed() && !install() {
        let packages = PACKAGES.join(", ");
        return skipped(format!("hwloc 2.5 or newer is missing, to be had as {packages}"));
    }
    let crates = ["-p", "firsttouch-topology", "-p", "firsttouch", "-p", "xtask"];
    let with = |command: &'static str| {
        std::iter::once(command).chain(crates).chain(["--features", "hwloc"])
    };
    if succeeds(&mut project.cargo(["clippy", "--version"])) {
        let lints = ["--all-targets", "--", "-D", "warnings"];
        run(&mut project.cargo(with("clippy").chain(lints)))?;
    }
    let text =
        run(&mut project.cargo(["test", "-p", "firsttouch-topology", "--features", "hwloc"]))?;
    counted(&text)
}

fn installed() -> bool {
    let found = |library: &str| succeeds(Command::new("pkg-config").args(["--exists", library]));
    found("hwloc >= 2.5") && found("libudev")
}

/// Installs the packages where that needs no question: as root, on Debian and its like.
fn install() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root || !succeeds(Command::new("apt-get").arg("--version")) {
        return false;
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive")).is_ok()
    };
    let install = [&["install", "-y", "--no-install-recommends"][..], &PACKAGES[..]].concat();
    // Old package lists may do, and updating them may be what fails.
    let _ = apt(&["update"]);
    apt(&install) && installed()
}
