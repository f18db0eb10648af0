//! Files that are only read, as memory.

use std::fs::File;
use std::ops::Range;
use std::slice;

use bytemuck::Pod;

use crate::mapping::Mapping;
use crate::region::assert_element;
use crate::{MemoryError, Residency, populate, residency};

/// A range of a file's bytes, mapped to be read; unmapped on drop.
///
/// Its pages are the page cache's, which all who read the file share. A page
/// that is not cached is read when it is first touched, and then lies on the
/// node of the thread that touched it, or where that thread's
/// [policy](crate::ThreadPolicy) puts it; one that is cached stays where it is.
/// A file of a tmpfs follows the policy that was set by whoever wrote it.
///
/// It is `Send` and `Sync` as a `Box<[u8]>` is.
///
/// # Examples
///
/// ```
/// use firsttouch_memory::FileView;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = std::fs::File::open("/proc/self/exe")?;
/// let len = file.metadata()?.len();
/// // SAFETY: [long], [unchanged] the kernel lets nobody write to a program that runs.
/// let program = unsafe { FileView::map(&file, 0..len)? };
/// program.populate(0..program.len())?;
/// assert_eq!(program.as_slice()[..4], *b"\x7fELF");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FileView {
    mapping: Mapping,
}

// SAFETY: the mapping is owned, stays where it is, and is only read.
unsafe impl Send for FileView {}
// SAFETY: as above.
unsafe impl Sync for FileView {}

impl FileView {
    /// Maps a range of a file's bytes. It starts at a multiple of the page size of the file's system.
    ///
    /// The file stays open for as long as the view lives, whatever becomes of
    /// `file`, which need be open for reading only.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::NotARegularFile`], [`MemoryError::ZeroLength`],
    ///   [`MemoryError::FileTooShort`] or [`MemoryError::MisalignedInFile`] for
    ///   the range.
    /// - [`MemoryError::Refused`] where the file is not open for reading.
    /// - [`MemoryError::Call`] where the kernel has no room.
    ///
    /// # Safety
    ///
    /// While the view lives, whoever has access to the file, in this process
    /// or any other, keeps to these:
    ///
    /// - `[long]` Nobody makes the file shorter than the range. An access past
    ///   the end is killed by SIGBUS.
    /// - `[unchanged]` Nobody writes to the range.
    ///
    /// Where a disk fails to read a page, an access to it is killed by SIGBUS
    /// too; [`FileView::populate`] tells before.
    pub unsafe fn map(file: &File, range: Range<u64>) -> Result<Self, MemoryError> {
        // SAFETY: [unchanged] and [long] are the caller's.
        let mapping = unsafe { Mapping::of_file(file, &range, false)? };
        Ok(Self { mapping })
    }

    /// Returns the bytes of the range.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.extent.len
    }

    /// Returns whether the view has no bytes, which none can be mapped with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of a page of the file's system.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        self.mapping.extent.page_bytes
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.as_slice_of()
    }

    /// Returns the view as elements, as many as fit; the first is at its start.
    ///
    /// `T` must have a size, and an alignment of at most 4096; other types do
    /// not compile.
    #[must_use]
    pub fn as_slice_of<T: Pod>(&self) -> &[T] {
        const { assert_element::<T>() };
        let first = self.mapping.extent.base.as_ptr().cast();
        // SAFETY: `len` bytes are mapped, aligned for `T` and initialised, any
        // bytes are a `T`, and nobody writes to them, by [unchanged].
        unsafe { slice::from_raw_parts(first, self.len() / size_of::<T>()) }
    }

    /// Reads what is not cached of a range of bytes, and maps it all; several threads may do so at once.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Call`] where a page cannot be read, or memory runs out.
    /// Before Linux 5.14 pages are read one by one, and one that cannot be is
    /// a signal.
    ///
    /// # Panics
    ///
    /// Where the range is outside of the view.
    pub fn populate(&self, range: Range<usize>) -> Result<(), MemoryError> {
        self.mapping.extent.check(&range);
        populate::populate_read(&self.mapping.extent, &range)
    }

    /// Counts where the mapped pages of a range of bytes lie; as [`Region::residency`](crate::Region::residency).
    ///
    /// Pages that are cached and that the view has not touched count as not present.
    ///
    /// # Errors
    ///
    /// As [`Region::residency`](crate::Region::residency).
    ///
    /// # Panics
    ///
    /// Where the range is outside of the view.
    pub fn residency(&self, range: Range<usize>) -> Result<Residency, MemoryError> {
        residency::of(&self.mapping.extent, &range)
    }
}
