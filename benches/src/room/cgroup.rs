//! What the process's control groups leave of their memory limits.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, MountInfos};
use procfs::{FromBufRead, FromRead, ProcessCGroups};

/// Version 1 writes "no limit" as the largest multiple of a page; nothing real is near it.
const NO_LIMIT: u64 = 1 << 60;

/// The names of one control-group version's memory files.
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// The line of `memory.stat` that counts file pages the kernel reclaims first.
    reclaimable: &'static str,
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};

const V2: Files =
    Files { limit: "memory.max", usage: "memory.current", reclaimable: "inactive_file" };

/// Returns each control group of this process that has a memory limit, and the bytes it has left.
///
/// Groups nest and every level counts. Files that cannot be read set no limit.
pub(super) fn left(root: &Path) -> Vec<(PathBuf, u64)> {
    let open = |path: &str| File::open(root.join(path)).ok();
    let groups = open("proc/self/cgroup").and_then(|file| ProcessCGroups::from_read(file).ok());
    let mounts = open("proc/self/mountinfo")
        .and_then(|file| MountInfos::from_buf_read(BufReader::new(file)).ok());
    let (Some(groups), Some(mounts)) = (groups, mounts) else {
        return Vec::new();
    };
    let mut left = Vec::new();
    for group in groups {
        let v1 = group.controllers.iter().any(|name| name == "memory");
        let v2 = group.hierarchy == 0;
        for mount in mounts.iter().filter(|mount| match mount.fs_type.as_str() {
            "cgroup" => v1 && mount.super_options.contains_key("memory"),
            "cgroup2" => v2,
            _ => false,
        }) {
            let files = if v2 { &V2 } else { &V1 };
            left.extend(
                levels(root, mount, &group.pathname).filter_map(|(name, folder)| {
                    left_in(&folder, files).map(|bytes| (name, bytes))
                }),
            );
        }
    }
    left
}

/// The group's folder and each one above it that the mount shows.
fn levels<'a>(
    root: &'a Path,
    mount: &MountInfo,
    group: &str,
) -> impl Iterator<Item = (PathBuf, PathBuf)> + use<'a> {
    // A container mounts a part of the tree: the path inside it starts at the mount's root.
    let group = Path::new(group);
    let inside = group.strip_prefix(&mount.root).or_else(|_| group.strip_prefix("/"));
    let inside = inside.unwrap_or(Path::new("")).to_owned();
    let mount_point = mount.mount_point.strip_prefix("/").unwrap_or(&mount.mount_point);
    let mount_point = root.join(mount_point);
    let levels: Vec<_> = inside.ancestors().map(Path::to_owned).collect();
    levels.into_iter().map(move |level| (Path::new("/").join(&level), mount_point.join(&level)))
}

fn left_in(folder: &Path, files: &Files) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let limit = number(files.limit).filter(|&limit| limit < NO_LIMIT)?;
    let reclaimable = read("memory.stat").and_then(|stat| {
        let line = stat.lines().find_map(|line| line.strip_prefix(files.reclaimable));
        line?.trim().parse::<u64>().ok()
    });
    let used = number(files.usage)?.saturating_sub(reclaimable.unwrap_or(0));
    Some(limit.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a tree of files below a fresh folder.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a file is in a folder"))
                .and_then(|()| fs::write(&path, text))
                .expect("a temporary file can be written");
        }
        root
    }

    const V2_MOUNT: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1_MOUNT: &str = "33 23 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                            34 23 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";

    #[test]
    fn version_2_limits_count_at_every_level() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/work/job\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/work/job/memory.max", "max\n"),
            ("sys/fs/cgroup/work/job/memory.current", "10\n"),
            ("sys/fs/cgroup/work/memory.max", "1000\n"),
            ("sys/fs/cgroup/work/memory.current", "600\n"),
            ("sys/fs/cgroup/work/memory.stat", "anon 1\ninactive_file 200\nactive_file 3\n"),
        ]);
        assert_eq!(left(root.path()), [(PathBuf::from("/work"), 600)]);
    }

    #[test]
    fn version_1_counts_its_memory_hierarchy_only_and_knows_no_limit() {
        let root = tree(&[
            ("proc/self/cgroup", "4:memory:/box\n1:cpu:/other\n0::/\n"),
            ("proc/self/mountinfo", V1_MOUNT),
            ("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "5000\n"),
            ("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "5600\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n"),
            ("sys/fs/cgroup/cpu/box/memory.limit_in_bytes", "1\n"),
        ]);
        assert_eq!(left(root.path()), [(PathBuf::from("/box"), 0)]);
    }

    #[test]
    fn a_container_sees_its_part_of_the_tree() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/docker/1234\n"),
            (
                "proc/self/mountinfo",
                "30 23 0:26 /docker/1234 /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
            ),
            ("sys/fs/cgroup/memory.max", "4096\n"),
            ("sys/fs/cgroup/memory.current", "96\n"),
        ]);
        assert_eq!(left(root.path()), [(PathBuf::from("/"), 4000)]);
    }

    #[test]
    fn unreadable_or_garbled_files_set_no_limit() {
        assert_eq!(left(tree(&[]).path()), []);
        let root = tree(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/memory.max", "plenty\n"),
            ("sys/fs/cgroup/memory.current", "1\n"),
        ]);
        assert_eq!(left(root.path()), []);
    }
}
