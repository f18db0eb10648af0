//! Processes confined to some CPUs and some nodes.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context as _;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::group::{self, GROUP, ROOT};
use super::{Held, list};
use crate::sysfs;

const V1_ROOT: &str = "/tmp/cpuset-v1";
const V1_GROUP: &str = "/tmp/cpuset-v1/case";

/// A version of the control groups' interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// A tree for each controller.
    V1,
    /// One tree for all.
    V2,
}

/// Returns whether the kernel has no version 1 of cpusets, as newer ones are built.
pub(crate) fn cpuset_v1_is_missing() -> bool {
    const PROBE: &str = "/tmp/cpuset-probe";
    let mounted = fs::create_dir_all(PROBE).and_then(|()| mount_v1(PROBE));
    match mounted {
        Ok(()) => unmount(PROBE, UnmountFlags::empty()).is_err(),
        // It has, and still lets go of the version 2 groups of an earlier case.
        Err(error) => error.kind() != std::io::ErrorKind::ResourceBusy,
    }
}

/// Makes the group that the process is to enter.
pub(super) fn prepare(
    version: Version,
    cpus: &BTreeSet<u32>,
    nodes: &BTreeSet<usize>,
) -> anyhow::Result<Held> {
    let (group, held) = match version {
        Version::V1 => {
            fs::create_dir_all(V1_ROOT)?;
            group::patiently("cannot mount version 1 of cpusets", || mount_v1(V1_ROOT))?;
            let held = Held::until(|| {
                group::remove(V1_GROUP)?;
                // A tree that is unmounted while it has a group, dead or not, keeps the
                // controller from version 2 for good.
                group::patiently("version 1 of cpusets keeps its group", || match v1_groups()? {
                    Some(1) => Ok(()),
                    _ => Err(std::io::ErrorKind::ResourceBusy.into()),
                })?;
                unmount(V1_ROOT, UnmountFlags::empty()).context("cannot unmount cpusets")
            });
            (V1_GROUP, held)
        }
        Version::V2 => {
            // A version 1 tree lets go of the controller some time after it is unmounted.
            group::patiently("version 2 of cpusets cannot be had", || {
                let controllers = fs::read_to_string(format!("{ROOT}/cgroup.controllers"))?;
                match controllers.split_whitespace().any(|controller| controller == "cpuset") {
                    true => Ok(()),
                    false => Err(std::io::ErrorKind::ResourceBusy.into()),
                }
            })?;
            sysfs::write(format!("{ROOT}/cgroup.subtree_control"), "+cpuset")?;
            let held = Held::until(|| {
                group::remove(GROUP)?;
                // Version 1 can be mounted only while version 2 does not use the controller.
                sysfs::write(format!("{ROOT}/cgroup.subtree_control"), "-cpuset")
            });
            (GROUP, held)
        }
    };
    group::make(group)?;
    sysfs::write(format!("{group}/cpuset.cpus"), list(cpus))?;
    sysfs::write(format!("{group}/cpuset.mems"), list(nodes))?;
    Ok(held)
}

/// Moves this process into the group.
pub(super) fn enter(version: Version) -> anyhow::Result<()> {
    match version {
        Version::V1 => sysfs::write(format!("{V1_GROUP}/tasks"), 0),
        Version::V2 => sysfs::write(format!("{GROUP}/cgroup.procs"), 0),
    }
}

/// Returns how many groups the kernel counts in the tree that has cpusets, the root and dead ones among them.
fn v1_groups() -> std::io::Result<Option<usize>> {
    let table = fs::read_to_string("/proc/cgroups")?;
    let words = table.lines().find_map(|line| line.strip_prefix("cpuset"));
    Ok(words.and_then(|words| words.split_whitespace().nth(1)?.parse().ok()))
}

fn mount_v1(place: &str) -> std::io::Result<()> {
    Ok(mount("cpuset", place, "cgroup", MountFlags::empty(), Some(c"cpuset"))?)
}
