//! Where the pages of a range lie.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::ops::Range;

use firsttouch_topology::NodeId;

use crate::mapping::Extent;
use crate::present::{self, HugeShare, Mapped};
use crate::{MemoryError, sys};

/// Where the pages of a range lie; counts are in base pages throughout.
///
/// A huge page counts as the base pages that it stands for. Pages that were
/// only read, and are the kernel's shared page of zeros, have no place and
/// count as not present; so do pages in swap, and pages that the kernel is
/// about to move.
///
/// Made by [`Region::residency`](crate::Region::residency); the default is
/// that of an empty range.
///
/// # Examples
///
/// ```
/// use firsttouch_memory::{Region, Residency};
///
/// let mut region = Region::builder(1 << 20).build()?;
/// region.populate(0..region.len())?;
/// let mut total = Residency::default();
/// for start in [0, 1 << 19] {
///     match region.residency(start..start + (1 << 19)) {
///         Ok(half) => total.merge(&half),
///         // Some containers refuse the call.
///         Err(error) if error.is_refused() => return Ok(()),
///         Err(error) => return Err(error),
///     }
/// }
/// assert_eq!(total.present() * total.page_bytes() as u64, 1 << 20);
/// for (node, pages) in total.nodes() {
///     println!("node {node} has {pages} pages");
/// }
/// # Ok::<(), firsttouch_memory::MemoryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residency {
    page_bytes: usize,
    /// Base pages on each node. Invariant: no count is zero.
    nodes: BTreeMap<NodeId, u64>,
    not_present: u64,
    /// Bytes mapped by pages of each size. Invariant: no count is zero.
    page_sizes: BTreeMap<usize, u64>,
}

impl Default for Residency {
    fn default() -> Self {
        Self {
            page_bytes: sys::page_bytes(),
            nodes: BTreeMap::new(),
            not_present: 0,
            page_sizes: BTreeMap::new(),
        }
    }
}

impl Residency {
    /// Returns the bytes of a counted page: the base page.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// Visits the nodes that have pages, ascending, with how many each has.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        self.nodes.iter().map(|(&node, &pages)| (node, pages))
    }

    /// Returns the pages on a node.
    #[must_use]
    pub fn pages_on(&self, node: NodeId) -> u64 {
        self.nodes.get(&node).copied().unwrap_or(0)
    }

    /// Returns the pages that lie on any node.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.nodes.values().sum()
    }

    /// Returns the pages that lie nowhere.
    #[must_use]
    pub fn not_present(&self) -> u64 {
        self.not_present
    }

    /// Visits the sizes of the pages that map the present memory: bytes per page, then bytes.
    ///
    /// Sizes ascend. Before Linux 6.7 the share of transparent huge pages in a
    /// part of a region is estimated from the share in the whole mapping, now
    /// or, for a small part, a moment ago.
    pub fn page_sizes(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.page_sizes.iter().map(|(&page, &bytes)| (page, bytes))
    }

    /// Adds the counts of another range.
    pub fn merge(&mut self, other: &Self) {
        for (node, pages) in other.nodes() {
            *self.nodes.entry(node).or_default() += pages;
        }
        for (page, bytes) in other.page_sizes() {
            self.add_size(page, bytes);
        }
        self.not_present += other.not_present;
    }

    fn add_size(&mut self, page: usize, bytes: u64) {
        if bytes != 0 {
            *self.page_sizes.entry(page).or_default() += bytes;
        }
    }

    /// Adds pages with the status that `move_pages` gave.
    fn add(&mut self, status: c_int, pages: u64) {
        match u32::try_from(status) {
            Ok(node) => *self.nodes.entry(NodeId::new(node)).or_default() += pages,
            // -ENOENT for no page, -EFAULT for the page of zeros; whatever else
            // the kernel says of a page, it names no node.
            Err(_) => self.not_present += pages,
        }
    }
}

/// Counts where the pages of a range of a region lie.
pub(crate) fn of(extent: &Extent, range: &Range<usize>) -> Result<Residency, MemoryError> {
    extent.check(range);
    let base = sys::page_bytes();
    let pages = extent.widened(range, base);
    if pages.is_empty() {
        return Ok(Residency::default());
    }
    let mut batch = Batch::new(range, pages.len() / base);
    let mut counted = pages.start;
    present::for_each_run(extent, &pages, |run, mapped| {
        batch.residency.not_present += ((run.start - counted) / base) as u64;
        counted = run.end;
        let step = if mapped == Mapped::Huge { extent.page_bytes } else { base };
        let mut start = run.start;
        while start < run.end {
            // The step divides the mapping, so this does not overflow.
            let end = (start + 1).next_multiple_of(step).min(run.end);
            batch.push(extent.at(start).as_ptr().cast(), ((end - start) / base) as u64, mapped)?;
            start = end;
        }
        Ok(())
    })?;
    // Also where nothing is left to ask, so that a refusal does not depend on what is present.
    batch.ask()?;
    let Batch { mut residency, huge, unknown, .. } = batch;
    residency.not_present += ((pages.end - counted) / base) as u64;
    let mut huge = huge * base as u64;
    if unknown != 0 {
        let share = HugeShare::of_range(extent, &pages);
        huge += share.of_present(unknown * base as u64, extent.page_bytes as u64);
    }
    residency.add_size(base, residency.present() * base as u64 - huge);
    residency.add_size(extent.page_bytes, huge);
    Ok(residency)
}

/// Addresses to ask about at once, and what was answered so far.
struct Batch<'a> {
    /// The range asked about, for errors.
    range: &'a Range<usize>,
    addresses: Vec<*const c_void>,
    /// For each address, the base pages that it stands for and what maps them.
    weights: Vec<(u64, Mapped)>,
    status: Vec<c_int>,
    residency: Residency,
    /// Present base pages that huge pages map.
    huge: u64,
    /// Present base pages of which it is not known what maps them.
    unknown: u64,
}

impl<'a> Batch<'a> {
    /// Large enough that the call's own cost vanishes, small enough for the cache.
    const ADDRESSES: usize = 16 << 10;

    /// Makes room for what a query of so many pages can need.
    fn new(range: &'a Range<usize>, pages: usize) -> Self {
        let room = pages.min(Self::ADDRESSES);
        Self {
            range,
            addresses: Vec::with_capacity(room),
            weights: Vec::with_capacity(room),
            status: vec![0; room],
            residency: Residency::default(),
            huge: 0,
            unknown: 0,
        }
    }

    /// Adds an address, and asks once there is no room for another.
    fn push(
        &mut self,
        address: *const c_void,
        pages: u64,
        mapped: Mapped,
    ) -> Result<(), MemoryError> {
        self.addresses.push(address);
        self.weights.push((pages, mapped));
        if self.addresses.len() == self.status.len() { self.ask() } else { Ok(()) }
    }

    /// Asks about the addresses, counts the answers, and empties the batch.
    fn ask(&mut self) -> Result<(), MemoryError> {
        let status = &mut self.status[..self.addresses.len()];
        sys::page_nodes(&self.addresses, status).map_err(|source| {
            MemoryError::from_call("move_pages", Some(self.range.clone()), source)
        })?;
        let answers = status.iter().zip(&self.weights);
        for (&status, &(pages, mapped)) in answers {
            self.residency.add(status, pages);
            match mapped {
                _ if status < 0 => {}
                Mapped::Base => {}
                Mapped::Huge => self.huge += pages,
                Mapped::Unknown => self.unknown += pages,
            }
        }
        self.addresses.clear();
        self.weights.clear();
        Ok(())
    }
}
