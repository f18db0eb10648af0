//! Reading a file into the page cache by many threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use firsttouch_memory::{FileView, MemoryError};
use firsttouch_pool::Pool;

use crate::init::follow::{Follow, Following};
use crate::init::placement::{Binding, lay_out};
use crate::init::{MIN_CHUNK, longest_chunk};
use crate::job::body::{Body, NoUndo, Whole};
use crate::job::sites::Sites;
use crate::memory_job::{MemoryJob, Places, sealed};
use crate::plan::Grain;
use crate::schedule::Cut;
use crate::{Chunk, JobError, JobReport, RunError};

/// Reads a file's pages: each is read and mapped by a thread near the node where the placement puts it.
///
/// The page cache follows the policy of the thread that reads a page, not that
/// of a mapping; so each thread has the policy of its node while it reads. A
/// page that is cached already stays where it is, as others may use it there.
///
/// The kernel reads ahead around the page that a thread touches, up to what the
/// file's disk has in `queue/read_ahead_kb` (128 KiB by default), and all that
/// it reads comes to the node of that thread. So the pages next to where one
/// node's bytes end can lie on the other, and so can most of a file that is
/// [interleaved](crate::Placement::Interleaved) by blocks not much larger than what
/// is read ahead: let a block be some MiB.
///
/// The report says who read what. [`FileView::residency`] tells where the pages
/// lie.
///
/// Its options and their defaults are those of [`MemoryJob`].
///
/// # Examples
///
/// ```
/// use firsttouch_job::PageRead;
/// use firsttouch_memory::FileView;
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let file = std::fs::File::open("/proc/self/exe")?;
/// let len = file.metadata()?.len();
/// // SAFETY: [long], [unchanged] the kernel lets nobody write to a program that runs.
/// let program = unsafe { FileView::map(&file, 0..len)? };
/// let report = PageRead::new(&program).run(&pool)?;
/// assert_eq!(report.size as u64, len);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type PageRead<'v> = MemoryJob<Read<'v>>;

/// The operation of a [`PageRead`].
#[derive(Debug)]
pub struct Read<'v> {
    view: &'v FileView,
}

impl sealed::Operation for Read<'_> {}
impl Places for Read<'_> {}

impl<'v> PageRead<'v> {
    /// Starts to describe the reading of a view's file.
    pub fn new(view: &'v FileView) -> Self {
        Self::of(Read { view }, view.len(), view.page_bytes(), MIN_CHUNK)
    }

    /// Reads, and returns when all pages are mapped; the report counts in bytes.
    ///
    /// # Errors
    ///
    /// - [`JobError::Block`], [`JobError::NoNodes`] or
    ///   [`JobError::NodeWithoutMemory`] for the placement.
    /// - [`JobError::Init`] where a page cannot be read, or memory runs out.
    pub fn run(self, pool: &Pool) -> Result<JobReport, JobError> {
        let Self { operation: Read { view }, job, placement, .. } = self;
        let (len, page_bytes) = (view.len(), view.page_bytes());
        let sites = Sites::of(pool);
        let layout = lay_out(&placement, len, page_bytes, &sites, job.most_per_node())?;
        let follow = (sites.usable().len() > 1).then(|| Follow::new(Binding::Preferred));
        let read = AtomicUsize::new(0);
        let longest = longest_chunk(&job, len, page_bytes, &sites);
        let cut = Cut { grain: Grain::AtMost(longest), ..Cut::KERNEL };
        let body = Body {
            state: Following::default,
            chunk: |own: &mut Following, chunk: &Chunk| {
                let node = chunk.node;
                for range in layout.bytes(node, chunk.range()) {
                    let placed = match (&follow, node) {
                        (Some(follow), Some(node)) => follow.follow(own, node),
                        _ => Ok(()),
                    };
                    let came = placed.and_then(|()| view.populate(range.clone()));
                    came.map_err(|source| (node, range.clone(), source))?;
                    // Relaxed: it is read when all threads are joined.
                    read.fetch_add(range.len(), Ordering::Relaxed);
                }
                Ok::<(), (_, _, MemoryError)>(())
            },
            done: drop,
            undo: NoUndo,
            calls: Whole,
        };
        let ran = job.cut(cut).run_shares(pool, &sites, &layout.shares, &body);
        ran.map_err(|stopped| match stopped {
            RunError::Job(error) => error,
            RunError::Chunk(failed) => {
                let (node, range, source) = failed.error;
                let found = view.residency(0..len).ok();
                let placed = found.map(|found| {
                    let pages = node.map_or(found.present(), |node| found.pages_on(node));
                    pages * found.page_bytes() as u64
                });
                let (initialised, source) = (read.into_inner(), Box::new(source));
                JobError::Init { node, range, initialised, placed, source }
            }
        })
    }
}
