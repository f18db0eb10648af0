use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::Oddity;

/// Makes a tree of files, given as path and text.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (path, text) in files {
        let path = folder.path().join(path);
        let parent = path.parent().expect("the file lies in a folder");
        std::fs::create_dir_all(parent).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }
    folder
}

fn read(files: &[(&str, &str)]) -> (Option<CpuQuota>, Vec<Oddity>) {
    let folder = tree(files);
    let mut reader = Reader::new(folder.path(), false);
    let quota = cpu_quota(&mut reader);
    (quota, reader.into_oddities())
}

/// Reads a tree in which nothing is odd.
fn quota(files: &[(&str, &str)]) -> Option<(u64, u64)> {
    let (quota, oddities) = read(files);
    assert_eq!(oddities, []);
    quota.map(|quota| (quota.quota_us, quota.period_us))
}

const V1: &str = "30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                  31 29 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";
const V2: &str = "29 23 0:25 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const HYBRID_V2: &str = "41 29 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

#[test]
fn version_1_takes_the_tightest_of_nested_groups() {
    let cpu = "sys/fs/cgroup/cpu,cpuacct";
    let files = [
        ("proc/self/cgroup", "4:cpu,cpuacct:/outer/inner\n2:cpuset:/\n"),
        ("proc/self/mountinfo", V1),
        (&format!("{cpu}/cpu.cfs_quota_us"), "-1\n"),
        (&format!("{cpu}/cpu.cfs_period_us"), "100000\n"),
        (&format!("{cpu}/outer/cpu.cfs_quota_us"), "150000\n"),
        (&format!("{cpu}/outer/cpu.cfs_period_us"), "100000\n"),
        (&format!("{cpu}/outer/inner/cpu.cfs_quota_us"), "100000\n"),
        (&format!("{cpu}/outer/inner/cpu.cfs_period_us"), "50000\n"),
        // A neighbour's quota is not ours.
        (&format!("{cpu}/outer/other/cpu.cfs_quota_us"), "1000\n"),
        (&format!("{cpu}/outer/other/cpu.cfs_period_us"), "100000\n"),
    ];
    assert_eq!(quota(&files), Some((150_000, 100_000)));
}

#[test]
fn version_2_takes_the_tightest_of_nested_groups() {
    let files = [
        ("proc/self/cgroup", "0::/a/b/c\n"),
        ("proc/self/mountinfo", V2),
        ("sys/fs/cgroup/a/cpu.max", "400000 100000\n"),
        ("sys/fs/cgroup/a/b/cpu.max", "50000 20000\n"),
        ("sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n"),
    ];
    assert_eq!(quota(&files), Some((50_000, 20_000)));
}

#[test]
fn no_limit_anywhere_is_none() {
    let files = [
        ("proc/self/cgroup", "0::/a\n"),
        ("proc/self/mountinfo", V2),
        ("sys/fs/cgroup/a/cpu.max", "max 100000\n"),
    ];
    assert_eq!(quota(&files), None);
    assert_eq!(quota(&[("proc/self/cgroup", "0::/a\n"), ("proc/self/mountinfo", V2)]), None);
    assert_eq!(quota(&[]), None);
}

#[test]
fn hybrid_mounts_take_the_tighter_version() {
    let cpu = "sys/fs/cgroup/cpu,cpuacct";
    let mountinfo = format!("{V1}{HYBRID_V2}");
    let mut files = vec![
        ("proc/self/cgroup", "4:cpu,cpuacct:/old\n0::/new\n"),
        ("proc/self/mountinfo", mountinfo.as_str()),
        ("sys/fs/cgroup/unified/new/cpu.max", "300000 100000\n"),
    ];
    assert_eq!(quota(&files), Some((300_000, 100_000)));
    let (file, period) =
        (format!("{cpu}/old/cpu.cfs_quota_us"), format!("{cpu}/old/cpu.cfs_period_us"));
    files.extend([(file.as_str(), "200000\n"), (period.as_str(), "100000\n")]);
    assert_eq!(quota(&files), Some((200_000, 100_000)));
}

