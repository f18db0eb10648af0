//! Owned regions of memory.

use std::fmt;
use std::ops::Range;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};

use bytemuck::Pod;

use crate::mapping::{Extent, Mapping};
use crate::populate::Discarded;
use crate::{
    MemoryError, PageSize, Parts, Policy, RegionBuilder, Residency, policy, populate, residency,
};

/// An owned, zeroed, anonymous private mapping; unmapped on drop.
///
/// Its pages have no place until they are touched: see the
/// [crate's documentation](crate). The region starts at a multiple of its page
/// size. It is `Send` and `Sync` as a `Vec<u8>` is.
///
/// Child processes get a copy, as of any private memory.
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
    /// Relaxed throughout: it only answers `is_fresh`, and guards no memory.
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

    fn extent(&self) -> &Extent {
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
    /// [discarded](Region::discard). Reading places no base page, but can
    /// place a huge page or spoil the place of one: on a region of huge pages
    /// a view to be read ends freshness too.
    ///
    /// In a process that locks all its future memory (`mlockall`), pages are
    /// placed when they are mapped, which this does not see.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        !self.touched.load(Ordering::Relaxed)
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
    /// - [`MemoryError::Refused`] where the call is not to be had: pages then
    ///   go where they are first touched.
    /// - [`MemoryError::Call`] where the kernel is out of memory or mappings.
    ///
    /// # Panics
    ///
    /// Where the range is outside of the region.
    pub fn set_policy(&mut self, range: Range<usize>, policy: &Policy) -> Result<(), MemoryError> {
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
    /// calling thread's CPU. Where an error is returned, pages before the one
    /// that failed are placed.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Call`] where memory runs out, by the machine, the cgroup
    /// or the policy, where a hugetlb pool does, or where a page is broken in
    /// hardware. Before Linux 5.14 pages are written one by one, and what is
    /// an error after is a signal or the out-of-memory killer's choice.
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

    /// Gives the pages of a range of bytes back to the kernel.
    ///
    /// The bytes read as zero afterwards, and have no place until they are
    /// next touched. The range must start and end at multiples of
    /// [`Region::page_bytes`], or at the region's end. Policies stay.
    ///
    /// Pages that the kernel does not take back are overwritten with zeros
    /// where they are: hugetlb pages before Linux 5.18, and locked pages.
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
