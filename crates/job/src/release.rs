//! Page release: memory given back to the kernel by every node's helpers.

mod on_drop;
mod report;
#[cfg(all(test, not(loom)))]
mod tests;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use firsttouch_memory::{AddressRange, Region};
use firsttouch_pool::Pool;

pub use self::on_drop::ReleaseOnDrop;
pub use self::report::ReleaseReport;
use crate::job::body::{Body, NoUndo, Whole};
use crate::job::sites::Sites;
use crate::locality::{Options, find};
use crate::location::parts::{self, Share};
use crate::memory_job::MemoryJob;
use crate::{Chunk, JobError, Steal};

/// The least work worth one thread, in bytes.
///
/// Each call ends with every CPU of the process forgetting the addresses, so
/// it is to be worth that: pieces of 8 MiB and more were equally fast, and
/// pieces of 2 MiB were slower.
const MIN_CHUNK: usize = 8 << 20;

/// Base pages of which one is asked where it lies; a node's part is never less than this by far.
const ASK_EVERY: usize = 512;

/// Parts that a region is given back in at the most, but for the chunks of each.
const MOST_PARTS: usize = 256;

/// Gives a region's pages back to the kernel in parallel, and unmaps it.
///
/// What dropping a region does on one thread, this does on the helpers of the
/// nodes where the pages lie: freeing a page writes to its node's free lists.
/// It pays for base pages; huge pages are few, and are given back at once.
///
/// Its options and their defaults are those of [`MemoryJob`].
///
/// # Examples
///
/// ```
/// use firsttouch_job::{PageInit, PageRelease};
/// use firsttouch_memory::Region;
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let mut region = Region::builder(32 << 20).build()?;
/// PageInit::new(&mut region).fill(&pool, 1_u8)?;
/// let report = PageRelease::new(region).run(&pool);
/// println!("{} bytes in {:?} by {} threads", report.bytes, report.elapsed, report.threads);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type PageRelease = MemoryJob<Release>;

/// The operation of a [`PageRelease`].
#[derive(Debug)]
pub struct Release {
    region: Region,
}

impl PageRelease {
    /// Starts to describe how a region is given back.
    #[must_use = "where run is not called the region is given back on this thread alone"]
    pub fn new(region: Region) -> Self {
        let (len, page_bytes) = (region.len(), region.page_bytes());
        Self::of(Release { region }, len, page_bytes, MIN_CHUNK).steal(Steal::Anywhere)
    }

    /// Gives the pages back, and unmaps the region.
    ///
    /// It does not fail: pages that the kernel does not take back while they
    /// are mapped (locked ones, and hugetlb pages before Linux 5.18) go with
    /// the mapping, on this thread, and the report counts them. With
    /// [`Steal::Anywhere`], the default, it waits for no helper that is busy.
    pub fn run(self, pool: &Pool) -> ReleaseReport {
        let Self { operation: Release { mut region }, job, .. } = self;
        let (bytes, page_size) = (region.len(), region.page_size());
        let span = tracing::debug_span!("page_release", bytes, page_bytes = region.page_bytes());
        let _entered = span.enter();
        let started = Instant::now();
        let kept = AtomicUsize::new(0);
        // A region without pages has nothing that several threads could do.
        let ran = (!region.is_fresh()).then(|| {
            let sites = Sites::of(pool);
            let shares = shares(&region, pool, &sites, job.most_threads());
            let parts = region.parts();
            let body = Body {
                state: || 0,
                chunk: |kept: &mut usize, chunk: &Chunk| {
                    // SAFETY: [disjoint] the job hands out each byte once.
                    let part = unsafe { parts.part(chunk.range()) };
                    if let Err(error) = part.release() {
                        tracing::debug!(%error, "pages are kept until their mapping goes");
                        *kept += chunk.range().len();
                    }
                    Ok::<(), std::convert::Infallible>(())
                },
                done: |own| {
                    // Relaxed: it is read when all threads are joined.
                    kept.fetch_add(own, Ordering::Relaxed);
                },
                undo: NoUndo,
                calls: Whole,
            };
            job.run_shares(pool, &sites, &shares, &body).map_err(JobError::from)
        });
        drop(region);
        let elapsed = started.elapsed();
        let ran = ran.and_then(|ran| {
            let told = |error: &JobError| {
                tracing::warn!(%error, "a region was given back on one thread");
            };
            ran.inspect_err(told).ok()
        });
        ReleaseReport::new(bytes, page_size, kept.into_inner(), elapsed, ran)
    }
}

/// The region's bytes by the node that their pages lie on, as far as asking one page of many tells.
fn shares(
    region: &Region,
    pool: &Pool,
    sites: &Sites<'_>,
    max_threads: Option<NonZeroUsize>,
) -> Vec<Share> {
    let whole = 0..region.len();
    if sites.usable().len() < 2 {
        return parts::anywhere(whole);
    }
    let every = NonZeroUsize::new(ASK_EVERY).unwrap_or(NonZeroUsize::MIN);
    let most_parts = NonZeroUsize::new(MOST_PARTS).unwrap_or(NonZeroUsize::MIN);
    let options = Options { every, most_parts, max_threads };
    let range = AddressRange::of(region.as_slice());
    let found = match find(pool, range, options) {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, "nothing says where the pages lie; any thread gives them back");
            return parts::anywhere(whole);
        }
    };
    let page_bytes = region.page_bytes();
    let mut at = 0;
    let parts: Vec<_> = found
        .parts
        .into_iter()
        .map(|(node, part): (_, Range<usize>)| {
            let end = part.end.next_multiple_of(page_bytes).min(whole.end);
            (node, std::mem::replace(&mut at, end)..end)
        })
        .collect();
    if parts.is_empty() || parts::check(&whole, &parts, sites.topology()).is_err() {
        return parts::anywhere(whole);
    }
    parts::by_node(parts)
}
