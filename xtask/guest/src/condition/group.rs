//! The control group a case runs in.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// The version 2 tree's root.
pub(super) const ROOT: &str = "/sys/fs/cgroup";

/// The version 2 group a case runs in.
pub(super) const GROUP: &str = "/sys/fs/cgroup/case";

/// Makes a group.
pub(super) fn make(group: &str) -> anyhow::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.with_context(|| format!("cannot make the control group {group}")),
    }
}

/// Removes a group, once the kernel has forgotten the processes that were in it.
pub(super) fn remove(group: &str) -> anyhow::Result<()> {
    patiently(&format!("cannot remove the control group {group}"), || match fs::remove_dir(group) {
        Err(_) if !Path::new(group).exists() => Ok(()),
        removed => removed,
    })
}

/// Tries again while the kernel says that something is busy: it takes groups apart in its own time.
pub(super) fn patiently(
    what: &str,
    mut attempt: impl FnMut() -> io::Result<()>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::ResourceBusy => {
                return Err(error).with_context(|| what.to_owned());
            }
            Err(_) if Instant::now() > deadline => bail!("{what}: it stays busy"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
