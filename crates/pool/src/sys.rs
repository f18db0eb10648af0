//! Every system call of this crate, but for those that `firsttouch-topology` and the standard library make.

#![cfg_attr(loom, allow(dead_code, reason = "in a model nobody forks"))]

use std::ffi::c_void;
use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use rustix::param::page_size;

/// Gives the pages of a range back to the kernel: whoever touches them next touches them first.
///
/// What the kernel refuses, as where its pages are larger than the range's
/// alignment, changes nothing.
///
/// # Safety
///
/// - `[unused]` The range is the caller's, and nobody needs what it holds.
pub(crate) unsafe fn discard_pages(start: *mut c_void, bytes: usize) {
    // SAFETY: [unused] nobody misses the contents.
    let _ = unsafe { madvise(start, bytes, Advice::LinuxDontNeed) };
}

/// A page of its own that the kernel zeroes in every child that `fork` makes; `Send` and `Sync`.
#[derive(Debug)]
pub(crate) struct WipedOnFork {
    page: NonNull<c_void>,
}

// SAFETY: it is a mapping, which belongs to no thread.
unsafe impl Send for WipedOnFork {}
// SAFETY: its contents are given out as a pointer only.
unsafe impl Sync for WipedOnFork {}

impl WipedOnFork {
    /// Maps a page of zeros.
    ///
    /// # Errors
    ///
    /// Where no page can be had, or the kernel cannot wipe it: Linux before 4.14, or a filter.
    pub(crate) fn new() -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: the kernel chooses the place, so nothing is mapped over.
        let page = unsafe { mmap_anonymous(ptr::null_mut(), page_size(), protection, flags) }?;
        let page = NonNull::new(page).ok_or(io::ErrorKind::OutOfMemory)?;
        let page = Self { page };
        // SAFETY: the page was mapped just now, and nobody else knows of it.
        unsafe { madvise(page.start(), page_size(), Advice::LinuxWipeOnFork) }?;
        Ok(page)
    }

    /// Its first byte: valid for reads and writes while this lives, and aligned to a page.
    pub(crate) fn start(&self) -> *mut c_void {
        self.page.as_ptr()
    }
}

impl Drop for WipedOnFork {
    fn drop(&mut self) {
        // SAFETY: the page was mapped by this, and is not used after it.
        let _ = unsafe { munmap(self.page.as_ptr(), page_size()) };
    }
}
