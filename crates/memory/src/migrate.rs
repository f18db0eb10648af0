//! Moving pages to a node.

use std::ffi::{c_int, c_void};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::thread;
use std::time::Duration;

use firsttouch_topology::NodeId;

use crate::mapping::Extent;
use crate::{MemoryError, PageSize, Region, sys};

/// Addresses of one call: a call has every CPU hand in the pages it keeps aside, so it is to be worth that.
const AT_ONCE: usize = 16 << 10;

/// How often pages are tried that do not move, before they count as busy.
const TRIES: u32 = 6;

/// How long to wait before the second try; each later wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_micros(500);

/// What the kernel leaves where it did not try: no node, and no errno.
const NOT_TRIED: c_int = c_int::MIN;

/// What became of pages that were to move to a node, in base pages.
///
/// Each page is counted once, by where the kernel says that it is afterwards:
/// in `moved` to `fixed` where all of them are tried, and in all of the fields
/// where something ends that early, such as a call that fails ([`MigrateError`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrated {
    /// Pages that were on another node and are on this one now.
    pub moved: u64,
    /// Pages that were on the node before.
    pub already: u64,
    /// Pages that lie nowhere: not touched yet, or in swap; what the kernel names no node for.
    pub absent: u64,
    /// Pages that stay where they were, as somebody else held them each time they were tried (I/O, a pin of a device).
    pub busy: u64,
    /// Pages that stay where they were, as the node has no room.
    pub no_room: u64,
    /// Pages that stay where they were for another reason: a child process shares them, or the kernel cannot move their kind.
    pub fixed: u64,
    /// Pages that were tried together when a call failed, but for those of which it was known by then what came of them.
    ///
    /// Some may have moved, and where the kernel was not asked yet, some may lie nowhere.
    pub failed: u64,
    /// Pages whose turn never came; they stay where they were.
    ///
    /// A call for other pages had failed, or a job had ended early for another
    /// reason, such as a bound node without room.
    pub not_tried: u64,
}

/// Why pages do not move, and what had become of all that were to move by then.
#[derive(Debug, thiserror::Error)]
#[error("a call failed, and {} of {} base pages may not have moved", .pages.unsettled(), .pages.total())]
#[non_exhaustive]
pub struct MigrateError {
    /// What became of the pages, those included that the failure left [untold](Migrated::failed) or [untried](Migrated::not_tried).
    pub pages: Box<Migrated>,
    /// The kernel's answer.
    #[source]
    pub source: MemoryError,
}

impl MigrateError {
    /// Makes an error of what became of the pages and why no more did.
    #[must_use]
    pub fn new(pages: Migrated, source: MemoryError) -> Self {
        Self { pages: Box::new(pages), source }
    }

    /// Returns whether the environment refuses the call; see [`MemoryError::is_refused`].
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.source.is_refused()
    }
}

impl From<MigrateError> for MemoryError {
    /// Keeps the kernel's answer alone.
    fn from(error: MigrateError) -> Self {
        error.source
    }
}

impl Migrated {
    /// Adds the counts of other pages.
    pub fn merge(&mut self, other: &Self) {
        self.moved += other.moved;
        self.already += other.already;
        self.absent += other.absent;
        self.busy += other.busy;
        self.no_room += other.no_room;
        self.fixed += other.fixed;
        self.failed += other.failed;
        self.not_tried += other.not_tried;
    }

    /// Returns all pages that were to move.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.there() + self.elsewhere() + self.absent + self.unsettled()
    }

    /// Returns the pages that are on the node now.
    #[must_use]
    pub fn there(&self) -> u64 {
        self.moved + self.already
    }

    /// Returns the pages that are on another node all the same.
    #[must_use]
    pub fn elsewhere(&self) -> u64 {
        self.busy + self.no_room + self.fixed
    }

    /// Returns the pages of which nothing is known, as a call failed or the job ended early.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        self.failed + self.not_tried
    }
}

