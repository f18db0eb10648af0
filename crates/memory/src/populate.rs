//! Touching pages without changing them, and giving them back.

use std::hint::black_box;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use rustix::mm::Advice;

use crate::backing::{Backing, FALLOCATE, FileBacking, FileKind};
use crate::mapping::Extent;
use crate::page_size::huge_page_pools;
use crate::{MemoryError, OptionalCall, PageSize, Policy, ThreadPolicy, policy, sys};

const POPULATE_READ: &str = "madvise(MADV_POPULATE_READ)";
const POPULATE_WRITE: &str = "madvise(MADV_POPULATE_WRITE)";

pub(crate) const DONT_NEED: &str = "madvise(MADV_DONTNEED)";

/// Places every page of a range.
///
/// # Safety
///
/// - `[exclusive]` Nothing else of this process accesses the range's bytes meanwhile.
pub(crate) unsafe fn populate(extent: &Extent, range: &Range<usize>) -> Result<(), MemoryError> {
    if range.is_empty() {
        return Ok(());
    }
    // Blocks of a file are had in long runs, and where there are none left
    // that is an error; touched page by page, each would be had by itself.
    if let Backing::File(file @ FileBacking { kind: FileKind::PageCache, .. }) = extent.backing {
        file.provide(extent, &extent.widened(range, sys::page_bytes()))?;
    }
    if OptionalCall::PopulateWrite.may_work() {
        let pages = extent.widened(range, sys::page_bytes());
        match advise_populate(extent, &pages, Advice::LinuxPopulateWrite) {
            Ok(()) => return Ok(()),
            Err(error) if is_missing(&error) => {
                OptionalCall::PopulateWrite.remember_missing(&error);
            }
            Err(error) => return Err(populate_error(extent, range, error)),
        }
    }
    // A touch of what cannot be had is killed by SIGBUS. Private memory has no
    // call to ask for it before; files have.
    if let Backing::File(file) = extent.backing {
        let pages = extent.widened(range, extent.page_bytes);
        file.provide(extent, &pages).map_err(|error| match error {
            MemoryError::Call { source, .. } if is_huge(extent) => {
                populate_error(extent, range, source)
            }
            error => error,
        })?;
    }
    // SAFETY: [exclusive] is the caller's.
    unsafe { touch(extent, range) };
    Ok(())
}

/// Reads every page of a range of a file that is not written to.
pub(crate) fn populate_read(extent: &Extent, range: &Range<usize>) -> Result<(), MemoryError> {
    if range.is_empty() {
        return Ok(());
    }
    if OptionalCall::PopulateRead.may_work() {
        let pages = extent.widened(range, sys::page_bytes());
        match advise_populate(extent, &pages, Advice::LinuxPopulateRead) {
            Ok(()) => return Ok(()),
            Err(error) if is_missing(&error) => {
                OptionalCall::PopulateRead.remember_missing(&error);
            }
            Err(error) => {
                return Err(MemoryError::from_call(POPULATE_READ, Some(range.clone()), error));
            }
        }
    }
    let mut offset = range.start;
    while offset < range.end {
        // SAFETY: the byte is mapped and initialised, and nobody writes to it.
        unsafe { extent.at(offset).as_ptr().read_volatile() };
        offset = (offset + 1).next_multiple_of(sys::page_bytes());
    }
    Ok(())
}

/// Whether the answer is that of a kernel, or a filter, without the call.
///
/// Memory as plain as a region's gives the kernel nothing else to reject;
/// emulated kernels and filters have errors of their own for it.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP)
    )
}

fn is_huge(extent: &Extent) -> bool {
    matches!(extent.page_size, PageSize::Huge(_))
}

/// Says why a range could not be populated.
fn populate_error(extent: &Extent, range: &Range<usize>, source: io::Error) -> MemoryError {
    let exhausted =
        matches!(source.raw_os_error(), Some(libc::EFAULT | libc::ENOMEM | libc::ENOSPC));
    match extent.page_size {
        PageSize::Huge(size) if exhausted => {
            let bound_to = |policy| match policy {
                Policy::Bind(nodes) => Some(nodes),
                _ => None,
            };
            let nodes = match policy::at(extent, range.start) {
                Ok(Policy::Default) => ThreadPolicy::current().ok().and_then(bound_to),
                of_range => of_range.ok().and_then(bound_to),
            };
            let (_, pools) = huge_page_pools(size);
            MemoryError::HugePagesExhausted { size, range: range.clone(), nodes, pools, source }
        }
        _ => MemoryError::from_call(POPULATE_WRITE, Some(range.clone()), source),
    }
}

