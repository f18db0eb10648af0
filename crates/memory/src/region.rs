//! Owned regions of memory.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};

use bytemuck::Pod;

use crate::mapping::{Extent, Mapping};
use crate::populate::Discarded;
use crate::{
    MemoryError, PageSize, Parts, Policy, RegionBuilder, Residency, collapse, policy, populate,
    residency,
};

/// An owned mapping, zeroed by the kernel; unmapped on drop.
///
/// It is private memory unless the builder asks for [shared](RegionBuilder::shared)
/// memory, or it is made of a file ([`Region::map_file`]), whose contents it
/// then has.
///
/// Its pages have no place until they are touched: see the
/// [crate's documentation](crate). The region starts at a multiple of its page
/// size. It is `Send` and `Sync` as a `Vec<u8>` is.
///
/// Child processes get a copy of private memory, and share any other.
///
/// # Examples
///
/// ```
/// use firsttouch_memory::Region;
///
/// let mut region = Region::builder(1 << 20).build()?;
/// for (index, element) in region.as_mut_slice_of::<f64>().iter_mut().enumerate() {
///     *element = index as f64;
/// }
/// assert_eq!(region.as_slice_of::<f64>()[1000], 1000.0);
/// # Ok::<(), firsttouch_memory::MemoryError>(())
/// ```
pub struct Region {
    mapping: Mapping,
    requested: PageSize,
    /// Set once a page may have been placed or written through this value.
    ///
    /// What others do to shared memory it does not know. Relaxed throughout: it
    /// only answers `is_fresh`, and guards no memory.
    touched: AtomicBool,
}