impl Region {
    /// Moves the pages of a range of bytes to a node, and returns what became of them.
    ///
    /// Contents and addresses stay. Transparent huge pages and hugetlb pages
    /// move as units, so a range should start and end on
    /// [pages of the region](Region::page_bytes): one that has a part of a huge
    /// page moves all of it. Pages that are touched later go where the range's
    /// [policy](Region::set_policy) says, whatever moved before. Pages that
    /// somebody holds for the moment are tried again a few times.
    ///
    /// # Errors
    ///
    /// The error counts all pages too, and has as its source
    ///
    /// - [`MemoryError::Refused`] where `move_pages` is not to be had;
    /// - [`MemoryError::Call`] where there is no such node, or it has no
    ///   memory, or the process may have none there.
    ///
    /// A node without room is no error: see [`Migrated::no_room`].
    ///
    /// # Panics
    ///
    /// Where the range is outside of the region.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_memory::Region;
    /// use firsttouch_topology::NodeId;
    ///
    /// let mut region = Region::builder(1 << 20).build()?;
    /// region.populate(0..region.len() / 2)?;
    /// match region.migrate(0..region.len(), NodeId::new(0)) {
    ///     Ok(pages) => assert_eq!(pages.there() + pages.elsewhere(), pages.absent),
    ///     // Some containers refuse the call.
    ///     Err(error) if error.is_refused() => {}
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok::<(), firsttouch_memory::MemoryError>(())
    /// ```
    pub fn migrate(&mut self, range: Range<usize>, node: NodeId) -> Result<Migrated, MigrateError> {
        to_node(self.extent(), [range], node)
    }
}

/// Moves the pages of ranges of a region to a node.
pub(crate) fn to_node(
    extent: &Extent,
    ranges: impl IntoIterator<Item = Range<usize>>,
    node: NodeId,
) -> Result<Migrated, MigrateError> {
    let base = sys::page_bytes();
    // Of a transparent huge page every base page is asked about, as the kernel
    // may have base pages instead.
    let step = if let PageSize::Huge(size) = extent.page_size { size.bytes() } else { base };
    let mut batch = Batch {
        node: node.os_index().try_into().unwrap_or(c_int::MAX),
        weight: (step / base) as u64,
        unit: extent.page_bytes,
        has_units: extent.page_size == PageSize::Transparent,
        pages: Vec::new(),
        unseen: Vec::new(),
        is_hard: false,
        migrated: Migrated::default(),
        failure: None,
    };
    for range in ranges {
        extent.check(&range);
        for offset in extent.widened(&range, step).step_by(step) {
            batch.pages.push(extent.at(offset).as_ptr());
            // Whole huge pages, so that the second half of one is not found there already.
            if batch.pages.len() >= AT_ONCE && (offset + step) % batch.unit == 0 {
                batch.run();
            }
        }
    }
    // Also where nothing is left to move, so that a refusal does not depend on what is there.
    batch.run();
    let Batch { migrated, failure, .. } = batch;
    tracing::trace!(%node, ?migrated, "moved pages");
    match failure {
        None => Ok(migrated),
        Some(source) => Err(MigrateError::new(migrated, source)),
    }
}

/// Pages to move by one call, as far as that goes.
struct Batch {
    node: c_int,
    /// Base pages that an address stands for.
    weight: u64,
    /// Bytes of a huge page, of which there may be some.
    unit: usize,
    has_units: bool,
    pages: Vec<*mut u8>,
    /// Those of which the kernel named no node.
    unseen: Vec<*mut u8>,
    /// Whether the node was full, or pages were busy.
    is_hard: bool,
    migrated: Migrated,
    /// Why no page is tried any more.
    failure: Option<MemoryError>,
}

/// What one try came to.
#[must_use]
enum Tried {
    /// The kernel tried what it could.
    Some,
    /// The node has no room.
    Full,
}

