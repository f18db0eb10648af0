//! A machine as a compact tree for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use firsttouch::topology::{CpuQuota, Source};
use firsttouch::{CpuSet, Topology};

use super::json::transparent_mode;
use super::part::{Part, Whole};
use super::text::{bytes, count, memory, wrapped};

/// Draws the whole machine.
pub(super) fn draw(topology: &Topology) -> String {
    let mut out = String::new();
    head(&mut out, topology);
    out.push('\n');
    for part in Whole::new(topology).parts() {
        draw_part(&mut out, topology, part, "", "");
    }
    core_kinds(&mut out, topology);
    super::distance::draw(&mut out, topology);
    oddities(&mut out, topology);
    out
}

/// With more nodes than this, a node's packages share a line.
const MANY_NODES: usize = 16;

/// Adds a line; writing to a string cannot fail.
pub(super) fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
    out.push('\n');
}

fn head(out: &mut String, topology: &Topology) {
    match topology.source() {
        Source::Recorded(root) => line(out, format_args!("Recorded machine {}", root.display())),
        Source::Synthetic(text) => line(out, format_args!("Described machine {text:?}")),
        Source::Hwloc => line(out, format_args!("This machine, as hwloc sees it")),
        _ => line(out, format_args!("This machine")),
    }
    let packages = count(topology.packages().len(), "package");
    let nodes = count(topology.nodes().len(), "node");
    let cores = cores(topology, topology.online_cpus());
    let cpus = topology.online_cpus();
    line(out, format_args!("  has       {packages}, {nodes}, {cores}: CPUs {cpus}"));
    let total = topology.nodes().iter().map(|n| n.memory_total()).sum::<Option<u64>>();
    let free = topology.nodes().iter().map(|n| n.memory_free()).sum::<Option<u64>>();
    line(out, format_args!("  memory    {}", memory(total, free)));
    line(out, format_args!("  pages     {}", pages(topology)));
    line(out, format_args!("  may use   {}", allowed(topology)));
}

fn pages(topology: &Topology) -> String {
    let sizes = topology.page_sizes();
    let mut text = format!("{} base", bytes(sizes.base));
    if sizes.huge.is_empty() {
        text.push_str("; no huge pages");
    } else {
        let huge: Vec<_> = sizes.huge.iter().map(|&size| bytes(size)).collect();
        let _ = write!(text, "; {} huge", huge.join(", "));
        let mut pools = topology.nodes().iter().flat_map(|node| node.huge_page_pools());
        if pools.all(|pool| pool.total == 0) {
            text.push_str(" (none reserved)");
        }
    }
    match (sizes.transparent, sizes.transparent_mode) {
        (None, None) => text.push_str("; none transparent"),
        (size, mode) => {
            let size = size.map_or("of unknown size".to_owned(), bytes);
            let mode = mode.map_or("unknown", transparent_mode);
            let _ = write!(text, "; {size} transparent ({mode})");
        }
    }
    text
}

/// Says what this process may use, and that it is everything where it is.
fn allowed(topology: &Topology) -> String {
    let allowed = topology.allowed();
    let cpus = match allowed.cpus() == topology.online_cpus() {
        true => "all CPUs".to_owned(),
        false => format!("CPUs {}", allowed.cpus()),
    };
    let nodes = match allowed.nodes().len() == topology.nodes().len() {
        true => "memory of all nodes".to_owned(),
        false => format!("memory of nodes {}", allowed.nodes()),
    };
    let quota = match allowed.cpu_quota().map(CpuQuota::cpus) {
        None => "no CPU quota".to_owned(),
        Some(quota) => format!("a quota of {quota:.2} CPUs"),
    };
    let threads = count(allowed.parallelism().get(), "thread");
    format!("{cpus}, {nodes}, {quota}: {threads} at once")
}

/// Draws a part, then what it holds.
fn draw_part(out: &mut String, topology: &Topology, part: &Part<'_>, first: &str, rest: &str) {
    line(out, format_args!("{first}{}", title(topology, part)));
    let mut details = details(topology, part);
    let packages = packages_on_a_line(topology, part);
    let inner = if packages.is_some() { &[][..] } else { &part.inner[..] };
    details.extend(packages);
    let total = details.len() + inner.len();
    let branch =
        |index: usize| if index + 1 == total { ("└─ ", "   ") } else { ("├─ ", "│  ") };
    for (index, detail) in details.iter().enumerate() {
        let (first, next) = branch(index);
        for (row, text) in wrapped(detail).into_iter().enumerate() {
            line(out, format_args!("{rest}{}{text}", if row == 0 { first } else { next }));
        }
    }
    for (index, inner) in inner.iter().enumerate() {
        let (first, next) = branch(details.len() + index);
        draw_part(out, topology, inner, &format!("{rest}{first}"), &format!("{rest}{next}"));
    }
}

/// Returns `package 0, node 0: CPUs 0-7, 4 cores x 2, 16 GiB, L3 32 MiB`.
fn title(topology: &Topology, part: &Part<'_>) -> String {
    let mut text = match part.is_memory_only() {
        true => format!("{}: no CPUs, near CPUs {}", part.name(), part.cpus),
        false => format!("{}: CPUs {}, {}", part.name(), part.cpus, cores(topology, &part.cpus)),
    };
    for node in &part.nodes {
        let _ = match node.memory_total() {
            None => write!(text, ", memory unknown"),
            Some(0) => write!(text, ", no memory"),
            total => write!(text, ", {}", memory(total, node.memory_free())),
        };
    }
    if !part.is_memory_only() && part.is_innermost() {
        text.push_str(&only_cache(topology, part));
    }
    text
}

