//! Touching pages without changing them, and giving them back.

use std::io;
use std::ops::Range;
use std::thread;

use rustix::mm::Advice;

use crate::mapping::Extent;
use crate::{MemoryError, OptionalCall, sys};

const POPULATE_WRITE: &str = "madvise(MADV_POPULATE_WRITE)";

/// Places every page of a range.
///
/// # Safety
///
/// - `[exclusive]` Nobody else accesses the range's bytes meanwhile.
pub(crate) unsafe fn populate(extent: &Extent, range: &Range<usize>) -> Result<(), MemoryError> {
    if range.is_empty() {
        return Ok(());
    }
    if OptionalCall::PopulateWrite.may_work() {
        let pages = extent.widened(range, sys::page_bytes());
        match advise_populate(extent, &pages) {
            Ok(()) => return Ok(()),
            // Memory as plain as this gives the kernel nothing else to reject;
            // emulated kernels and filters have errors of their own for it.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP)
                ) =>
            {
                OptionalCall::PopulateWrite.remember_missing(&error);
            }
            Err(error) => {
                return Err(MemoryError::from_call(POPULATE_WRITE, Some(range.clone()), error));
            }
        }
    }
    // SAFETY: [exclusive] is the caller's.
    unsafe { touch(extent, range) };
    Ok(())
}

/// Populates whole pages by `MADV_POPULATE_WRITE`.
fn advise_populate(extent: &Extent, pages: &Range<usize>) -> io::Result<()> {
    const MOST_TRIES: u32 = 1000;
    let mut tries = 0;
    loop {
        // SAFETY: [owned] by the region; [content] stays: the kernel acts as if
        // each page were written, and writes nothing.
        let answer =
            unsafe { sys::advise(extent.at(pages.start), pages.len(), Advice::LinuxPopulateWrite) };
        match answer {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < MOST_TRIES => {
                tries += 1;
                thread::yield_now();
            }
            answer => return answer,
        }
    }
}

/// Writes one byte of each page of a range with the value that it has.
///
/// # Safety
///
/// - `[exclusive]` Nobody else accesses the range's bytes meanwhile.
unsafe fn touch(extent: &Extent, range: &Range<usize>) {
    // Transparent huge pages may turn out to be base pages, so each of those
    // is touched; hugetlb pages are what they are.
    let step = match extent.page_size {
        crate::PageSize::Huge(size) => size.bytes(),
        _ => sys::page_bytes(),
    };
    let mut offset = range.start;
    while offset < range.end {
        let byte = extent.at(offset).as_ptr();
        // SAFETY: the byte is mapped, initialised, and [exclusive].
        let value = unsafe { byte.read_volatile() };
        // SAFETY: as above.
        unsafe { byte.write_volatile(value) };
        // The mapping's end is a multiple of the step, so this does not overflow.
        offset = (offset + 1).next_multiple_of(step);
    }
}

/// Whether the pages of a discarded range went back to the kernel.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discarded {
    /// They did; the range has no place.
    Pages,
    /// They could not, and were overwritten with zeros where they are.
    Contents,
}

/// Makes whole pages read as zero, without a place if that can be had.
///
/// # Safety
///
/// - `[exclusive]` Nothing refers to the pages' bytes.
pub(crate) unsafe fn discard(
    extent: &Extent,
    pages: &Range<usize>,
) -> Result<Discarded, MemoryError> {
    let start = extent.at(pages.start);
    // SAFETY: [owned] by the region; [content] nothing refers to it, by [exclusive].
    match unsafe { sys::advise(start, pages.len(), Advice::LinuxDontNeed) } {
        Ok(()) => Ok(Discarded::Pages),
        // Hugetlb pages before Linux 5.18, and locked pages.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            tracing::debug!(?pages, "pages cannot be given back; writing zeros instead");
            // SAFETY: the pages are mapped, and nothing refers to them by [exclusive].
            unsafe { start.write_bytes(0, pages.len()) };
            Ok(Discarded::Contents)
        }
        Err(error) => {
            Err(MemoryError::from_call("madvise(MADV_DONTNEED)", Some(pages.clone()), error))
        }
    }
}
