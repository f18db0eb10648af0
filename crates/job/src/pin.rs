//! Page pinning: memory that the kernel keeps in place of paging it out, populated by every node's helpers.

mod pinned;
mod report;
#[cfg(all(test, not(loom)))]
mod tests;

use std::borrow::BorrowMut;
use std::convert::identity;
use std::num::NonZeroUsize;
use std::time::Instant;

use firsttouch_memory::{PageSize, Region};
use firsttouch_pool::Pool;

pub use self::pinned::PinnedPages;
pub use self::report::PinReport;
use crate::job::Job;
use crate::{Binding, JobError, Location, PageInit, Placement, RunError, Steal, pages};

/// The least work worth one thread, in bytes, where huge pages do not make it more; as for a page initialisation.
const MIN_CHUNK: usize = 2 << 20;

/// The most bytes populated by one call, which holds the process's memory map for as long as it lasts.
const POPULATE_PIECE: usize = 32 << 20;

/// Pins a region's pages: every one is populated by its node's helpers, and kept in memory until unlocked.
///
/// This is what a virtual machine monitor needs before it hands its guest's
/// memory to a device (VFIO), and what a program with deadlines needs before
/// they begin. A pinned page is never paged out. The kernel may still move it
/// to another place in memory, so its physical address is no promise.
///
/// A region that was not touched yet is placed first, exactly as
/// [`PageInit::zero`] does. In one that was, pages stay where they are and
/// hold what they hold, and missing ones come by the region's policies. So it
/// is with one that other processes touched, or may have touched unseen: see
/// [`Region::is_fresh`].
///
/// The region can be borrowed (`PagePin::new(&mut region)`) or given away
/// (`PagePin::new(region)`), so that a struct can keep the
/// [`PinnedPages`]. A region given away is dropped with an error.
///
/// Only a region can be pinned. The kernel locks whole pages, and locks do not
/// nest, so that to unlock a slice would unlock its neighbours' bytes too.
///
/// # How it is done
///
/// The whole region is locked first, by one call that touches no page
/// (`mlock2` with `MLOCK_ONFAULT`): that is when the kernel compares with the
/// limit, so a refusal comes at once and leaves nothing behind. Then the
/// helpers populate it in parallel, and each page is locked as it comes.
/// `mlock` over parts, from several threads, was measured to be slower than
/// from one: each part is cut out as a mapping of its own, by one thread at a
/// time. Populating first and locking then was slower by the second walk over
/// all pages.
///
/// # Examples
///
/// ```
/// use firsttouch_job::{JobError, PagePin};
/// use firsttouch_memory::{MemoryError, Region};
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let mut region = Region::builder(64 << 10).build()?;
/// match PagePin::new(&mut region).run(&pool) {
///     Ok(mut pinned) => {
///         println!("{} bytes in {:?}", pinned.report().bytes, pinned.report().elapsed);
///         pinned.as_mut_slice()[0] = 1;
///         // Unlocked here, as by `pinned.unlock()`.
///     }
///     Err(JobError::Lock(MemoryError::LockLimit { limit, .. })) => {
///         println!("this process may lock {limit} bytes");
///     }
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is pinned until run is called"]
#[derive(Debug)]
pub struct PagePin<R> {
    region: R,
    placement: Placement,
    binding: Binding,
    max_threads: Option<NonZeroUsize>,
    max_threads_per_node: Option<NonZeroUsize>,
    min_chunk: Option<usize>,
    read_back: bool,
}

impl<R: BorrowMut<Region>> PagePin<R> {
    /// Starts to describe how a region is pinned.
    pub fn new(region: R) -> Self {
        Self {
            region,
            placement: Placement::default(),
            binding: Binding::default(),
            max_threads: None,
            max_threads_per_node: None,
            min_chunk: None,
            read_back: true,
        }
    }

    /// Sets where the pages of a region go that was not touched yet. Default: [`Placement::Blocked`].
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Sets what happens on a node without room. Default: [`Binding::Preferred`].
    pub fn binding(mut self, binding: Binding) -> Self {
        self.binding = binding;
        self
    }

    /// Sets the most threads, the caller included. Default: as many as the pool has helpers.
    pub fn max_threads(mut self, n: NonZeroUsize) -> Self {
        self.max_threads = Some(n);
        self
    }

