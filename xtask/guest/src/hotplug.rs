//! CPUs that go offline and come back while the machine runs.

use std::collections::BTreeSet;
use std::path::Path;

use firsttouch::CpuSet;

use crate::sysfs;

/// Returns the file that a CPU is switched by; the boot CPU may have none.
pub(crate) fn switch(cpu: u32) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/online")
}

/// Returns the CPUs that are online.
pub(crate) fn online() -> anyhow::Result<BTreeSet<u32>> {
    let cpus: CpuSet = sysfs::parse("/sys/devices/system/cpu/online")?;
    Ok(cpus.iter().map(u32::from).collect())
}

/// Takes a CPU offline; threads that may run on no other are moved by the kernel.
pub(crate) fn take_offline(cpu: u32) -> anyhow::Result<()> {
    sysfs::write(switch(cpu), 0)
}

/// Brings a CPU back, where it is offline.
pub(crate) fn bring_back(cpu: u32) -> anyhow::Result<()> {
    if !Path::new(&switch(cpu)).exists() || sysfs::read(switch(cpu))? == "1" {
        return Ok(());
    }
    sysfs::write(switch(cpu), 1)
}
