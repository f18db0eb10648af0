//! Page pinning: memory that the kernel keeps in place of paging it out, populated by every node's helpers.

mod pinned;
mod report;
#[cfg(all(test, not(loom)))]
mod tests;

use std::borrow::BorrowMut;
use std::time::Instant;

use firsttouch_memory::{PageSize, Region};
use firsttouch_pool::Pool;

pub use self::pinned::PinnedPages;
pub use self::report::PinReport;
use crate::job::Job;
use crate::memory_job::{Binds, MemoryJob, Places, sealed};
use crate::{JobError, Location, PageInit, RunError, pages};

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
/// [`PageInit::zero`] does with the same options; so without a limit on
/// threads, each node has as many as make a difference. In one that was
/// touched, pages stay where they are and hold what they hold, and missing ones
/// come by the region's policies: [`placement`](MemoryJob::placement) and
/// [`binding`](MemoryJob::binding) do nothing there, and by default a node has
/// as many threads as it has helpers. So it is with one that other processes
/// touched, or may have touched unseen: see [`Region::is_fresh`].
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
/// Its options and their defaults are those of [`MemoryJob`].
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
pub type PagePin<R> = MemoryJob<Pin<R>>;

/// The operation of a [`PagePin`].
#[derive(Debug)]
pub struct Pin<R> {
    region: R,
}

impl<R> sealed::Operation for Pin<R> {}
impl<R> Places for Pin<R> {}
impl<R> Binds for Pin<R> {}

impl<R: BorrowMut<Region>> PagePin<R> {
    /// Starts to describe how a region is pinned.
    pub fn new(region: R) -> Self {
        let (len, page_bytes) = {
            let region = region.borrow();
            (region.len(), region.page_bytes())
        };
        Self::of(Pin { region }, len, page_bytes, MIN_CHUNK)
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
        let Self { operation: Pin { region }, job, placement, binding, read_back } = self;
        let (len, page_bytes) = {
            let region = region.borrow();
            (region.len(), region.page_bytes())
        };
        let span = tracing::debug_span!("page_pin", bytes = len, page_bytes);
        let _entered = span.enter();
        // From here on an error, or a panic, unlocks what was locked.
        let mut pinned = PinnedPages::lock(region).map_err(JobError::Lock)?;
        let most_threads = job.most_threads();
        let report = if pinned.is_fresh() {
            let mut init = PageInit::new(&mut pinned).placement(placement).binding(binding);
            init.job = job;
            PinReport::from(init.read_back(false).zero(pool)?)
        } else {
            populate(&mut pinned, pool, job.location(Location::Spread))?
        };
        let elapsed = started.elapsed();
        let locked = match pinned.page_size() {
            PageSize::Huge(_) => 0,
            _ => len.next_multiple_of(page_bytes),
        };
        // The pages stay; only the handle to ask about them is borrowed.
        let residency =
            if read_back { pages::residency(pool, pinned.parts(), most_threads) } else { None };
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