    /// Sets the most threads on each node, the caller included. Default: no limit.
    pub fn max_threads_per_node(mut self, n: NonZeroUsize) -> Self {
        self.max_threads_per_node = Some(n);
        self
    }

    /// Sets the least work worth one thread, in bytes. Default: 2 MiB, or a page of the region where that is more.
    pub fn min_chunk(mut self, bytes: usize) -> Self {
        self.min_chunk = Some(bytes);
        self
    }

    /// Sets whether the report reads back where the pages lie, outside of the reported time. Default: it does.
    pub fn read_back(mut self, read_back: bool) -> Self {
        self.read_back = read_back;
        self
    }

    /// Pins the pages, and returns a guard that unlocks them when it drops.
    ///
    /// # Errors
    ///
    /// - [`JobError::Lock`] where the kernel locks no memory, or not so much:
    ///   [`MemoryError::LockLimit`](firsttouch_memory::MemoryError::LockLimit)
    ///   says what is allowed, what is asked and how to raise it. Nothing was
    ///   touched then.
    /// - What [`PageInit::zero`] returns, where a page cannot be had or placed.
    ///   What was locked is unlocked again; pages that came stay.
    pub fn run(self, pool: &Pool) -> Result<PinnedPages<R>, JobError> {
        let started = Instant::now();
        let (len, page_bytes) = {
            let region = self.region.borrow();
            (region.len(), region.page_bytes())
        };
        let span = tracing::debug_span!("page_pin", bytes = len, page_bytes);
        let _entered = span.enter();
        // From here on an error, or a panic, unlocks what was locked.
        let mut pinned = PinnedPages::lock(self.region).map_err(JobError::Lock)?;
        let min_chunk = self.min_chunk.unwrap_or(MIN_CHUNK.max(page_bytes));
        let report = if pinned.is_fresh() {
            let mut init = PageInit::new(&mut pinned)
                .placement(self.placement)
                .binding(self.binding)
                .min_chunk(min_chunk)
                .read_back(false);
            if let Some(threads) = self.max_threads {
                init = init.max_threads(threads);
            }
            if let Some(threads) = self.max_threads_per_node {
                init = init.max_threads_per_node(threads);
            }
            PinReport::from(init.zero(pool)?)
        } else {
            let mut job = Job::new(0, len)
                .align(page_bytes)
                .min_chunk(min_chunk)
                .location(Location::Spread)
                .steal(Steal::Node);
            if let Some(threads) = self.max_threads {
                job = job.max_threads(threads);
            }
            if let Some(threads) = self.max_threads_per_node {
                job = job.max_threads_per_node(threads);
            }
            populate(&mut pinned, pool, job)?
        };
        let elapsed = started.elapsed();
        let locked = match pinned.page_size() {
            PageSize::Huge(_) => 0,
            _ => len.next_multiple_of(page_bytes),
        };
        let residency = self.read_back.then(|| {
            // The pages stay; only the handle to ask about them is borrowed.
            pages::residency(pool, pinned.parts(), self.max_threads)
        });
        let residency = residency.and_then(identity);
        pinned.set_report(PinReport { elapsed, locked, residency, ..report });
        Ok(pinned)
    }
}

/// Populates a region that has pages already; those stay as they are.
fn populate(region: &mut Region, pool: &Pool, job: Job) -> Result<PinReport, JobError> {
    let (len, page_size) = (region.len(), region.page_size());
    let piece = POPULATE_PIECE.next_multiple_of(region.page_bytes());
    let parts = region.parts();
    let ran = job.try_run(pool, |chunk| {
        let range = chunk.range();
        for start in range.clone().step_by(piece) {
            let piece = start..range.end.min(start + piece);
            // SAFETY: [disjoint] the job hands out each byte once.
            let mut part = unsafe { parts.part(piece.clone()) };
            part.populate().map_err(|source| (piece, source))?;
        }
        Ok(())
    });
    match ran {
        Ok(report) => Ok(PinReport::new(report, len, page_size)),
        Err(RunError::Job(error)) => Err(error),
        Err(RunError::Chunk(failed)) => {
            let (range, source) = failed.error;
            Err(JobError::Populate { range, source })
        }
    }
}