impl Batch {
    /// Moves the pages unless a call has failed, counts what came of each, and empties the batch.
    fn run(&mut self) {
        let mut left = std::mem::take(&mut self.pages);
        if self.failure.is_some() {
            self.migrated.not_tried += left.len() as u64 * self.weight;
            return;
        }
        let tried = self.try_to_move(&mut left);
        self.count_unseen();
        let Err(source) = tried else { return };
        self.migrated.failed += left.len() as u64 * self.weight;
        self.failure = Some(match source.raw_os_error() {
            Some(libc::EACCES) => MemoryError::Call {
                call: "move_pages",
                range: None,
                meaning: "the process may have no memory on the node (by its cpuset)",
                source,
            },
            _ => MemoryError::from_call("move_pages", None, source),
        });
    }

    /// Moves pages; where it fails, those are left that are not counted yet.
    fn try_to_move(&mut self, left: &mut Vec<*mut u8>) -> io::Result<()> {
        self.migrated.already += self.drop_settled(left, None)?;
        if self.has_units && !left.is_empty() {
            // The first page of a huge page takes all of it along.
            let unit = self.unit;
            let mut last = usize::MAX;
            let heads = left.iter().copied().filter(|page| {
                let head = page.addr() / unit;
                std::mem::replace(&mut last, head) != head
            });
            let heads: Vec<_> = heads.collect();
            // A full node shows again where what is left is tried.
            let _ = self.try_once(&heads, &mut Vec::new())?;
            self.migrated.moved += self.drop_settled(left, None)?;
        }
        let mut tries = 0;
        while !left.is_empty() {
            let mut status = Vec::new();
            let tried = self.try_once(left, &mut status)?;
            let before = left.len();
            self.migrated.moved += self.drop_settled(left, Some(&mut status))?;
            let stay = left.len() as u64 * self.weight;
            if stay == 0 {
                break;
            }
            self.is_hard = true;
            if matches!(tried, Tried::Full) {
                self.migrated.no_room += stay;
                break;
            }
            if left.len() < before {
                continue;
            }
            let fixed = |status: &c_int| *status < 0 && !is_passing(*status);
            if tries + 1 == TRIES || status.iter().all(fixed) {
                let fixed = status.iter().filter(|status| fixed(status)).count() as u64;
                self.migrated.fixed += fixed * self.weight;
                self.migrated.busy += stay - fixed * self.weight;
                break;
            }
            // What the kernel did not come to goes first.
            let mut order: Vec<_> = left.iter().copied().zip(status).collect();
            order.sort_by_key(|(_, status)| *status != NOT_TRIED);
            *left = order.into_iter().map(|(page, _)| page).collect();
            thread::sleep(FIRST_WAIT * 2_u32.pow(tries));
            tries += 1;
        }
        Ok(())
    }

