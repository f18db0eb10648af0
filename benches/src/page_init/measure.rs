//! One repetition of one row.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use anyhow::ensure;
use firsttouch::topology::affinity;
use firsttouch::{NodeId, PageInit, PageSize, Pool, Region, Residency, Topology};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Base pages that were initialised.
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
}

/// Measures what a program does today: one thread writes zeros through a fresh mapping.
pub(super) fn serial(
    bytes: usize,
    page_size: PageSize,
    topology: &Topology,
) -> anyhow::Result<Sample> {
    warm(bytes, page_size, Toucher::Caller)?;
    let mut region = Region::builder(bytes).page_size(page_size).build()?;
    let node = || topology.node_of_cpu(affinity::current_cpu());
    let node_before = node();
    let start = Instant::now();
    write_zeros(region.as_mut_slice());
    let elapsed = start.elapsed();
    let node_after = node();
    // A thread that changed its node in between touched its pages from both.
    let node = node_after.filter(|_| node_before == node_after);
    let places = match region.residency(0..bytes) {
        Ok(residency) => Some(places(&residency, node.map(|node| residency.pages_on(node)))?),
        Err(error) if error.is_refused() => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Sample { elapsed, places, nodes: Vec::new() })
}

/// Never inlined and opaque at both ends, so that no compiler finds out that the bytes are zero
/// already or that nobody reads them.
#[inline(never)]
fn write_zeros(bytes: &mut [u8]) {
    black_box(&mut *bytes).fill(0);
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
    let nodes = report.nodes.iter().filter_map(|part| {
        let (elapsed, bytes) = (part.elapsed, part.size);
        part.node.map(|node| NodeSample { node, elapsed, bytes })
    });
    let nodes = nodes.collect();
    let places = report.pages.map(|pages| places(&pages.residency, Some(pages.local)));
    Ok(Sample { elapsed: report.elapsed, places: places.transpose()?, nodes })
}

/// Makes sure that nothing was left out: a fast row that skipped pages is no result.
fn places(residency: &Residency, local: Option<u64>) -> anyhow::Result<Places> {
    let (pages, missing) = (residency.present(), residency.not_present());
    ensure!(missing == 0, "{missing} pages were left uninitialised beside {pages} that were not");
    let larger = residency.page_sizes().filter(|&(bytes, _)| bytes > residency.page_bytes());
    Ok(Places { pages, local, huge_bytes: larger.map(|(_, bytes)| bytes).sum() })
}