/// Populates whole pages by an advice that does so.
fn advise_populate(extent: &Extent, pages: &Range<usize>, advice: Advice) -> io::Result<()> {
    const MOST_TRIES: u32 = 1000;
    let mut tries = 0;
    loop {
        // SAFETY: [owned] by the region; [content] stays: the kernel acts as if
        // each page were written, or read, and writes nothing.
        let answer = unsafe { sys::advise(extent.at(pages.start), pages.len(), advice) };
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
/// Other processes may write to shared memory meanwhile, so what is read and
/// written is one atomic step: none of their writes is undone.
///
/// # Safety
///
/// - `[exclusive]` Nothing else of this process accesses the range's bytes meanwhile.
unsafe fn touch(extent: &Extent, range: &Range<usize>) {
    // Transparent huge pages may turn out to be base pages, so each of those
    // is touched; hugetlb pages are what they are.
    let step = match extent.page_size {
        PageSize::Huge(size) => size.bytes(),
        _ => sys::page_bytes(),
    };
    let mut offset = range.start;
    while offset < range.end {
        // SAFETY: the byte is mapped, initialised, and [exclusive].
        let byte = unsafe { AtomicU8::from_ptr(extent.at(offset).as_ptr()) };
        write_in_place(byte);
        // The mapping's end is a multiple of the step, so this does not overflow.
        offset = (offset + 1).next_multiple_of(step);
    }
}

/// Writes a byte with the value that it has, in one step.
fn write_in_place(byte: &AtomicU8) {
    // Relaxed: the byte orders nothing.
    let mut value = byte.load(Ordering::Relaxed);
    // An addition of zero may be compiled to a read alone. The compiler does
    // not see that this exchange changes nothing.
    while let Err(now) =
        byte.compare_exchange_weak(value, black_box(value), Ordering::Relaxed, Ordering::Relaxed)
    {
        value = now;
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
/// Where the last page is one of somebody's file, of which the region has only
/// a part, the rest of it stays as it is, and the page where it is.
///
/// # Safety
///
/// - `[exclusive]` Nothing refers to the pages' bytes.
pub(crate) unsafe fn discard(
    extent: &Extent,
    pages: &Range<usize>,
) -> Result<Discarded, MemoryError> {
    let Backing::File(file @ FileBacking { is_own: false, .. }) = extent.backing else {
        // SAFETY: [exclusive] is the caller's.
        return unsafe { discard_pages(extent, pages) };
    };
    let bytes = pages.start..pages.end.min(extent.len);
    let last = bytes.end - bytes.end % extent.page_bytes;
    let whole = bytes.start..last;
    let mut discarded = Discarded::Pages;
    if !whole.is_empty() {
        // SAFETY: [exclusive] is the caller's.
        discarded = unsafe { discard_pages(extent, &whole) }?;
    }
    let rest = whole.end..bytes.end;
    if !rest.is_empty() {
        discarded = Discarded::Contents;
        // SAFETY: [exclusive] is the caller's.
        unsafe { discard_part(extent, &file, &rest) }?;
    }
    Ok(discarded)
}

/// Makes bytes of a file's page read as zero, and no other byte of it.
///
/// # Safety
///
/// - `[exclusive]` Nothing refers to the bytes.
unsafe fn discard_part(
    extent: &Extent,
    file: &FileBacking,
    bytes: &Range<usize>,
) -> Result<(), MemoryError> {
    match file.punch(bytes) {
        // A filter may know the advice and not this call.
        Err(error) if has_no_holes(&error) || is_missing(&error) => {
            // SAFETY: the bytes are mapped, and nothing refers to them by [exclusive].
            unsafe { extent.at(bytes.start).write_bytes(0, bytes.len()) };
            Ok(())
        }
        answer => {
            answer.map_err(|error| MemoryError::from_call(FALLOCATE, Some(bytes.clone()), error))
        }
    }
}

/// Makes pages of which the region has every byte read as zero, without a place if that can be had.
///
/// # Safety
///
/// - `[exclusive]` Nothing refers to the pages' bytes.
unsafe fn discard_pages(extent: &Extent, pages: &Range<usize>) -> Result<Discarded, MemoryError> {
    let start = extent.at(pages.start);
    let (answer, call) = if extent.backing.is_shared() {
        // Pages that a mapping gives back stay in the file, so that is to lose them.
        // SAFETY: [owned] by the region; [content] nothing refers to it, by [exclusive].
        let answer = unsafe { sys::advise(start, pages.len(), Advice::LinuxRemove) };
        (answer, "madvise(MADV_REMOVE)")
    } else {
        // SAFETY: [exclusive] is the caller's.
        (unsafe { give_back(extent, pages) }, DONT_NEED)
    };
    match answer {
        Ok(()) => Ok(Discarded::Pages),
        Err(error) if has_no_holes(&error) => {
            tracing::warn!(?pages, %error, "pages stay where they are, and zeros are written");
            let start = extent.at(pages.start);
            // SAFETY: the pages are mapped, and nothing refers to them by [exclusive].
            unsafe { start.write_bytes(0, pages.len()) };
            Ok(Discarded::Contents)
        }
        Err(error) => Err(MemoryError::from_call(call, Some(pages.clone()), error)),
    }
}

/// Whether pages cannot go: hugetlb pages before Linux 5.18, locked pages, and files whose system cannot have holes.
fn has_no_holes(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

/// Gives whole pages back to the kernel; private memory has zeros there from then on.
///
/// # Safety
///
/// - `[exclusive]` Nothing refers to the pages' bytes.
pub(crate) unsafe fn give_back(extent: &Extent, pages: &Range<usize>) -> io::Result<()> {
    let start = extent.at(pages.start);
    // SAFETY: [owned] by the region; [content] nothing refers to it, by [exclusive].
    unsafe { sys::advise(start, pages.len(), Advice::LinuxDontNeed) }
}
