//! Control groups that may use only so much CPU time.

use super::Held;
use super::group::{self, GROUP, ROOT};
use crate::sysfs;

const PERIOD_US: u32 = 100_000;

/// Makes the group that the process is to enter.
pub(super) fn prepare(hundredths: u32) -> anyhow::Result<Held> {
    sysfs::write(format!("{ROOT}/cgroup.subtree_control"), "+cpu")?;
    let held = Held::until(|| {
        group::remove(GROUP)?;
        sysfs::write(format!("{ROOT}/cgroup.subtree_control"), "-cpu")
    });
    group::make(GROUP)?;
    let quota = PERIOD_US / 100 * hundredths;
    sysfs::write(format!("{GROUP}/cpu.max"), format!("{quota} {PERIOD_US}"))?;
    Ok(held)
}

/// Moves this process into the group.
pub(super) fn enter() -> anyhow::Result<()> {
    sysfs::write(format!("{GROUP}/cgroup.procs"), 0)
}