    /// Has the kernel move what it can.
    fn try_once(&self, pages: &[*mut u8], status: &mut Vec<c_int>) -> io::Result<Tried> {
        status.clear();
        status.resize(pages.len(), NOT_TRIED);
        match sys::move_pages(&addresses(pages), self.node, status) {
            Ok(_) if status.contains(&-libc::ENOMEM) => Ok(Tried::Full),
            Ok(_) => Ok(Tried::Some),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOMEM) => Ok(Tried::Full),
                // No page was found that could move, or none for the moment.
                Some(libc::ENOENT | libc::EBUSY | libc::EAGAIN | libc::EINTR) => Ok(Tried::Some),
                _ => Err(error),
            },
        }
    }

    /// Whether the pages are hugetlb pages.
    fn has_hugetlb(&self) -> bool {
        self.weight > 1
    }

    /// Has pages read that are there and of which the kernel names no node; returns whether there were any.
    ///
    /// Kernels around 6.1 neither name nor move a page that automatic NUMA
    /// balancing is watching, which they do until it is next accessed.
    fn end_watching(&self, pages: &[*mut u8], now: &[c_int]) -> bool {
        let base = sys::page_bytes();
        let mut any = false;
        let mut index = 0;
        while index < pages.len() {
            let first = index;
            let next = |index: usize| pages[first].wrapping_add((index - first) * base);
            while index < pages.len() && now[index] == -libc::ENOENT && pages[index] == next(index)
            {
                index += 1;
            }
            if index == first {
                index += 1;
                continue;
            }
            // Pages come from a mapping, of which none is at address 0.
            let Some(start) = NonNull::new(pages[first]) else { continue };
            let Ok(resident) = sys::resident(start, index - first) else { continue };
            for (page, _) in pages[first..index].iter().zip(resident).filter(|(_, there)| *there) {
                // Without the advice, before Linux 5.14, the page counts as absent.
                any |= NonNull::new(*page).is_some_and(|page| sys::read_page(page).is_ok());
            }
        }
        any
    }

    /// Asks where the pages are, and drops those on the node and those that are nowhere; keeps the latter, returns how many the former are.
    ///
    /// What is dropped of the pages is dropped of what the kernel said of them.
    fn drop_settled(
        &mut self,
        pages: &mut Vec<*mut u8>,
        said: Option<&mut Vec<c_int>>,
    ) -> io::Result<u64> {
        let mut now = vec![0; pages.len()];
        sys::page_nodes(&addresses(pages), &mut now)?;
        if !self.has_hugetlb() && self.end_watching(pages, &now) {
            sys::page_nodes(&addresses(pages), &mut now)?;
        }
        let there = now.iter().filter(|&&now| now == self.node).count() as u64;
        let unseen = pages.iter().zip(&now).filter(|(_, now)| **now < 0);
        self.unseen.extend(unseen.map(|(&page, _)| page));
        let stays: Vec<bool> = now.iter().map(|&now| now >= 0 && now != self.node).collect();
        let mut keep = stays.iter();
        pages.retain(|_| *keep.next().unwrap_or(&false));
        if let Some(said) = said {
            let mut keep = stays.iter();
            said.retain(|_| *keep.next().unwrap_or(&false));
        }
        Ok(there * self.weight)
    }

    /// Counts the pages of which the kernel named no node.
    ///
    /// They are not there; or somebody was moving them, as the kernel does to
    /// make room where there is little. So where that is likely they are asked
    /// about once more.
    fn count_unseen(&mut self) {
        let unseen = std::mem::take(&mut self.unseen);
        let mut now = vec![-libc::ENOENT; unseen.len()];
        if std::mem::take(&mut self.is_hard) && !unseen.is_empty() {
            thread::sleep(FIRST_WAIT);
            // Where it is refused now, they count as absent.
            let _ = sys::page_nodes(&addresses(&unseen), &mut now);
        }
        for now in now {
            let count = match now {
                now if now == self.node => &mut self.migrated.moved,
                ..0 => &mut self.migrated.absent,
                _ => &mut self.migrated.busy,
            };
            *count += self.weight;
        }
    }
}

fn addresses(pages: &[*mut u8]) -> Vec<*const c_void> {
    pages.iter().map(|page| page.cast_const().cast()).collect()
}

/// Whether what the kernel says of a page may be otherwise a moment later.
fn is_passing(status: c_int) -> bool {
    status == NOT_TRIED || [libc::EBUSY, libc::EAGAIN, libc::ENOENT].contains(&-status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_was_not_tried_may_move_later_and_a_shared_one_may_not() {
        assert!(is_passing(NOT_TRIED) && is_passing(-libc::EBUSY));
        assert!(!is_passing(-libc::EACCES) && !is_passing(-libc::EINVAL));
    }

    #[test]
    fn counts_merge_field_by_field() {
        let one = Migrated {
            moved: 1,
            already: 2,
            absent: 3,
            busy: 4,
            no_room: 5,
            fixed: 6,
            failed: 7,
            not_tried: 8,
        };
        let mut two = one.clone();
        two.merge(&one);
        let expected = Migrated {
            moved: 2,
            already: 4,
            absent: 6,
            busy: 8,
            no_room: 10,
            fixed: 12,
            failed: 14,
            not_tried: 16,
        };
        assert_eq!(two, expected);
        assert_eq!((two.there(), two.elsewhere(), two.unsettled()), (6, 30, 30));
        assert_eq!(two.total(), 2 * 36);
    }
}
