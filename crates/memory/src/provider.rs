//! Pages that come with their contents, which the kernel copies in instead of clearing them.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU8;
use std::thread;

use crate::backing::Backing;
use crate::mapping::Extent;
use crate::sys::userfault;
use crate::{MemoryError, OptionalCall, PageSize, Part, Region, populate};

const COPY: &str = "ioctl(UFFDIO_COPY)";
const UNREGISTER: &str = "ioctl(UFFDIO_UNREGISTER)";

/// Zeros that are there without being asked for, and take one page of memory.
static ZEROS: Zeros = Zeros([const { AtomicU8::new(0) }; 256 << 10]);

/// Aligned as pages are: the kernel copies page by page, and slower across their ends.
#[repr(align(4096))]
struct Zeros([AtomicU8; 256 << 10]);

/// How often the kernel may answer that it is busy before that is an error.
const MOST_TRIES: u32 = 1000;

/// Provides missing pages of a region with their contents; from [`Parts::provider`](crate::Parts::provider).
///
/// A page that is touched is cleared first, and then written. One that is
/// provided gets its contents at once: the kernel copies them to it
/// (`userfaultfd`, `UFFDIO_COPY`), by whoever calls, on as many threads as one
/// likes. So it is written once and not twice; and even zeros are often copied
/// faster than pages are cleared, as the kernel's copying takes a run of pages
/// at a time where its faults take one.
///
/// Pages go where touching them would have put them: by the range's policy, the
/// thread's, or to the node of the calling thread's CPU.
///
/// # Examples
///
/// ```
/// use firsttouch_memory::Region;
///
/// let mut region = Region::builder(1 << 20).build()?;
/// let len = region.len();
/// let parts = region.parts();
/// // SAFETY: [disjoint] it is the only part.
/// let mut part = unsafe { parts.part(0..len) };
/// // SAFETY: [missing] nothing is touched until all of it is provided.
/// match unsafe { parts.provider() } {
///     Some(provider) => provider.copy(&mut part, &vec![7; len])?,
///     // Some containers refuse the call.
///     None => part.as_mut_slice().fill(7),
/// }
/// assert!(region.as_slice().iter().all(|&byte| byte == 7));
/// # Ok::<(), firsttouch_memory::MemoryError>(())
/// ```
#[derive(Debug)]
pub struct Provider<'a> {
    userfault: OwnedFd,
    extent: Extent,
    /// Zeros for a huge page. Invariant: read only, with every page mapped.
    zeros: Option<Region>,
    /// The process whose pages they are: a forked child has the descriptor too, and it acts on these.
    process: u32,
    /// The region is borrowed as if its bytes were.
    bytes: PhantomData<&'a mut [u8]>,
}

// SAFETY: the provider reaches only bytes of parts that it is given, whose
// owners have them to themselves.
unsafe impl Send for Provider<'_> {}
// SAFETY: as above; the kernel takes its calls from any number of threads at once.
unsafe impl Sync for Provider<'_> {}

