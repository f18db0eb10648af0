//! The CPU quota of the process's control groups.

use super::mounts::{self, Mount};
use super::{Reader, parse, process};
use crate::CpuQuota;

/// Returns the tightest quota of the process's own groups and all above them; `None` for no limit.
///
/// Version 1's `cpu` controller and version 2 are both looked at, since a
/// machine may mount both.
pub(super) fn cpu_quota(reader: &mut Reader) -> Option<CpuQuota> {
    let groups = process::text(reader, "cgroup")?;
    let mounts = match process::text(reader, "mountinfo") {
        Some(text) => mounts::mountinfo(&text),
        None => mounts::mounts(&reader.text("proc/mounts").unwrap_or_default()),
    };
    let mut tightest = None;
    for (version, path) in groups.lines().filter_map(cpu_group) {
        let own: Vec<&Mount> = mounts.iter().filter(|mount| version.is_mounted_by(mount)).collect();
        for folder in folders(&own, path) {
            let quota = version.quota(reader, &folder);
            tightest = tighter(tightest, quota);
        }
    }
    tightest
}

/// The two control group interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn is_mounted_by(self, mount: &Mount) -> bool {
        match self {
            Self::One => mount.kind == "cgroup" && mount.options.split(',').any(|o| o == "cpu"),
            Self::Two => mount.kind == "cgroup2",
        }
    }

    fn quota(self, reader: &mut Reader, folder: &str) -> Option<CpuQuota> {
        match self {
            Self::One => {
                let quota = reader.value(&format!("{folder}/cpu.cfs_quota_us"), parse::cfs_quota);
                let quota = quota.flatten()?;
                let file = format!("{folder}/cpu.cfs_period_us");
                reader.value(&file, |text| parse::quota_of(quota, parse::unsigned(text)?))
            }
            Self::Two => reader.value(&format!("{folder}/cpu.max"), parse::cpu_max).flatten(),
        }
    }
}

/// Reads a line of `/proc/self/cgroup` (`4:cpu,cpuacct:/path`, or `0::/path` for version 2) if it is about CPU time.
fn cpu_group(line: &str) -> Option<(Version, &str)> {
    let mut fields = line.splitn(3, ':');
    let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    if hierarchy == "0" && controllers.is_empty() {
        Some((Version::Two, path))
    } else if controllers.split(',').any(|controller| controller == "cpu") {
        Some((Version::One, path))
    } else {
        None
    }
}

/// Returns the folders of a group and of all groups above it, as far as they are mounted, relative to the root.
///
/// A container may see only its own group mounted (the mount's root is then
/// that group's path), while the path in `/proc/self/cgroup` may be the host's
/// or relative to a control group namespace. Where the path lies below a
/// mount's root, what remains of it is appended to the mount point. Where it
/// lies below none, nothing tells its place, and a container's mount point is
/// its own group.
fn folders(mounts: &[&Mount], path: &str) -> Vec<String> {
    let mut folders = Vec::new();
    for mount in mounts {
        if let (Some(point), Some(below)) = (components(&mount.point), below(&mount.root, path)) {
            for kept in (0..=below.len()).rev() {
                folders.push([&point[..], &below[..kept]].concat().join("/"));
            }
        }
    }
    if folders.is_empty() {
        let points = mounts.iter().filter_map(|mount| components(&mount.point));
        folders.extend(points.map(|point| point.join("/")));
    }
    folders
}

/// Returns the components of `path` below `root`; `None` where it does not lie there.
fn below<'a>(root: &'a str, path: &'a str) -> Option<Vec<&'a str>> {
    let (root, path) = (components(root)?, components(path)?);
    path.strip_prefix(&root[..]).map(<[_]>::to_vec)
}

/// Splits a path; `None` where it steps upwards, as paths outside of a namespace do.
fn components(path: &str) -> Option<Vec<&str>> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.contains(&"..")).then_some(parts)
}

/// Returns the quota that allows less; the first where they allow the same.
fn tighter(a: Option<CpuQuota>, b: Option<CpuQuota>) -> Option<CpuQuota> {
    let (Some(first), Some(second)) = (a, b) else { return a.or(b) };
    let share =
        |quota: CpuQuota, other: CpuQuota| u128::from(quota.quota_us) * u128::from(other.period_us);
    Some(if share(second, first) < share(first, second) { second } else { first })
}

#[cfg(test)]
mod tests;