// SAFETY: the mapping is owned, stays where it is, and is reached through
// `&self` for reading and `&mut self` for writing, as a `Vec<u8>` is.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Starts to describe a region of `len` bytes.
    ///
    /// The mapping is `len` rounded up to whole pages; [`Region::len`] stays as
    /// asked.
    pub fn builder(len: usize) -> RegionBuilder {
        RegionBuilder::new(len)
    }

    pub(crate) fn new(mapping: Mapping, requested: PageSize) -> Self {
        Self { mapping, requested, touched: AtomicBool::new(false) }
    }

    /// Maps a range of a file's bytes, to be read and written; what is written goes to the file.
    ///
    /// The page size is that of the file's system: hugetlb pages for a
    /// hugetlbfs, else base pages. The file stays open for as long as the
    /// region lives, whatever becomes of `file`.
    ///
    /// The region is never [fresh](Region::is_fresh). To populate it is to read
    /// what the file has, and to have its system provide what it has not.
    /// **To [discard](Region::discard) it is to punch a hole into the file**:
    /// these bytes are zeros from then on, and so it is with a page
    /// initialisation.
    ///
    /// A tmpfs and a hugetlbfs honour the region's policies. Other file
    /// systems do not; see [`MemoryError::PolicyIgnored`].
    ///
    /// # Errors
    ///
    /// - [`MemoryError::NotARegularFile`], [`MemoryError::ZeroLength`],
    ///   [`MemoryError::FileTooShort`] or [`MemoryError::MisalignedInFile`] for
    ///   the range.
    /// - [`MemoryError::HugePagesShort`] where a hugetlbfs has not the pages.
    /// - [`MemoryError::Refused`] where the file is not open for reading and writing.
    /// - [`MemoryError::Call`] where the kernel has no room.
    ///
    /// # Safety
    ///
    /// While the region lives, whoever has access to the file, in this process
    /// or any other, keeps to these:
    ///
    /// - `[long]` Nobody makes the file shorter than the range. An access past
    ///   the end is killed by SIGBUS.
    /// - `[exclusive]` While a view or part of the region that can be written
    ///   is alive, nobody else reads or writes the range; while one that is
    ///   read is alive, nobody writes it. A call that replaces the region's
    ///   contents, as [`Region::discard`] and a page initialisation do, is
    ///   like a view to be written for as long as it lasts.
    /// - `[room]` Where the file has holes, its system has room for them: a
    ///   write to a hole is killed by SIGBUS where it has none. A range that
    ///   was [populated](Region::populate) has none left on file systems that
    ///   overwrite in place, as tmpfs, hugetlbfs, ext4 and XFS do.
    ///
    /// Nothing but the file's own users can keep to them; a file that others
    /// may open is theirs to break. Nobody can make the
    /// file of a [shared](RegionBuilder::shared) region shorter; who has that
    /// file is bound by [`Region::file`], and its room is the machine's memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_memory::Region;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let path = std::env::temp_dir().join(format!("firsttouch-{}", std::process::id()));
    /// let file = std::fs::File::options().read(true).write(true).create(true).open(&path)?;
    /// std::fs::remove_file(&path)?;
    /// file.set_len(1 << 20)?;
    /// // SAFETY: [long], [exclusive] nobody else can open the file, which has
    /// // no name any more; [room] it is small.
    /// let mut region = unsafe { Region::map_file(&file, 0..1 << 20)? };
    /// region.as_mut_slice()[7] = 7;
    /// assert_eq!(region.len(), 1 << 20);
    /// # Ok(())
    /// # }
    /// ```
    pub unsafe fn map_file(file: &File, range: Range<u64>) -> Result<Self, MemoryError> {
        // SAFETY: [unchanged] by [exclusive], and [long], are the caller's.
        let mapping = unsafe { Mapping::of_file(file, &range, true)? };
        let requested = mapping.extent.page_size;
        Ok(Self { mapping, requested, touched: AtomicBool::new(true) })
    }

    /// Returns whether other processes can see what is written: child processes, or whoever maps the region's file.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.extent().backing.is_shared()
    }

    /// Returns whether policies of the region place its pages: those of all but files outside of a tmpfs or hugetlbfs.
    ///
    /// The page cache of other files follows the policy of the thread that
    /// touches a page first ([`ThreadPolicy`](crate::ThreadPolicy)).
    #[must_use]
    pub fn honours_policies(&self) -> bool {
        self.extent().backing.honours_policies()
    }

    /// Returns the file of a shared region, for other processes to map; `None` for a region without one.
    ///
    /// It cannot be made shorter. Its length is the region's, in whole pages.
    ///
    /// # Safety
    ///
    /// - `[exclusive]` While a view or part of the region that can be written
    ///   is alive, nobody else reads or writes the file; while one that is
    ///   read is alive, nobody writes it. A call that replaces the region's
    ///   contents, as [`Region::discard`] and a page initialisation do, is
    ///   like a view to be written for as long as it lasts.
    #[must_use]
    pub unsafe fn file(&self) -> Option<BorrowedFd<'_>> {
        self.mapping.file().map(AsFd::as_fd)
    }

    pub(crate) fn extent(&self) -> &Extent {
        &self.mapping.extent
    }

    /// Returns the bytes asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.extent().len
    }

    /// Returns whether the region has no bytes, which no region can be built with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the page size granted.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.extent().page_size
    }

    /// Returns the page size asked for, which differs where a fallback was taken.
    #[must_use]
    pub fn requested_page_size(&self) -> PageSize {
        self.requested
    }

    /// Returns the bytes of a page of the granted size.
    ///
    /// That is the base page, the transparent huge page or the hugetlb page.
    /// The region starts at a multiple of it.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        self.extent().page_bytes
    }

    /// Returns the address of the first byte.
    ///
    /// For [`Region::is_fresh`] it counts as a view.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.note_reading();
        self.extent().base.as_ptr()
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.as_slice_of()
    }

    /// Returns the bytes, to be written.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.as_mut_slice_of()
    }

    /// Returns the region as elements, as many as fit; the first is at its start.
    ///
    /// `T` must have a size, and an alignment of at most 4096; other types do
    /// not compile.
    #[must_use]
    pub fn as_slice_of<T: Pod>(&self) -> &[T] {
        const { assert_element::<T>() };
        self.note_reading();
        let Extent { base, len, .. } = *self.extent();
        // SAFETY: `len` bytes are mapped, aligned for `T` and initialised, any
        // bytes are a `T`, and `&self` keeps writers away.
        unsafe { slice::from_raw_parts(base.as_ptr().cast(), len / size_of::<T>()) }
    }

    /// Returns the region as elements, to be written; as many as fit.
    ///
    /// `T` must have a size, and an alignment of at most 4096; other types do
    /// not compile.
    #[must_use]
    pub fn as_mut_slice_of<T: Pod>(&mut self) -> &mut [T] {
        const { assert_element::<T>() };
        self.note_touch();
        let Extent { base, len, .. } = *self.extent();
        // SAFETY: `len` bytes are mapped, aligned for `T` and initialised, any
        // bytes are a `T`, and `&mut self` keeps everybody else away.
        unsafe { slice::from_raw_parts_mut(base.as_ptr().cast(), len / size_of::<T>()) }
    }

    /// Returns whether every byte is still the kernel's zero, and no page has a place.
    ///
    /// It is so until the region is populated or first gives out its parts or
    /// a view to be written, and again after the whole of it was
    /// [discarded](Region::discard). Reading places no base page of private
    /// memory, but can place a huge page or spoil the place of one: on a
    /// region of huge pages a view to be read ends freshness too.
    ///
    /// Other processes may have written to [shared](RegionBuilder::shared)
    /// memory, or placed its pages by reading. There the kernel is asked, by
    /// one system call, whether the region's file has a page, whoever touched
    /// it; the answer is of that moment. Where that cannot be told, the region
    /// is never fresh: a shared one without a [file](Region::file), and one
    /// [of a file](Region::map_file), whose pages others may have touched unseen.
    ///
    /// In a process that locks all its future memory (`mlockall`), pages are
    /// placed when they are mapped, which this does not see.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        !self.touched.load(Ordering::Relaxed) && self.extent().backing.is_untouched_by_others()
    }

    fn note_reading(&self) {
        if self.page_size() != PageSize::Base {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    fn note_touch(&mut self) {
        *self.touched.get_mut() = true;
    }

    /// Sets the NUMA policy of a range of bytes.
    ///
    /// It decides for pages that are touched from now on; pages that have a
    /// place keep it. The range must start and end at multiples of
    /// [`Region::page_bytes`], or at the region's end. Ranges with policies of
    /// their own are mappings of their own to the kernel, which allows a
    /// process some 65,000 (`vm.max_map_count`).
    ///
    /// Hugetlb pages are reserved on no node in particular. A policy that
    /// binds them to nodes whose pools are too small makes
    /// [`Region::populate`] fail, and a plain access raise SIGBUS.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Misaligned`] for the range.
    /// - [`MemoryError::EmptyNodeSet`], [`MemoryError::NoSuchNode`],
    ///   [`MemoryError::NodeWithoutMemory`] or [`MemoryError::NodeNotAllowed`]
    ///   for the policy's nodes.
    /// - [`MemoryError::UnsupportedPolicy`] where the kernel is too old for it.
    /// - [`MemoryError::PolicyIgnored`] for a file of a system that does not
    ///   follow the policies of mappings.
    /// - [`MemoryError::Refused`] where the call is not to be had: pages then
    ///   go where they are first touched.
    /// - [`MemoryError::Call`] where the kernel is out of memory or mappings.
    ///
    /// # Panics
    ///
    /// Where the range is outside of the region.
    pub fn set_policy(&mut self, range: Range<usize>, policy: &Policy) -> Result<(), MemoryError> {
        if !self.honours_policies() {
            self.extent().whole_pages("set_policy", &range)?;
            return Err(MemoryError::PolicyIgnored);
        }
        policy::set(self.extent(), &range, policy)
    }

    /// Returns the NUMA policy of the page at an offset, in bytes.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Refused`] where the call is not to be had.
    /// - [`MemoryError::UnknownPolicy`] where the kernel has a policy that is
    ///   newer than this library.
    ///
    /// # Panics
    ///
    /// Where the offset is outside of the region.
    pub fn policy_at(&self, offset: usize) -> Result<Policy, MemoryError> {
        let len = self.len();
        assert!(offset < len, "offset {offset} is outside of the region's {len} bytes");
        policy::at(self.extent(), offset)
    }

    /// Counts where the pages of a range of bytes lie, as the kernel tells it now.
    ///
    /// A page that the range has only a part of counts as a whole base page.
    /// The cost is in proportion to the pages that are present, a huge page
    /// being one page; before Linux 6.7 it is in proportion to the base pages
    /// of the range. Nearly all of it is the kernel's, so several threads may
    /// well share a large region by [`Parts::residency`].
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Refused`] where `move_pages` is not to be had.
    /// - [`MemoryError::Call`] where the kernel runs out of memory.
    ///
    /// # Panics
    ///
    /// Where the range is outside of the region.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_memory::Region;
    ///
    /// let mut region = Region::builder(1 << 20).build()?;
    /// region.populate(0..region.len() / 2)?;
    /// match region.residency(0..region.len()) {
    ///     Ok(pages) => assert_eq!(pages.present(), pages.not_present()),
    ///     // Some containers refuse the call.
    ///     Err(error) if error.is_refused() => {}
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), firsttouch_memory::MemoryError>(())
    /// ```
    pub fn residency(&self, range: Range<usize>) -> Result<Residency, MemoryError> {
        residency::of(self.extent(), &range)
    }

    /// Places every page of a range of bytes, as writing to each would, and changes no byte.
    ///
    /// Each page goes where the range's policy says, or to the node of the
    /// calling thread's CPU. What other processes write to shared memory
    /// meanwhile stays. Where an error is returned, pages before the one
    /// that failed are placed.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::HugePagesExhausted`] where a hugetlb pool runs out: it
    ///   names the node, and where to raise its pool.
    /// - [`MemoryError::Call`] where memory runs out, by the machine, the cgroup
    ///   or the policy, where a file's system has no room, or where a page is
    ///   broken in hardware.
    ///
    /// Before Linux 5.14 pages are written one by one. Of shared memory and
    /// files they are asked for before, so errors are the same there; of
    /// private memory, what is an error after is a signal or the out-of-memory
    /// killer's choice.
    ///
    /// # Panics
    ///
    /// Where the range is outside of the region.
    pub fn populate(&mut self, range: Range<usize>) -> Result<(), MemoryError> {
        self.extent().check(&range);
        self.note_touch();
        // SAFETY: [exclusive] by `&mut self`.
        unsafe { populate::populate(self.extent(), &range) }
    }

    /// Puts pages that are there into transparent huge pages; returns the bytes that huge pages map afterwards.
    ///
    /// The kernel does so by itself in time (khugepaged), or never; this is now.
    /// It copies what base pages hold into a huge page on the node that has
    /// most of them. For memory that was touched when no huge page was free,
    /// or before the region had a chance of one.
    ///
    /// Huge pages are counted by what came of each: one with no page touched
    /// in it, with pages that somebody has pinned, or for which no memory is
    /// free even after compaction, is left as it is and not counted.
    ///
    /// The range must start and end at multiples of [`Region::page_bytes`], or
    /// at the region's end.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::NotTransparent`] for a region of other pages.
    /// - [`MemoryError::Misaligned`] for the range.
    /// - [`MemoryError::UnsupportedCall`] before Linux 6.1.
    ///
    /// # Panics
    ///
    /// Where the range is outside of the region.
    pub fn collapse(&mut self, range: Range<usize>) -> Result<usize, MemoryError> {
        let pages = self.extent().whole_pages("collapse", &range)?;
        self.note_touch();
        collapse::collapse(self.extent(), &pages)
    }

    /// Gives the pages of a range of bytes back to the kernel.
    ///
    /// The bytes read as zero afterwards, and have no place until they are
    /// next touched. The range must start and end at multiples of
    /// [`Region::page_bytes`], or at the region's end. Policies stay.
    ///
    /// Of shared memory the pages are taken from all who map it, and of a file
    /// from the file. Where the range of a [file](Region::map_file) ends inside
    /// of a page, the file's last one, that page stays where it is: its bytes
    /// of the range are zeros then, and what the file got after it is kept.
    ///
    /// Pages that the kernel does not take back are overwritten with zeros
    /// where they are: hugetlb pages before Linux 5.18, locked pages, and those
    /// of files whose system has no holes.
    ///
    /// Before Linux 6.9 hugetlb pages that are given back are no longer
    /// reserved: where somebody else has taken the pool's last ones meanwhile,
    /// [`Region::populate`] fails, and a plain access raises SIGBUS.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Misaligned`] for the range.
    /// - [`MemoryError::Call`] where the kernel is out of memory.
    ///
    /// # Panics
    ///
    /// Where the range is outside of the region.
    pub fn discard(&mut self, range: Range<usize>) -> Result<(), MemoryError> {
        let pages = self.extent().whole_pages("discard", &range)?;
        if pages.is_empty() {
            return Ok(());
        }
        // SAFETY: [exclusive] by `&mut self`.
        match unsafe { populate::discard(self.extent(), &pages) }? {
            Discarded::Pages if pages.len() == self.extent().mapped => {
                *self.touched.get_mut() = false;
            }
            Discarded::Pages => {}
            Discarded::Contents => self.note_touch(),
        }
        Ok(())
    }

    /// Returns a handle from which several threads take disjoint parts of the region.
    #[must_use]
    pub fn parts(&mut self) -> Parts<'_> {
        self.note_touch();
        Parts::new(*self.extent())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("address", &self.extent().base)
            .field("len", &self.len())
            .field("page_size", &self.page_size())
            .field("requested_page_size", &self.requested)
            .field("shared", &self.is_shared())
            .field("fresh", &self.is_fresh())
            .finish()
    }
}

/// Stops the compiler for element types that a region cannot be viewed as.
pub(crate) const fn assert_element<T>() {
    assert!(size_of::<T>() != 0, "elements without a size cannot be counted in a region");
    assert!(
        align_of::<T>() <= 4096,
        "regions start on a page, of which the smallest has 4096 bytes"
    );
}
