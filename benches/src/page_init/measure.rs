//! One repetition of one row.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use anyhow::ensure;
use firsttouch::topology::affinity;
use firsttouch::{CpuId, NodeId, PageInit, PageSize, Pool, Region, Residency, Topology};
use serde::{Deserialize, Serialize};

use crate::warm::{Toucher, warm};

/// What one repetition took, and where its pages ended up.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// From the fresh mapping to the last initialised page of the slowest node.
    pub elapsed: Duration,
    /// Where the pages ended up; `None` where the kernel does not tell, as in some containers.
    pub places: Option<Places>,
    /// What each node took; empty for the serial row.
    pub nodes: Vec<NodeSample>,
}

/// Where the pages of a repetition ended up, as the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Places {
    /// Base pages that were initialised, and that the kernel names a node for.
    pub pages: u64,
    /// Those that are local to the CPU that initialised them; `None` where that CPU is not known.
    pub local: Option<u64>,
    /// Bytes that the kernel mapped by pages larger than base pages.
    pub huge_bytes: u64,
}

/// One node's part of a repetition.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSample {
    /// The node.
    pub node: NodeId,
    /// From the start of the whole to the node's last page.
    pub elapsed: Duration,
    /// Bytes that were the node's part.
    pub bytes: usize,
    /// Base pages that lie on the node; `None` where the kernel does not tell.
    pub pages: Option<u64>,
}

/// Measures what a program does today: one thread writes zeros through a fresh mapping.
pub(super) fn serial(
    bytes: usize,
    page_size: PageSize,
    topology: &Topology,
) -> anyhow::Result<Sample> {
    warm(bytes, page_size, Toucher::Caller)?;
    let mut region = Region::builder(bytes).page_size(page_size).build()?;
    let before = affinity::current_cpu();
    let start = Instant::now();
    write_all(region.as_mut_slice(), 0);
    let elapsed = start.elapsed();
    let after = affinity::current_cpu();
    let places = match region.residency(0..bytes) {
        Ok(residency) => {
            Some(places(&residency, local_pages(&residency, before, after, topology))?)
        }
        Err(error) if error.is_refused() => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Sample { elapsed, places, nodes: Vec::new() })
}

/// Pages that are local to a thread's CPU, as [`PageInit`] counts them.
///
/// `None` where the thread changed its node in between: it touched its pages from both.
fn local_pages(
    residency: &Residency,
    before: CpuId,
    after: CpuId,
    topology: &Topology,
) -> Option<u64> {
    let node = topology.node_of_cpu(after)?;
    if topology.node_of_cpu(before) != Some(node) {
        return None;
    }
    let is_local = |node| topology.node(node).is_some_and(|node| node.local_cpus().contains(after));
    Some(residency.nodes().filter(|&(node, _)| is_local(node)).map(|(_, pages)| pages).sum())
}

/// Never inlined and opaque at both ends, so that no compiler finds out that the bytes are zero
/// already or that nobody reads them.
#[inline(never)]
pub(super) fn write_all(bytes: &mut [u8], value: u8) {
    black_box(&mut *bytes).fill(value);
    black_box(bytes);
}

/// Measures firsttouch, with up to `threads` threads on each node.
pub(super) fn firsttouch(
    bytes: usize,
    page_size: PageSize,
    pool: &Pool,
    threads: NonZeroUsize,
) -> anyhow::Result<Sample> {
    warm(bytes, page_size, Toucher::Pool(pool, threads))?;
    let mut region = Region::builder(bytes).page_size(page_size).build()?;
    let report = PageInit::new(&mut region).max_threads_per_node(threads).zero(pool)?;
    let pages_on = |node| Some(report.pages.as_ref()?.residency.pages_on(node));
    let nodes = report.nodes.iter().filter_map(|part| {
        let (elapsed, bytes) = (part.elapsed, part.size);
        part.node.map(|node| NodeSample { node, elapsed, bytes, pages: pages_on(node) })
    });
    let nodes = nodes.collect();
    let places = report.pages.map(|pages| places(&pages.residency, Some(pages.local)));
    Ok(Sample { elapsed: report.elapsed, places: places.transpose()?, nodes })
}

/// What a residency says, once it is sure that nothing was left out.
pub(super) fn places(residency: &Residency, local: Option<u64>) -> anyhow::Result<Places> {
    let pages = residency.present();
    complete(pages, residency.not_present(), numa_balancing)?;
    let larger = residency.page_sizes().filter(|&(bytes, _)| bytes > residency.page_bytes());
    Ok(Places { pages, local, huge_bytes: larger.map(|(_, bytes)| bytes).sum() })
}

/// Makes sure that nothing was left out: a fast row that skipped pages is no result.
///
/// Kernels around 6.1 name no node for pages that automatic NUMA balancing is
/// watching, which can be any page at any time; so where that is on, pages
/// without a node prove nothing, as long as there are others.
fn complete(pages: u64, missing: u64, balancing: impl Fn() -> bool) -> anyhow::Result<()> {
    ensure!(
        missing == 0 || (pages > 0 && balancing()),
        "the kernel names a node for {pages} pages and none for {missing}, \
         which were left out, or swapped out meanwhile"
    );
    Ok(())
}

/// Whether the kernel moves pages after the threads that use them; kernels without it lack the file.
fn numa_balancing() -> bool {
    let mode = std::fs::read_to_string("/proc/sys/kernel/numa_balancing");
    mode.is_ok_and(|mode| mode.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_without_a_node_are_a_fault_unless_balancing_may_be_watching_them() {
        assert!(complete(4, 0, || false).is_ok());
        let error = complete(3, 1, || false).expect_err("nothing excuses it");
        assert!(error.to_string().contains("3 pages and none for 1"), "{error}");
        assert!(complete(3, 1, || true).is_ok());
        assert!(complete(0, 4, || true).is_err(), "not even one page is there");
    }

    #[test]
    fn serial_pages_are_local_by_the_nodes_own_list_and_unknown_after_a_move() {
        let topology = Topology::synthetic("node:2 pu:2").expect("it is in the grammar");
        let cpu = CpuId::new;
        let mut region = Region::builder(1 << 20).build().expect("memory for a test");
        region.populate(0..1 << 20).expect("memory for a test");
        // Some containers refuse the call; an empty range is a residency too.
        let pages = region.residency(0..1 << 20).unwrap_or_default();
        let on_first = Some(pages.pages_on(NodeId::new(0)));
        assert_eq!(local_pages(&pages, cpu(0), cpu(1), &topology), on_first);
        let on_second = Some(pages.pages_on(NodeId::new(1)));
        assert_eq!(local_pages(&pages, cpu(3), cpu(2), &topology), on_second);
        assert_eq!(local_pages(&pages, cpu(0), cpu(2), &topology), None, "it moved");
        assert_eq!(local_pages(&pages, cpu(9), cpu(9), &topology), None, "no node names the CPU");
    }
}