impl Provider<'_> {
    /// Makes a provider, where that can be had.
    ///
    /// # Safety
    ///
    /// - `[missing]` as for [`Parts::provider`](crate::Parts::provider).
    pub(crate) unsafe fn new(extent: Extent) -> Option<Self> {
        let is_huge = match (extent.page_size, extent.backing) {
            (PageSize::Base, Backing::Private) => false,
            (PageSize::Huge(_), Backing::Private) => true,
            _ => return None,
        };
        if !OptionalCall::Userfault.may_work() {
            return None;
        }
        let userfault = userfault::userfault()
            .inspect_err(|error| {
                // Other errors are of this moment: no descriptor is free.
                if !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
                {
                    OptionalCall::Userfault.remember_missing(error);
                }
            })
            .ok()?;
        let zeros = if is_huge { Some(zeros(extent.page_bytes).ok()?) } else { None };
        // SAFETY: [owned] by the region; [missing] is the caller's.
        unsafe { userfault::register(&userfault, extent.base, extent.mapped) }
            .inspect_err(|error| tracing::debug!(%error, "pages are not provided but cleared"))
            .ok()?;
        let process = std::process::id();
        Some(Self { userfault, extent, zeros, process, bytes: PhantomData })
    }

    /// Provides the pages of a part with contents, as many bytes as the part has.
    ///
    /// Pages of the part that were there before, as locked pages can be, are
    /// given back first. The part must start at a page, and end at one or at the
    /// region's end; what lies past that reads as zero.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Misaligned`] for the part's range.
    /// - [`MemoryError::Call`] where a page cannot be had, or was there and
    ///   cannot be given back; where the part has several policies, each of which
    ///   makes a mapping of its own; after [`Provider::withdraw`]; and in a forked
    ///   child, where nothing is missing. Some pages may have been provided by
    ///   then. Withdraw to go on without.
    ///
    /// # Panics
    ///
    /// Where the part is of another region, or the lengths differ.
    pub fn copy(&self, part: &mut Part<'_>, contents: &[u8]) -> Result<(), MemoryError> {
        let range = part.range();
        assert_eq!(
            range.len(),
            contents.len(),
            "a part is provided with as many bytes as it has; pass both of the same length"
        );
        let pages = self.pages(part, &range)?;
        // Of the region's last page there may not be enough contents to copy:
        // what is past the region's end would be read past theirs.
        let whole = contents.len() - contents.len() % self.extent.page_bytes;
        let (first, last) = contents.split_at(whole);
        let split = pages.start + whole;
        // SAFETY: [pages] they are the part's, which its owner lent.
        unsafe { self.copy_pages(pages.start..split, NonNull::from(first)) }?;
        if last.is_empty() {
            return Ok(());
        }
        // SAFETY: [pages] as above.
        unsafe { self.zero_pages(split..pages.end) }?;
        part.as_mut_slice()[whole..].copy_from_slice(last);
        Ok(())
    }

    /// Provides the pages of a part with zeros; as [`Provider::copy`].
    ///
    /// # Errors
    ///
    /// As [`Provider::copy`].
    ///
    /// # Panics
    ///
    /// Where the part is of another region.
    pub fn zeros(&self, part: &mut Part<'_>) -> Result<(), MemoryError> {
        let pages = self.pages(part, &part.range())?;
        // SAFETY: [pages] they are the part's, which its owner lent.
        unsafe { self.zero_pages(pages) }
    }

    /// Leaves all pages that are missing to the kernel again, so that they can be touched and [populated](Part::populate).
    ///
    /// Other threads may provide pages meanwhile; they get an error from then on.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Call`] where the kernel refuses; it knows no reason to.
    pub fn withdraw(&self) -> Result<(), MemoryError> {
        if !self.is_here() {
            return Ok(());
        }
        let Extent { base, mapped, .. } = self.extent;
        // SAFETY: [registered] all of the region was.
        unsafe { userfault::unregister(&self.userfault, base, mapped) }
            .map_err(|error| MemoryError::from_call(UNREGISTER, None, error))
    }

    /// Whether this process has the pages, and not one that it was forked from.
    fn is_here(&self) -> bool {
        std::process::id() == self.process
    }

    /// Checks that a part is of this region and whole pages; returns those.
    fn pages(&self, part: &Part<'_>, range: &Range<usize>) -> Result<Range<usize>, MemoryError> {
        assert_eq!(
            part.extent().base,
            self.extent.base,
            "a provider provides pages of its own region; pass a part of that"
        );
        self.extent.whole_pages("provide", range)
    }

    /// Provides whole pages with zeros.
    ///
    /// # Safety
    ///
    /// - `[pages]` Whole pages of the region, which nothing refers to.
    unsafe fn zero_pages(&self, pages: Range<usize>) -> Result<(), MemoryError> {
        let zeros = match &self.zeros {
            None => NonNull::slice_from_raw_parts(NonNull::from(&ZEROS.0).cast(), ZEROS.0.len()),
            Some(zeros) => NonNull::from(zeros.as_slice()),
        };
        for start in pages.clone().step_by(zeros.len()) {
            let to = start..pages.end.min(start + zeros.len());
            let from = NonNull::slice_from_raw_parts(zeros.cast(), to.len());
            // SAFETY: [pages] is the caller's.
            unsafe { self.copy_pages(to, from) }?;
        }
        Ok(())
    }

    /// Provides whole pages.
    ///
    /// # Safety
    ///
    /// - `[pages]` Whole pages of the region, as many as the bytes of `from`,
    ///   which nothing refers to.
    unsafe fn copy_pages(
        &self,
        pages: Range<usize>,
        from: NonNull<[u8]>,
    ) -> Result<(), MemoryError> {
        if !self.is_here() {
            let error = io::Error::from_raw_os_error(libc::ESRCH);
            return Err(self.error(COPY, &pages, error));
        }
        let (mut done, mut tries, mut is_given_back) = (0, 0, false);
        while done < pages.len() {
            let to = self.extent.at(pages.start + done);
            // SAFETY: `done` is less than the length.
            let rest = unsafe { from.cast::<u8>().add(done) };
            let rest = NonNull::slice_from_raw_parts(rest, pages.len() - done);
            // SAFETY: [registered] all of the region was, and where it was
            // withdrawn the kernel says so; nothing refers to the pages, by [pages].
            let error = match unsafe { userfault::copy(&self.userfault, to, rest) } {
                Ok(copied) => {
                    done += copied;
                    continue;
                }
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) if tries < MOST_TRIES => {
                    tries += 1;
                    thread::yield_now();
                }
                // Where it was read, a page of the kernel's zeros is there.
                Some(libc::EEXIST) if !is_given_back => {
                    is_given_back = true;
                    let left = pages.start + done..pages.end;
                    // SAFETY: [exclusive] by [pages].
                    unsafe { populate::give_back(&self.extent, &left) }
                        .map_err(|error| self.error(populate::DONT_NEED, &left, error))?;
                }
                _ => return Err(self.error(COPY, &pages, error)),
            }
        }
        Ok(())
    }

    fn error(&self, call: &'static str, pages: &Range<usize>, error: io::Error) -> MemoryError {
        let range = pages.start..pages.end.min(self.extent.len);
        MemoryError::from_call(call, Some(range), error)
    }
}

