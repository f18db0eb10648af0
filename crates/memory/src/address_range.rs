//! Where memory lies that need not be a region's.

use std::ffi::{c_int, c_void};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr;

use firsttouch_topology::NodeId;

use crate::{MemoryError, sys};

/// The addresses of some memory, whoever mapped it: a region, a `Vec`, a file.
///
/// It borrows nothing, and reaches no byte: it can only be asked where its
/// pages lie. Addresses that are mapped no more have pages that lie nowhere.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use firsttouch_memory::AddressRange;
///
/// let numbers = vec![1_u64; 100_000];
/// match AddressRange::of(&numbers).node_runs(NonZeroUsize::MIN) {
///     Ok(runs) => {
///         for run in &runs {
///             println!("bytes {:?}: node {:?}", run.bytes, run.node);
///         }
///         assert_eq!(runs.last().map(|run| run.bytes.end), Some(800_000));
///     }
///     // Some containers refuse the call.
///     Err(error) if error.is_refused() => {}
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), firsttouch_memory::MemoryError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// Invariant: at most `end`.
    start: usize,
    end: usize,
}

/// Neighbouring bytes whose pages lie on one node, or on none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeRun {
    /// The node; `None` where no page is present, or the kernel does not tell.
    pub node: Option<NodeId>,
    /// The bytes, from the range's start.
    pub bytes: Range<usize>,
}

impl AddressRange {
    /// Returns the addresses of a slice's elements.
    #[must_use]
    pub fn of<T>(slice: &[T]) -> Self {
        let Range { start, end } = slice.as_ptr_range();
        Self { start: start.addr(), end: end.addr() }
    }

    /// Returns the first address.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Returns the bytes in the range.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Returns whether there is no byte in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns the addresses of a part of the bytes.
    ///
    /// # Panics
    ///
    /// Where the bytes are not in the range.
    #[must_use]
    pub fn part(&self, bytes: Range<usize>) -> Self {
        assert!(
            bytes.start <= bytes.end && bytes.end <= self.len(),
            "bytes {bytes:?} are not within the range's {}",
            self.len()
        );
        Self { start: self.start + bytes.start, end: self.start + bytes.end }
    }

    /// Asks where the pages of the range lie: runs that cover it in order, neighbours on different nodes.
    ///
    /// Of each `every` base pages, counted from address 0, the first in the
    /// range answers for all: 1 asks about every page. Runs start and end
    /// where a page does, or the range. Pages that were only read and are the
    /// kernel's page of zeros, pages in swap, and on kernels around 6.1 pages
    /// that automatic NUMA balancing is watching, lie nowhere.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Refused`] where `move_pages` is not to be had.
    /// - [`MemoryError::Call`] where the kernel runs out of memory.
    pub fn node_runs(&self, every: NonZeroUsize) -> Result<Vec<NodeRun>, MemoryError> {
        /// Large enough that the call's own cost vanishes, small enough for the cache.
        const AT_ONCE: usize = 16 << 10;
        let page_bytes = sys::page_bytes();
        let step = page_bytes.saturating_mul(every.get());
        let mut runs: Vec<NodeRun> = Vec::new();
        let mut addresses = Vec::new();
        let mut status = Vec::new();
        let mut start = self.start;
        let mut asked_from = start;
        loop {
            if start < self.end && addresses.len() < AT_ONCE {
                addresses.push(ptr::without_provenance(start - start % page_bytes));
                start = next_multiple(start, step).min(self.end);
                continue;
            }
            // Also where nothing is left to ask, so that a refusal is seen whatever is asked.
            ask(&addresses, &mut status)
                .map_err(|source| MemoryError::from_call("move_pages", None, source))?;
            for &status in &status {
                let end = next_multiple(asked_from, step).min(self.end);
                let node = u32::try_from(status).ok().map(NodeId::new);
                let bytes = asked_from - self.start..end - self.start;
                match runs.last_mut() {
                    Some(last) if last.node == node => last.bytes.end = bytes.end,
                    _ => runs.push(NodeRun { node, bytes }),
                }
                asked_from = end;
            }
            addresses.clear();
            if start == self.end {
                return Ok(runs);
            }
        }
    }
}

/// The next multiple of `step` after an address; the last address where there is none.
fn next_multiple(address: usize, step: usize) -> usize {
    (address - address % step).saturating_add(step)
}

fn ask(addresses: &[*const c_void], status: &mut Vec<c_int>) -> std::io::Result<()> {
    status.clear();
    status.resize(addresses.len(), 0);
    sys::page_nodes(addresses, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_multiple_is_past_the_address_and_does_not_overflow() {
        assert_eq!(next_multiple(0, 4096), 4096);
        assert_eq!(next_multiple(4095, 4096), 4096);
        assert_eq!(next_multiple(4096, 4096), 8192);
        assert_eq!(next_multiple(usize::MAX, 4096), usize::MAX);
        assert_eq!(next_multiple(5, usize::MAX), usize::MAX);
    }

    #[test]
    fn a_part_has_its_share_of_the_addresses() {
        let bytes = [0_u8; 100];
        let whole = AddressRange::of(&bytes);
        assert_eq!((whole.len(), whole.part(10..30).len()), (100, 20));
        assert_eq!(whole.part(10..30).part(5..6).start(), whole.start() + 15);
        assert!(whole.part(100..100).is_empty());
        assert!(AddressRange::of::<u64>(&[]).is_empty());
    }
}
