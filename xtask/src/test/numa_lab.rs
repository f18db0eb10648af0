//! The quick set of the emulated machines.

use super::command;
use super::project::Project;
use super::step::{Finding, passed, skipped};

/// Boots the quick set with `cargo xtask vm`, this program's own command.
pub(super) fn check(project: &Project) -> anyhow::Result<Finding> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return skipped("an x86-64 Linux machine, which can build the guest's program");
    }
    if command::answer(&mut project.program("apt-get", ["--version"])).is_none() {
        return skipped("apt-get, which fetches Debian's kernels");
    }
    let program = std::env::current_exe()?;
    let said = command::run(&mut project.program(program, ["vm", "--quick"]))?;
    command::say(said.trim_end());
    passed("dual and memory-only, kernel 6.1")
}
