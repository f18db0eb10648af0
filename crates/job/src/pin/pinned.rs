//! A region while it is pinned.

use std::borrow::BorrowMut;
use std::ops::{Deref, DerefMut};

use firsttouch_memory::{MemoryError, Region};

use crate::{JobError, PinReport};

/// A region whose pages are pinned; dropping it unlocks them.
///
/// It is used as the [`Region`] that it is. Pages that are
/// [discarded](Region::discard) while it is pinned are overwritten with zeros
/// and stay.
///
/// Unlocking is one call of the kernel's: it walks over all pages on one
/// thread, and does not get faster by several. Made by
/// [`PagePin::run`](crate::PagePin::run).
#[must_use = "dropping it unlocks the pages"]
#[derive(Debug)]
pub struct PinnedPages<R: BorrowMut<Region>> {
    /// `None` once it is given back.
    region: Option<R>,
    /// `None` while the pages are being pinned.
    report: Option<PinReport>,
}

impl<R: BorrowMut<Region>> PinnedPages<R> {
    /// Locks a region; its pages come later.
    pub(super) fn lock(mut region: R) -> Result<Self, MemoryError> {
        region.borrow_mut().lock()?;
        Ok(Self { region: Some(region), report: None })
    }

    pub(super) fn set_report(&mut self, report: PinReport) {
        self.report = Some(report);
    }

    /// Returns what the pinning did.
    #[must_use]
    pub fn report(&self) -> &PinReport {
        self.report.as_ref().expect("it is made before the value is given out")
    }

    /// Unlocks the pages, which stay where they are, and returns the region.
    ///
    /// # Errors
    ///
    /// [`JobError::Lock`] where the kernel refuses; an owned region is dropped
    /// then, which unlocks its pages too.
    pub fn unlock(mut self) -> Result<R, JobError> {
        let mut region = self.region.take().expect(HERE);
        region.borrow_mut().unlock().map_err(JobError::Lock)?;
        Ok(region)
    }
}

/// Why there is a region.
const HERE: &str = "only unlock takes it, and that ends the value";

impl<R: BorrowMut<Region>> Deref for PinnedPages<R> {
    type Target = Region;

    fn deref(&self) -> &Region {
        self.region.as_ref().expect(HERE).borrow()
    }
}

impl<R: BorrowMut<Region>> DerefMut for PinnedPages<R> {
    fn deref_mut(&mut self) -> &mut Region {
        self.region.as_mut().expect(HERE).borrow_mut()
    }
}

impl<R: BorrowMut<Region>> Drop for PinnedPages<R> {
    fn drop(&mut self) {
        if let Some(region) = &mut self.region {
            if let Err(error) = region.borrow_mut().unlock() {
                tracing::warn!(%error, "a region stays locked");
            }
        }
    }
}
