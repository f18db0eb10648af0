//! The builder that all jobs on memory share.

use std::num::NonZeroUsize;

use crate::job::Job;
use crate::{Binding, Placement, Steal};

/// A job on memory: what is done, and the options that all such jobs have.
///
/// Applications name it by what it does; each name is this type for another
/// operation `O`, and adds options of its own:
///
/// | job | [`placement`](Self::placement) | [`binding`](Self::binding), [`read_back`](Self::read_back) | default of [`min_chunk`](Self::min_chunk) | default of [`steal`](Self::steal) |
/// |---|---|---|---|---|
/// | [`PageInit`](crate::PageInit) | yes | yes | 2 MiB | [`Steal::Node`] |
/// | [`PageRead`](crate::PageRead) | yes | | 2 MiB | [`Steal::Node`] |
/// | [`PageCollapse`](crate::PageCollapse) | | | a page | [`Steal::Anywhere`] |
/// | [`PagePin`](crate::PagePin) | yes | yes | 2 MiB | [`Steal::Node`] |
/// | [`PageMigration`](crate::PageMigration) | yes | yes | 4 MiB | [`Steal::Node`] |
/// | [`PageRelease`](crate::PageRelease) | | | 8 MiB | [`Steal::Anywhere`] |
/// | [`Replicate`](crate::Replicate) | | yes | 2 MiB | [`Steal::Node`] |
///
/// # Examples
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use firsttouch_job::{MemoryJob, PageInit, PageRelease};
/// use firsttouch_memory::Region;
/// use firsttouch_pool::Pool;
///
/// /// One setting for jobs of all kinds.
/// fn in_background<O>(job: MemoryJob<O>) -> MemoryJob<O> {
///     job.max_threads(NonZeroUsize::MIN)
/// }
///
/// let pool = Pool::new()?;
/// let mut region = Region::builder(8 << 20).build()?;
/// assert_eq!(in_background(PageInit::new(&mut region)).zero(&pool)?.threads, 1);
/// in_background(PageRelease::new(region)).run(&pool);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is done until the job is run"]
#[derive(Clone, Debug)]
pub struct MemoryJob<O> {
    pub(crate) operation: O,
    /// The job over the memory's bytes, with the options that it has too.
    pub(crate) job: Job,
    pub(crate) placement: Placement,
    pub(crate) binding: Binding,
    pub(crate) read_back: bool,
}

/// What other crates cannot name, and so not implement.
pub(crate) mod sealed {
    /// An operation of this crate.
    pub trait Operation {}
}

/// An operation that puts pages where a [`Placement`] says.
///
/// Sealed: jobs read their placement for operations of this crate alone.
pub trait Places: sealed::Operation {}

/// An operation whose pages can be bound to their nodes, and are asked about afterwards.
///
/// Sealed, as [`Places`] is.
pub trait Binds: sealed::Operation {}

impl<O> MemoryJob<O> {
    /// Makes the job over so many bytes of memory with such pages; no thread gets less than `min_chunk`, nor less than a page.
    pub(crate) fn of(operation: O, bytes: usize, page_bytes: usize, min_chunk: usize) -> Self {
        let job = Job::new(0, bytes)
            .align(page_bytes)
            .min_chunk(min_chunk.max(page_bytes))
            .steal(Steal::Node);
        let (placement, binding) = (Placement::default(), Binding::default());
        Self { operation, job, placement, binding, read_back: true }
    }

    /// Sets the most threads, the caller included. Default: as many as the pool has helpers.
    pub fn max_threads(mut self, n: NonZeroUsize) -> Self {
        self.job = self.job.max_threads(n);
        self
    }

    /// Sets the most threads on each node, the caller included. Default: no limit.
    ///
    /// A [`PageInit`](crate::PageInit), and a [`PagePin`](crate::PagePin) of a
    /// region that was not touched, have as many as make a difference, where
    /// [`max_threads`](Self::max_threads) is not set either.
    pub fn max_threads_per_node(mut self, n: NonZeroUsize) -> Self {
        self.job = self.job.max_threads_per_node(n);
        self
    }

    /// Sets the least work worth one thread, in bytes. Default: [as the operation is](Self), or a page of the memory where that is more.
    pub fn min_chunk(mut self, bytes: usize) -> Self {
        self.job = self.job.min_chunk(bytes);
        self
    }

    /// Sets whether threads work on other nodes' pages, as [`Job::steal`] does. Default: [as the operation is](Self).
    ///
    /// With [`Steal::Node`] each page is touched from nearby; with
    /// [`Steal::Anywhere`] no thread is waited for that is busy elsewhere.
    pub fn steal(mut self, steal: Steal) -> Self {
        self.job = self.job.steal(steal);
        self
    }
}

impl<O: Places> MemoryJob<O> {
    /// Sets where the pages go. Default: [`Placement::Blocked`].
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }
}

impl<O: Binds> MemoryJob<O> {
    /// Sets what happens on a node without room. Default: [`Binding::Preferred`]: what does not fit is elsewhere, and the report says so.
    pub fn binding(mut self, binding: Binding) -> Self {
        self.binding = binding;
        self
    }

    /// Sets whether the report reads back where the pages lie, outside of the reported time. Default: it does.
    pub fn read_back(mut self, read_back: bool) -> Self {
        self.read_back = read_back;
        self
    }
}
