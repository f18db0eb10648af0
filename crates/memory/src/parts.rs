//! Disjoint parts of a region, for several threads at once.

use std::marker::PhantomData;
use std::ops::Range;
use std::slice;

use bytemuck::Pod;
use firsttouch_topology::NodeId;

use crate::mapping::Extent;
use crate::region::assert_element;
use crate::{
    MemoryError, MigrateError, Migrated, Provider, Residency, collapse, migrate, populate,
    residency,
};

/// A handle, borrowed exclusively from a region, from which disjoint parts are taken.
///
/// It is `Copy`, `Send` and `Sync`: each thread can have one.
///
/// # Examples
///
/// ```
/// use firsttouch_memory::Region;
///
/// let mut region = Region::builder(2 << 20).build()?;
/// let parts = region.parts();
/// std::thread::scope(|scope| {
///     for start in [0, 1 << 20] {
///         scope.spawn(move || {
///             // SAFETY: [disjoint] each thread takes another half.
///             let mut part = unsafe { parts.part(start..start + (1 << 20)) };
///             part.as_mut_slice().fill(1);
///         });
///     }
/// });
/// assert!(region.as_slice().iter().all(|&byte| byte == 1));
/// # Ok::<(), firsttouch_memory::MemoryError>(())
/// ```
///
/// No part outlives the borrow of its region:
///
/// ```compile_fail,E0502
/// # use firsttouch_memory::Region;
/// let mut region = Region::builder(4096).build()?;
/// // SAFETY: [disjoint] it is the only part.
/// let mut part = unsafe { region.parts().part(0..4096) };
/// assert_eq!(region.as_slice()[0], 0);
/// part.as_mut_slice()[0] = 1;
/// # Ok::<(), firsttouch_memory::MemoryError>(())
/// ```
///
/// In the right order it compiles:
///
/// ```
/// # use firsttouch_memory::Region;
/// let mut region = Region::builder(4096).build()?;
/// // SAFETY: [disjoint] it is the only part.
/// let mut part = unsafe { region.parts().part(0..4096) };
/// part.as_mut_slice()[0] = 1;
/// assert_eq!(region.as_slice()[0], 1);
/// # Ok::<(), firsttouch_memory::MemoryError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    extent: Extent,
    /// The region is borrowed as if its bytes were.
    bytes: PhantomData<&'a mut [u8]>,
}

// SAFETY: the handle itself reaches no byte; those who take parts from it, on
// whatever thread, promise that parts are disjoint.
unsafe impl Send for Parts<'_> {}
// SAFETY: as above.
unsafe impl Sync for Parts<'_> {}

impl<'a> Parts<'a> {
    /// Makes the handle; the caller's region is borrowed exclusively for `'a`.
    pub(crate) fn new(extent: Extent) -> Self {
        Self { extent, bytes: PhantomData }
    }

    /// Returns the region's length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.extent.len
    }

    /// Returns whether the region has no bytes, which no region can be built with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of a page of the region's granted page size.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        self.extent.page_bytes
    }

    /// Takes a part of the region, by its range of bytes.
    ///
    /// # Panics
    ///
    /// Where the range is outside of the region.
    ///
    /// # Safety
    ///
    /// - `[disjoint]` No part that overlaps `range` is alive while this one is.
    #[must_use]
    pub unsafe fn part(&self, range: Range<usize>) -> Part<'a> {
        self.extent.check(&range);
        Part { extent: self.extent, range, bytes: PhantomData }
    }

    /// Has missing pages be provided with their contents for as long as the provider lives; `None` where that cannot be had.
    ///
    /// It can be had for private base pages and hugetlb pages, where the kernel
    /// has `userfaultfd` and no filter refuses it. Of transparent huge pages
    /// the kernel provides none.
    ///
    /// # Safety
    ///
    /// - `[missing]` Until the provider is dropped, or was
    ///   [withdrawn](Provider::withdraw), nobody touches a page of the region that
    ///   was neither there before nor [provided](Provider): who does is killed by
    ///   SIGBUS.
    #[must_use]
    pub unsafe fn provider(&self) -> Option<Provider<'a>> {
        // SAFETY: [missing] is the caller's.
        unsafe { Provider::new(self.extent) }
    }

    /// Moves the pages of ranges of bytes to a node; as [`Region::migrate`].
    ///
    /// It can be called while parts are in use: a thread that accesses a page
    /// that moves waits for it.
    ///
    /// # Errors
    ///
    /// As [`Region::migrate`].
    ///
    /// # Panics
    ///
    /// Where a range is outside of the region.
    ///
    /// [`Region::migrate`]: crate::Region::migrate
    pub fn migrate(
        &self,
        ranges: impl IntoIterator<Item = Range<usize>>,
        node: NodeId,
    ) -> Result<Migrated, MigrateError> {
        migrate::to_node(&self.extent, ranges, node)
    }

    /// Counts where the pages of a range of bytes lie; as [`Region::residency`].
    ///
    /// It reads no byte, so it can be called while parts are in use.
    ///
    /// # Errors
    ///
    /// As [`Region::residency`].
    ///
    /// # Panics
    ///
    /// Where the range is outside of the region.
    ///
    /// [`Region::residency`]: crate::Region::residency
    pub fn residency(&self, range: Range<usize>) -> Result<Residency, MemoryError> {
        residency::of(&self.extent, &range)
    }
}