#[test]
fn a_container_sees_its_own_group_at_the_mount_point() {
    let mountinfo = "30 29 0:26 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
    let files = [
        // The host's path, while only /docker/abc is mounted.
        ("proc/self/cgroup", "4:cpu:/docker/abc/service\n"),
        ("proc/self/mountinfo", mountinfo),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu/service/cpu.cfs_quota_us", "50000\n"),
        ("sys/fs/cgroup/cpu/service/cpu.cfs_period_us", "100000\n"),
    ];
    assert_eq!(quota(&files), Some((50_000, 100_000)));
}

#[test]
fn a_namespace_hides_the_path_above_its_root() {
    let namespaced = [
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", V2),
        ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
    ];
    assert_eq!(quota(&namespaced), Some((150_000, 100_000)));
}

#[test]
fn a_path_outside_of_the_mount_falls_back_to_the_mount_point() {
    let mountinfo = "29 23 0:25 /kubepods/pod1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    for path in ["0::/\n", "0::/../sibling\n", "0::/elsewhere\n"] {
        let files = [
            ("proc/self/cgroup", path),
            ("proc/self/mountinfo", mountinfo),
            ("sys/fs/cgroup/cpu.max", "10000 100000\n"),
        ];
        assert_eq!(quota(&files), Some((10_000, 100_000)), "for {path:?}");
    }
}

#[test]
fn a_second_mount_of_another_group_does_not_count() {
    let mountinfo = format!("{V2}50 23 0:25 /other /mnt/other rw - cgroup2 cgroup2 rw\n");
    let files = [
        ("proc/self/cgroup", "0::/mine\n"),
        ("proc/self/mountinfo", mountinfo.as_str()),
        ("sys/fs/cgroup/mine/cpu.max", "200000 100000\n"),
        ("mnt/other/cpu.max", "1000 100000\n"),
    ];
    assert_eq!(quota(&files), Some((200_000, 100_000)));
}

#[test]
fn proc_mounts_serves_where_mountinfo_is_missing() {
    let files = [
        ("proc/self/cgroup", "0::/a\n"),
        ("proc/mounts", "cgroup2 /cg\\040roups cgroup2 rw 0 0\n"),
        ("cg roups/a/cpu.max", "60000 50000\n"),
    ];
    assert_eq!(quota(&files), Some((60_000, 50_000)));
}

#[test]
fn a_garbled_limit_is_no_limit_and_is_noted() {
    let garbled = [
        ("proc/self/cgroup", "0::/a/b\nnonsense\n:\n"),
        ("proc/self/mountinfo", V2),
        ("sys/fs/cgroup/a/cpu.max", "80000 100000\n"),
        ("sys/fs/cgroup/a/b/cpu.max", "0 0\n"),
    ];
    let (found, oddities) = read(&garbled);
    assert_eq!(found, parse::quota_of(80_000, 100_000));
    assert_eq!(oddities.len(), 1);
    assert!(oddities[0].what.contains("sys/fs/cgroup/a/b/cpu.max"));
}

#[test]
fn tightness_is_compared_without_overflow() {
    let small = parse::quota_of(u64::MAX - 1, u64::MAX);
    let large = parse::quota_of(u64::MAX, u64::MAX - 1);
    assert_eq!(tighter(small, large), small);
    assert_eq!(tighter(large, small), small);
}

proptest! {
    #[test]
    fn any_paths_are_joined_without_panic(
        root in "(/|/\\.\\.|/a|/a/b|.{0,8})",
        path in "(/|/\\.\\./x|/a/b/c|/a|.{0,12})",
    ) {
        let mount = Mount {
            root,
            point: "/sys/fs/cgroup".to_owned(),
            kind: "cgroup2".to_owned(),
            options: String::new(),
        };
        for folder in folders(&[&mount], &path) {
            prop_assert!(folder.starts_with("sys/fs/cgroup"));
            prop_assert!(folder.split('/').all(|part| part != ".."));
        }
    }
}
