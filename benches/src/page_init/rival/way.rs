//! How a runtime that knows nothing of pages is used to initialise them.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::OnceLock;

use anyhow::{Context, bail};
use firsttouch::memory::{Part, Parts};
use firsttouch::{PageSize, Region};

use super::Here;
use crate::runtime::Runtime;

/// Bytes of the pieces that are handed out for populating or filling, at least a page.
///
/// Few enough that handing them out takes no time, and enough for several per thread.
pub(crate) const PIECE: usize = 8 << 20;

/// Bytes of base pages that are populated before they are filled: a core's own cache holds them.
pub(super) const STEP: usize = 256 << 10;

/// A way of having a runtime initialise pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A loop over pages: one byte of each is written, or all of them where they are not to be zero.
    Touch,
    /// A loop over pieces: each is written from end to end.
    FillPieces,
    /// Every thread writes an even share of its own from end to end.
    FillShares,
    /// A loop over pieces: each is populated by one call, and then filled where it is not to be zero.
    Populate,
}

/// A runtime, and the way it is used.
pub(super) struct Used {
    pub(super) runtime: Box<dyn Runtime>,
    pub(super) way: Way,
    pub(super) threads: NonZeroUsize,
}

impl Here for Used {
    fn init(&mut self, region: &mut Region, value: u8) -> anyhow::Result<()> {
        let (len, page, step) = (region.len(), page_to_touch(region), step(region));
        let piece = piece(region, self.threads);
        let parts = region.parts();
        let cut = |index: usize, piece: usize| index * piece..((index + 1) * piece).min(len);
        let failed = OnceLock::new();
        let done = match self.way {
            Way::Touch => self.runtime.for_each(len.div_ceil(page), &|index| {
                // SAFETY: [once] the runtime calls each index once, and pages are disjoint.
                touch(&mut unsafe { parts.part(cut(index, page)) }, value);
            }),
            Way::FillPieces => self.runtime.for_each(len.div_ceil(piece), &|index| {
                // SAFETY: [once] as above, by pieces.
                unsafe { parts.part(cut(index, piece)) }.as_mut_slice().fill(value);
            }),
            Way::FillShares => {
                let share = len.div_ceil(self.threads.get()).next_multiple_of(page);
                self.runtime.broadcast(&|index| {
                    let start = (index * share).min(len);
                    let range = start..(start + share).min(len);
                    // SAFETY: [once] as above, by shares.
                    unsafe { parts.part(range) }.as_mut_slice().fill(value);
                })
            }
            Way::Populate => self.runtime.for_each(len.div_ceil(piece), &|index| {
                // SAFETY: [once] as above, by pieces.
                let populated = unsafe { populate(parts, cut(index, piece), step, value) };
                if let Err(error) = populated {
                    // The first failure is told; the others are no news.
                    let _ = failed.set(error);
                }
            }),
        };
        done.context("the runtime has no counterpart for this")?;
        match failed.into_inner() {
            Some(error) => bail!(error),
            None => Ok(()),
        }
    }
}

/// Bytes between two touches: transparent huge pages may turn out to be base pages.
fn page_to_touch(region: &Region) -> usize {
    match region.page_size() {
        PageSize::Huge(size) => size.bytes(),
        _ => rustix::param::page_size(),
    }
}

/// Bytes that are populated before they are filled.
pub(super) fn step(region: &Region) -> usize {
    match region.page_size() {
        PageSize::Base => STEP,
        _ => region.page_bytes(),
    }
}

/// Bytes of a piece: [`PIECE`], or less where threads would go without, in whole pages.
pub(super) fn piece(region: &Region, threads: NonZeroUsize) -> usize {
    let share = region.len().div_ceil(threads.get());
    share.min(PIECE).next_multiple_of(region.page_bytes())
}

fn touch(part: &mut Part<'_>, value: u8) {
    let bytes = part.as_mut_slice();
    match bytes.first_mut() {
        Some(first) if value == 0 => *first = 0,
        _ => bytes.fill(value),
    }
}

/// Populates a range, and fills it step by step where it is not to be zero.
///
/// # Safety
///
/// - `[once]` Nobody else uses the range meanwhile.
pub(super) unsafe fn populate(
    parts: Parts<'_>,
    range: Range<usize>,
    step: usize,
    value: u8,
) -> Result<(), firsttouch::MemoryError> {
    if value == 0 {
        // SAFETY: [once] is the caller's.
        return unsafe { parts.part(range) }.populate();
    }
    for start in range.clone().step_by(step) {
        // SAFETY: [once] is the caller's; one step at a time.
        let mut part = unsafe { parts.part(start..(start + step).min(range.end)) };
        part.populate()?;
        part.as_mut_slice().fill(value);
    }
    Ok(())
}
