//! What a process still has once the library's values are dropped.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::condition::current_policy;

/// What this process has that nothing may change for good.
#[derive(Debug, PartialEq)]
struct Own {
    threads: usize,
    affinity: CpuSet,
    policy: (i32, BTreeSet<usize>),
    /// The policies of its mappings, where they have one of their own.
    mapping_policies: Vec<String>,
    /// What it has of pools of huge pages, as the kernel writes it.
    huge_pages: String,
}

/// Runs something and makes sure that no thread, mapping, policy or affinity is left behind.
///
/// What it returns besides its result is the addresses it mapped regions at.
pub(crate) fn nothing<T>(
    run: impl FnOnce() -> anyhow::Result<(T, Vec<usize>)>,
) -> anyhow::Result<T> {
    let before = own()?;
    let (result, regions) = run()?;
    let mut after = own()?;
    // A thread that was joined is still listed until the kernel has taken it apart.
    let deadline = Instant::now() + Duration::from_secs(20);
    while before != after && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
        after = own()?;
    }
    ensure!(before == after, "left behind: {after:?}; it was {before:?}");
    for address in regions {
        ensure!(!is_mapped(address)?, "the region at {address:#x} is still mapped");
    }
    Ok(result)
}

fn own() -> anyhow::Result<Own> {
    let maps = read("numa_maps")?;
    let policies = maps.lines().filter_map(|line| line.split_whitespace().nth(1));
    let mut mapping_policies: Vec<_> =
        policies.filter(|&policy| policy != "default").map(str::to_owned).collect();
    mapping_policies.sort_unstable();
    let status = read("status")?;
    let huge_pages = status.lines().find(|line| line.starts_with("HugetlbPages:"));
    Ok(Own {
        threads: fs::read_dir("/proc/self/task")?.count(),
        affinity: sched_getaffinity(None)?,
        policy: current_policy()?,
        mapping_policies,
        huge_pages: huge_pages.context("the kernel does not count huge pages")?.to_owned(),
    })
}

fn is_mapped(address: usize) -> anyhow::Result<bool> {
    let maps = read("maps")?;
    let range = |line: &str| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    };
    Ok(maps.lines().filter_map(range).any(|mapped| mapped.contains(&address)))
}

fn read(file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/self/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}
