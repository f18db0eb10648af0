//! Where a process's own memory lies, as the kernel lists it mapping by mapping.

use std::collections::BTreeMap;

use crate::sysfs;

/// One mapping that no file is behind: heap, stacks, regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The kernel's line about it.
    pub(crate) line: String,
    /// Its base pages on each node; huge pages count by their own size.
    pub(crate) pages: BTreeMap<usize, u64>,
}

/// Returns this process's mappings that have pages and no file behind them.
pub(crate) fn own() -> anyhow::Result<Vec<Mapping>> {
    let text = sysfs::read("/proc/self/numa_maps")?;
    // Pages of a file lie where whoever read it first was.
    let lines = text.lines().filter(|line| !line.contains(" file="));
    let mappings = lines.map(|line| Mapping { line: line.to_owned(), pages: pages(line) });
    Ok(mappings.filter(|mapping| !mapping.pages.is_empty()).collect())
}

/// Reads the words `N<node>=<pages>`.
fn pages(line: &str) -> BTreeMap<usize, u64> {
    let words = line.split_whitespace().filter_map(|word| word.strip_prefix('N'));
    let pairs = words.filter_map(|word| word.split_once('='));
    pairs.filter_map(|(node, pages)| Some((node.parse().ok()?, pages.parse().ok()?))).collect()
}
