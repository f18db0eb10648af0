//! Putting a region's base pages into huge pages by many threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use firsttouch_memory::Region;
use firsttouch_pool::Pool;

use crate::init::longest_chunk;
use crate::job::sites::Sites;
use crate::memory_job::MemoryJob;
use crate::plan::Grain;
use crate::schedule::Cut;
use crate::{JobError, Location, RunError, Steal};

/// Puts the pages of a region that was touched before into transparent huge pages, copying them.
///
/// See [`Region::collapse`] for what is collapsed and what stays as it was. No
/// two threads work on the same huge page. The kernel takes a huge page on the
/// node that has most of what is copied to it, so pages stay near where they were.
///
/// Its options and their defaults are those of [`MemoryJob`].
///
/// # Examples
///
/// ```
/// use firsttouch_job::PageCollapse;
/// use firsttouch_memory::{PageSize, Region};
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let built = Region::builder(8 << 20).page_size(PageSize::Transparent).build();
/// # if built.as_ref().is_err_and(|error| error.is_page_size_unavailable()) { return Ok(()); }
/// let mut region = built?;
/// region.as_mut_slice().fill(1);
/// match PageCollapse::new(&mut region).run(&pool) {
///     Ok(report) => println!("{} of {} bytes are in huge pages", report.huge, report.bytes),
///     // Before Linux 6.1.
///     Err(error) => println!("{error}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type PageCollapse<'r> = MemoryJob<Collapse<'r>>;

/// The operation of a [`PageCollapse`].
#[derive(Debug)]
pub struct Collapse<'r> {
    region: &'r mut Region,
}

/// What a collapse did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollapseReport {
    /// Bytes of the region.
    pub bytes: usize,
    /// Bytes that huge pages map, in whole huge pages; the last one can reach past the region's end.
    pub huge: usize,
    /// Threads that took part, the caller included.
    pub threads: usize,
    /// From the call to the end of the last chunk's thread.
    pub elapsed: Duration,
}

impl<'r> PageCollapse<'r> {
    /// Starts to describe the collapse of a region's pages.
    pub fn new(region: &'r mut Region) -> Self {
        let (len, page_bytes) = (region.len(), region.page_bytes());
        let mut own = Self::of(Collapse { region }, len, page_bytes, page_bytes);
        own.job = own.job.location(Location::Spread).steal(Steal::Anywhere);
        own
    }

    /// Collapses, and returns when all huge pages were tried.
    ///
    /// # Errors
    ///
    /// [`JobError::Collapse`] with the kernel's refusal, before Linux 6.1
    /// above all; or where the region is not of transparent huge pages.
    pub fn run(self, pool: &Pool) -> Result<CollapseReport, JobError> {
        let Self { operation: Collapse { region }, job, .. } = self;
        let bytes = region.len();
        let longest = longest_chunk(&job, bytes, region.page_bytes(), &Sites::of(pool));
        let cut = Cut { grain: Grain::AtMost(longest), ..Cut::KERNEL };
        let (parts, huge) = (region.parts(), AtomicUsize::new(0));
        let ran = job.cut(cut).try_run(pool, |chunk| {
            // SAFETY: [disjoint] the job hands out each byte once.
            let mut part = unsafe { parts.part(chunk.range()) };
            // Relaxed: it is read when all threads are joined.
            part.collapse().map(|bytes| huge.fetch_add(bytes, Ordering::Relaxed)).map(drop)
        });
        let ran = ran.map_err(|stopped| match stopped {
            RunError::Job(error) => error,
            RunError::Chunk(failed) => JobError::Collapse(failed.error),
        })?;
        let (huge, threads, elapsed) = (huge.into_inner(), ran.threads, ran.elapsed);
        Ok(CollapseReport { bytes, huge, threads, elapsed })
    }
}