/// An exclusively borrowed range of a region's bytes.
///
/// It is `Send` and `Sync` as a `&mut [u8]` is.
#[derive(Debug)]
pub struct Part<'a> {
    extent: Extent,
    /// Invariant: within the region.
    range: Range<usize>,
    /// The bytes are borrowed exclusively.
    bytes: PhantomData<&'a mut [u8]>,
}

// SAFETY: the part has its bytes to itself, by [disjoint], as a `&mut [u8]` has.
unsafe impl Send for Part<'_> {}
// SAFETY: nothing of a shared part reaches its bytes.
unsafe impl Sync for Part<'_> {}

impl Part<'_> {
    /// What the part is of.
    pub(crate) fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Returns the part's range, in bytes from the region's start.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Places every page of the part, and changes no byte; as [`Region::populate`].
    ///
    /// A page that the part has only some bytes of is placed as a whole.
    ///
    /// # Errors
    ///
    /// As [`Region::populate`].
    ///
    /// [`Region::populate`]: crate::Region::populate
    pub fn populate(&mut self) -> Result<(), MemoryError> {
        // SAFETY: [exclusive] by [disjoint] and `&mut self`.
        unsafe { populate::populate(&self.extent, &self.range) }
    }

    /// Puts pages of the part into transparent huge pages; as [`Region::collapse`].
    ///
    /// # Errors
    ///
    /// As [`Region::collapse`].
    ///
    /// [`Region::collapse`]: crate::Region::collapse
    pub fn collapse(&mut self) -> Result<usize, MemoryError> {
        let pages = self.extent.whole_pages("collapse", &self.range)?;
        collapse::collapse(&self.extent, &pages)
    }

    /// Gives the pages of the part back to the kernel; those of private memory read as zero afterwards.
    ///
    /// It takes them from this mapping, and from nothing else that may hold them.
    /// Unlike [`Region::discard`] it writes no zeros where the kernel does not
    /// take pages back: that is an error, and the bytes stay. The part must
    /// start and end at multiples of [`Region::page_bytes`], or at the region's
    /// end. The kernel takes pages back from several threads at once.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Misaligned`] for the part's range.
    /// - [`MemoryError::Call`] where its pages are locked, or hugetlb pages
    ///   before Linux 5.18.
    ///
    /// [`Region::discard`]: crate::Region::discard
    /// [`Region::page_bytes`]: crate::Region::page_bytes
    pub fn release(self) -> Result<(), MemoryError> {
        let pages = self.extent.whole_pages("release", &self.range)?;
        if pages.is_empty() {
            return Ok(());
        }
        // SAFETY: [exclusive] by [disjoint] and `self`; whole pages of a part
        // that starts and ends on them have bytes of no other part.
        unsafe { populate::give_back(&self.extent, &pages) }
            .map_err(|error| MemoryError::from_call(populate::DONT_NEED, Some(pages), error))
    }

    /// Returns the part's bytes, to be written.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.as_mut_slice_of()
    }

    /// Returns the part as elements, to be written; as many as fit.
    ///
    /// `T` must have a size, and an alignment of at most 4096; other types do
    /// not compile.
    ///
    /// # Panics
    ///
    /// Where the part does not start at a multiple of `T`'s alignment.
    #[must_use]
    pub fn as_mut_slice_of<T: Pod>(&mut self) -> &mut [T] {
        const { assert_element::<T>() };
        let start = self.range.start;
        // The region starts on a page, so the offset has the address's alignment.
        assert!(
            start % align_of::<T>() == 0,
            "the part starts at byte {start}, which is not a multiple of {}, the alignment of {}; \
             take parts that start at multiples of an element's size",
            align_of::<T>(),
            std::any::type_name::<T>()
        );
        let first = self.extent.at(start).as_ptr().cast();
        // SAFETY: the range is mapped, aligned for `T` and initialised, any
        // bytes are a `T`, and [disjoint] and `&mut self` keep others away.
        unsafe { slice::from_raw_parts_mut(first, self.range.len() / size_of::<T>()) }
    }
}
