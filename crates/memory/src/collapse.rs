//! Putting base pages into transparent huge pages.

use std::io;
use std::ops::Range;
use std::thread;

use crate::mapping::Extent;
use crate::{MemoryError, OptionalCall, PageSize, sys};

const COLLAPSE: &str = "madvise(MADV_COLLAPSE)";

/// What came of one huge page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Huge,
    /// It stays as it was.
    AsItWas,
}

/// Puts the pages of whole huge pages into huge pages; returns the bytes that huge pages map then.
pub(crate) fn collapse(extent: &Extent, pages: &Range<usize>) -> Result<usize, MemoryError> {
    if extent.page_size != PageSize::Transparent {
        return Err(MemoryError::NotTransparent { page_size: extent.page_size });
    }
    let unsupported = || MemoryError::UnsupportedCall { call: COLLAPSE, since: "6.1" };
    if !OptionalCall::Collapse.may_work() {
        return Err(unsupported());
    }
    let mut huge = 0;
    // One call could do it all, but would not tell what came of each.
    for start in pages.clone().step_by(extent.page_bytes) {
        match one(extent, start) {
            Ok(Came::Huge) => huge += extent.page_bytes,
            Ok(Came::AsItWas) => {}
            Err(error) => {
                // The kernel also answers so where a page cannot be collapsed:
                // only a call that never works is missing.
                let is_known = huge > 0 || is_known(extent);
                if error.raw_os_error() == Some(libc::EINVAL) && is_known {
                    continue;
                }
                if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) {
                    OptionalCall::Collapse.remember_missing(&error);
                    return Err(unsupported());
                }
                return Err(MemoryError::from_call(COLLAPSE, Some(pages.clone()), error));
            }
        }
    }
    Ok(huge)
}

/// Whether the kernel knows the advice: over no bytes it does nothing, and says so only where it knows it.
fn is_known(extent: &Extent) -> bool {
    sys::collapse(extent.at(0), 0).is_ok()
}

/// Collapses one huge page.
fn one(extent: &Extent, start: usize) -> io::Result<Came> {
    const MOST_TRIES: u32 = 3;
    let mut tries = 0;
    loop {
        match sys::collapse(extent.at(start), extent.page_bytes) {
            Ok(()) => return Ok(Came::Huge),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A page is locked or off its list for a moment.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < MOST_TRIES => {
                tries += 1;
                thread::yield_now();
            }
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM)
                ) =>
            {
                tracing::debug!(%error, start, "a huge page's range stays as it was");
                return Ok(Came::AsItWas);
            }
            Err(error) => return Err(error),
        }
    }
}