/// Returns the last-level cache to append, where there is one only.
fn only_cache(topology: &Topology, part: &Part<'_>) -> String {
    match &part.last_level_caches(topology)[..] {
        [cache] => format!(", {}", cache.describe(&part.cpus)),
        _ => String::new(),
    }
}

/// Returns `packages 0 (CPUs 0-1), 3 (CPUs 2-3): 2 cores x 1 each` for a node of a large machine.
fn packages_on_a_line(topology: &Topology, part: &Part<'_>) -> Option<String> {
    let [first, _, ..] = &part.inner[..] else { return None };
    if topology.nodes().len() <= MANY_NODES {
        return None;
    }
    let each = |part: &Part<'_>| cores(topology, &part.cpus) + &only_cache(topology, part);
    let alike = |inner: &Part<'_>| inner.is_plain_package(topology) && each(inner) == each(first);
    let name = |inner: &Part<'_>| match inner.packages.first().and_then(|package| package.id) {
        Some(id) => format!("{id} (CPUs {})", inner.cpus),
        None => format!("(CPUs {})", inner.cpus),
    };
    let names: Vec<_> = part.inner.iter().map(name).collect();
    let line = || format!("packages {}: {} each", names.join(", "), each(first));
    part.inner.iter().all(alike).then(line)
}

/// Returns the lines of a part that are no parts themselves.
fn details(topology: &Topology, part: &Part<'_>) -> Vec<String> {
    let mut details = Vec::new();
    for node in &part.nodes {
        let pools = node.huge_page_pools().iter().filter(|pool| pool.total > 0);
        let pool = |pool: &firsttouch::topology::HugePagePool| {
            format!("{} of {} x {} free", pool.free, pool.total, bytes(pool.page_bytes))
        };
        let pools: Vec<_> = pools.map(pool).collect();
        if !pools.is_empty() {
            details.push(format!("huge pages: {}", pools.join(", ")));
        }
    }
    let caches = part.last_level_caches(topology);
    if !part.is_memory_only() && part.is_innermost() && caches.len() > 1 {
        details.extend(super::part::describe_caches(topology, &caches));
    }
    details
}

/// Returns `8 cores x 2`, or each number of threads apart: `6 cores x 2 + 8 cores x 1`.
pub(super) fn cores(topology: &Topology, cpus: &CpuSet) -> String {
    let mut threads = BTreeMap::new();
    for cpu in cpus.iter().filter_map(|cpu| topology.cpu(cpu)) {
        *threads.entry(cpu.core).or_insert(0_usize) += 1;
    }
    let mut by_threads = BTreeMap::new();
    for threads in threads.into_values() {
        *by_threads.entry(threads).or_insert(0_usize) += 1;
    }
    let describe =
        |(threads, &cores): (&usize, &usize)| format!("{} x {threads}", count(cores, "core"));
    by_threads.iter().rev().map(describe).collect::<Vec<_>>().join(" + ")
}

fn core_kinds(out: &mut String, topology: &Topology) {
    if topology.core_kinds().len() < 2 {
        return;
    }
    line(out, format_args!("\nKinds of core, weakest first"));
    for kind in topology.core_kinds() {
        let name = kind.name.as_deref().unwrap_or("unnamed");
        let capacity = kind.capacity.map_or(String::new(), |c| format!(", capacity {c}"));
        let cores = cores(topology, &kind.cpus);
        line(out, format_args!("  {name}{capacity}: CPUs {}, {cores}", kind.cpus));
    }
}

fn oddities(out: &mut String, topology: &Topology) {
    if topology.oddities().is_empty() {
        return;
    }
    line(out, format_args!("\nOdd about this machine"));
    for oddity in topology.oddities() {
        line(out, format_args!("  {oddity}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_and_its_only_node_share_a_line() -> anyhow::Result<()> {
        let text = draw(&Topology::synthetic("pack:2 node:1 l3:1 core:2 pu:2")?);
        let line = "package 1, node 1: CPUs 4-7, 2 cores x 2, 1 GiB, L3 16 MiB";
        assert!(text.lines().any(|found| found == line), "{text}");
        Ok(())
    }

    #[test]
    fn groups_and_memory_only_nodes_stand_inside_their_package() -> anyhow::Result<()> {
        let machine = "pack:2 [numa(memory=8GiB)] [numa(memory=1GiB)] l3:2 core:2 pu:1";
        let text = draw(&Topology::synthetic(machine)?);
        let expected = "\
package 0, node 0: CPUs 0-3, 4 cores x 1, 8 GiB
├─ L3 16 MiB: 2 groups of 2 cores x 1 each, CPUs 0-1 | 2-3
└─ node 1: no CPUs, near CPUs 0-3, 1 GiB
package 1, node 2: CPUs 4-7, 4 cores x 1, 8 GiB
├─ L3 16 MiB: 2 groups of 2 cores x 1 each, CPUs 4-5 | 6-7
└─ node 3: no CPUs, near CPUs 4-7, 1 GiB
";
        assert!(text.contains(expected), "{text}");
        Ok(())
    }

    #[test]
    fn a_large_machine_takes_few_lines() -> anyhow::Result<()> {
        let text = draw(&Topology::synthetic("node:64 pack:2 core:2 pu:1")?);
        assert!(
            text.contains("└─ packages 2 (CPUs 4-5), 3 (CPUs 6-7): 2 cores x 1 each\n"),
            "{text}"
        );
        assert!(text.lines().count() < 140, "{text}");
        Ok(())
    }
}