impl Drop for Provider<'_> {
    /// Leaves the pages to the kernel, whoever else has the descriptor by now.
    ///
    /// Closing it is not enough: a child that was forked meanwhile has it too,
    /// and until that one ends, a page that is discarded would stay missing.
    fn drop(&mut self) {
        if let Err(error) = self.withdraw() {
            tracing::debug!(%error, "pages are provided until the descriptor is closed");
        }
    }
}

/// Zeros for a huge page, to be read only: on most kernels the one huge page of zeros that all share.
fn zeros(bytes: usize) -> Result<Region, MemoryError> {
    let zeros = Region::builder(bytes)
        .page_size(PageSize::Transparent)
        .or_page_size(PageSize::Base)
        .build()?;
    // The kernel copies from pages that are there: others cost it a second try each.
    let is_zero = |page: &[u8]| std::hint::black_box(page)[0] == 0;
    let all = zeros.as_slice().chunks(crate::sys::page_bytes()).all(is_zero);
    debug_assert!(all, "nobody writes to it");
    Ok(zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_the_kernels_again_even_where_another_process_has_the_descriptor() {
        let mut region = Region::builder(1 << 20).build().expect("memory for a test");
        let len = region.len();
        // SAFETY: [missing] nothing is touched before the provider is dropped.
        let Some(provider) = (unsafe { region.parts().provider() }) else { return };
        // A child that is forked has the descriptor so.
        let inherited = provider.userfault.try_clone().expect("a descriptor");
        drop(provider);
        region.as_mut_slice()[0] = 1;
        region.discard(0..len).expect("the pages are private");
        assert!(region.as_slice().iter().all(|&byte| byte == 0));
        // SAFETY: [missing] nothing is touched while it lives.
        let again = unsafe { region.parts().provider() };
        assert!(again.is_some(), "the region is as good as new");
        drop((again, inherited));
    }
}
