//! Page initialisation: the main job.

mod collapse;
mod elements;
mod follow;
pub(crate) mod free_memory;
mod interleave;
pub(crate) mod placement;
pub(crate) mod policies;
mod provide;
mod read;
mod read_back;
mod report;
mod scaling;
mod stores;
mod touch;

use std::num::NonZeroUsize;
use std::time::Instant;

use firsttouch_memory::{Part, Pod, Region, streaming};
use firsttouch_pool::Pool;

pub use self::collapse::{Collapse, CollapseReport, PageCollapse};
use self::elements::Elements;
use self::placement::lay_out;
pub use self::placement::{Binding, Placement};
use self::provide::{Contents, Provide};
pub use self::read::{PageRead, Read};
pub use self::report::{InitPages, InitReport, PolicyUse};
pub use self::stores::Stores;
use self::stores::Writing;
use self::touch::{Failure, Own, Pieces, Touch};
use crate::job::Job;
use crate::job::body::{Body, NoUndo, Whole};
use crate::job::sites::Sites;
use crate::memory_job::{Binds, MemoryJob, Places, sealed};
use crate::plan::Grain;
use crate::schedule::Cut;
use crate::{Chunk, JobError, RunError};

/// The least work worth one thread, in bytes, where huge pages do not make it more.
///
/// A helper wakes in some microseconds, in which the kernel clears some tens
/// of kilobytes; and two threads that are given less than this each meet on the
/// lock of the page table that they share: one maps so much of base pages.
const MIN_CHUNK: usize = 2 << 20;

/// The most bytes of a chunk, where a page is not longer.
///
/// What one thread does alone at the end is at most a chunk, so chunks are
/// short; and populating in pieces of 2 to 32 MiB was found equally fast, so
/// they need not be shorter. The call holds the process's memory map for as
/// long as it lasts.
const MOST_CHUNK: usize = 16 << 20;

/// Chunks for each thread, where they are not too short then: the last ones to end are this part of the whole.
const CHUNKS_PER_THREAD: usize = 32;

/// Initialises a region: every page is touched first by a thread near the node where the placement puts it.
///
/// The region's whole contents are replaced. A region that was touched before
/// is [discarded](Region::discard) first, so that its pages are placed anew.
///
/// Where more than one node can be used, each node's bytes get a policy before
/// they are touched, so that it and not luck decides where pages go; and each
/// node's bytes are touched by the helpers of that node, so that they are
/// cleared from nearby. The policies stay with the region: pages that are
/// discarded and touched later go where the placement put the first. Where the
/// kernel refuses policies, first touch alone places the pages, a `warn` event
/// says so, and so does the report.
///
/// No chunk is less than a page of the region, so two threads never clear the
/// same huge page, but for elements that lie across two chunks. A region of
/// less than 4 MiB is initialised by the caller alone.
///
/// Regions of [shared memory](firsttouch_memory::RegionBuilder::shared) and
/// [of files](Region::map_file) are initialised in the same way; what a file
/// had is lost. The page cache of a file follows the policies of threads, and
/// so each thread has that of its chunk's node ([`PolicyUse::Thread`]). Where
/// the last page of a file is the region's in part, it stays where it is.
///
/// Where neither `max_threads` nor `max_threads_per_node` is set, each node has
/// as many threads as make a difference. These are all of a node's helpers
/// where it has up to some 20 of them, 31 of 32, 58 of 64 and 129 of 256: the
/// fewest with which it takes no more than 2 % longer than with all, on a
/// machine whose memory keeps up with threads better than any that was
/// published. See `docs/page-init-threads.md`.
///
/// The options that other jobs on memory have too, and their defaults, are
/// those of [`MemoryJob`].
///
/// # Examples
///
/// ```
/// use firsttouch_job::PageInit;
/// use firsttouch_memory::Region;
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let mut region = Region::builder(8 << 20).build()?;
/// let report = PageInit::new(&mut region).fill_with(&pool, |first, numbers: &mut [u64]| {
///     for (number, index) in numbers.iter_mut().zip(first..) {
///         *number = index as u64;
///     }
/// })?;
/// assert_eq!(report.bytes, 8 << 20);
/// assert_eq!(region.as_slice_of::<u64>()[123_456], 123_456);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type PageInit<'r> = MemoryJob<Init<'r>>;

/// The operation of a [`PageInit`].
#[derive(Debug)]
pub struct Init<'r> {
    region: &'r mut Region,
    stores: Stores,
}

impl sealed::Operation for Init<'_> {}
impl Places for Init<'_> {}
impl Binds for Init<'_> {}

/// What the chunks of a region's initialisation begin at multiples of, in bytes: page tables of base pages, unless shorter chunks are wanted.
fn chunk_align(len: usize, page_bytes: usize, least_chunk: usize) -> usize {
    if len < 2 * MIN_CHUNK || least_chunk < MIN_CHUNK {
        page_bytes
    } else {
        MIN_CHUNK.max(page_bytes)
    }
}

impl<'r> PageInit<'r> {
    /// Starts to describe the initialisation of a region.
    pub fn new(region: &'r mut Region) -> Self {
        let (len, page_bytes) = (region.len(), region.page_bytes());
        Self::of(Init { region, stores: Stores::default() }, len, page_bytes, MIN_CHUNK)
    }

    /// Sets how pages get what they are to hold. Default: [`Stores::Auto`].
    ///
    /// [`zero`](Self::zero) and [`fill_with`](Self::fill_with) know two ways:
    /// with [`Stores::Auto`] and [`Stores::Provided`] pages come with zeros
    /// where that can be had, else the kernel clears them.
    pub fn stores(mut self, stores: Stores) -> Self {
        self.operation.stores = stores;
        self
    }

    /// Places every page and leaves every byte zero, as it comes from the kernel; nothing is written to it.
    ///
    /// # Errors
    ///
    /// - [`JobError::Block`], [`JobError::NoNodes`] or
    ///   [`JobError::NodeWithoutMemory`] for the placement.
    /// - [`JobError::NotEnoughFree`], [`JobError::NotEnoughHugePages`],
    ///   [`JobError::FreeUnknown`] or [`JobError::Policy`] with [`Binding::Bind`].
    /// - [`JobError::Discard`] where old pages cannot be given back.
    /// - [`JobError::Init`] where memory runs out. Pages placed before then
    ///   stay; what the region holds is not specified until it is initialised
    ///   again.
    pub fn zero(self, pool: &Pool) -> Result<InitReport, JobError> {
        let bytes = Elements::new(self.operation.region.len(), 1);
        let writing = self.writing(Contents::Zeros);
        self.run(pool, bytes, writing, Contents::Zeros, |_, _| ())
    }

    /// Places every page and writes the same element all over; a byte, for a byte pattern.
    ///
    /// Bytes past the last whole element stay zero. An element of which every
    /// byte is zero is not written at all: see [`PageInit::zero`].
    ///
    /// # Errors
    ///
    /// As for [`PageInit::zero`].
    pub fn fill<T: Pod>(self, pool: &Pool, element: T) -> Result<InitReport, JobError> {
        // Bytes can go to other threads, whatever the type.
        let bytes = bytemuck::bytes_of(&element);
        if bytes.iter().all(|&byte| byte == 0) {
            return self.zero(pool);
        }
        let bytes = bytes.to_vec();
        let elements = Elements::new(self.operation.region.len(), size_of::<T>());
        let writing = self.writing(Contents::Repeated);
        self.run(pool, elements, writing, Contents::Repeated, |_, part| {
            let element: T = bytemuck::pod_read_unaligned(&bytes);
            let elements = part.as_mut_slice_of();
            if writing.streams {
                streaming::fill(elements, element);
            } else {
                elements.fill(element);
            }
        })
    }

    /// Places every page and copies elements to the region's start.
    ///
    /// Bytes past the last element stay zero. Each thread copies to the pages
    /// of its own node, from wherever the source lies.
    ///
    /// # Errors
    ///
    /// [`JobError::SourceTooLong`] where the region has not as many bytes, and
    /// as for [`PageInit::zero`].
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_job::PageInit;
    /// use firsttouch_memory::Region;
    /// use firsttouch_pool::Pool;
    ///
    /// let pool = Pool::new()?;
    /// let numbers: Vec<u32> = (0..1 << 20).collect();
    /// let mut region = Region::builder(4 << 20).build()?;
    /// PageInit::new(&mut region).copy_from(&pool, &numbers)?;
    /// assert_eq!(region.as_slice_of::<u32>(), numbers);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_from<T: Pod>(self, pool: &Pool, source: &[T]) -> Result<InitReport, JobError> {
        // Bytes can be read by other threads, whatever the type.
        let source: &[u8] = bytemuck::cast_slice(source);
        let room = self.operation.region.len();
        if source.len() > room {
            return Err(JobError::SourceTooLong { bytes: source.len(), room });
        }
        let bytes = Elements::new(room, 1);
        let contents = Contents::Copied(source);
        let writing = self.writing(contents);
        self.run(pool, bytes, writing, contents, |first, part| {
            let to = part.as_mut_slice();
            let from = &source[first.min(source.len())..];
            let len = to.len().min(from.len());
            let (to, from) = (&mut to[..len], &from[..len]);
            if writing.streams {
                streaming::copy(to, from);
            } else {
                to.copy_from_slice(from);
            }
        })
    }

    /// Places every page and has a closure write the elements.
    ///
    /// The closure gets the index of the first element and the elements, all
    /// zero, of one piece after another, in no particular order and on several
    /// threads; each element once. A piece is as large as a core's cache
    /// holds, or a huge page. Bytes past the last whole element stay zero.
    ///
    /// With [`Placement::Interleaved`] the thread's own policy may be that of
    /// the piece's node while the closure runs; what the closure allocates then
    /// comes from there too.
    ///
    /// An element that lies across two chunks is written by the thread of the
    /// first, which may be the first to touch the page that it ends on. The
    /// page goes where the placement puts it even so, but where policies are
    /// refused. Elements whose size divides the page never lie so.
    ///
    /// # Errors
    ///
    /// As for [`PageInit::zero`].
    ///
    /// # Panics
    ///
    /// With the closure's panic; no thread begins another chunk after that.
    pub fn fill_with<T: Pod>(
        self,
        pool: &Pool,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<InitReport, JobError> {
        let elements = Elements::new(self.operation.region.len(), size_of::<T>());
        // A closure writes as it does, so that is by pieces which a cache holds.
        let writing = self.writing(Contents::Written);
        self.run(pool, elements, writing, Contents::Written, |first, part| {
            f(first, part.as_mut_slice_of());
        })
    }

    /// The job, with the default limit on each node where no limit was set.
    fn limited(&self, sites: &Sites<'_>) -> Job {
        let job = self.job.clone();
        let most = sites.helper_counts().into_iter().max().and_then(NonZeroUsize::new);
        match most {
            Some(most) if !job.is_limited() => {
                job.max_threads_per_node(scaling::threads_per_node(most))
            }
            _ => job,
        }
    }

    /// How the region is written.
    fn writing(&self, contents: Contents<'_>) -> Writing {
        self.operation.stores.writing(self.operation.region.page_bytes(), contents)
    }

    /// Initialises by pieces: has each come with its contents, or populates it and then writes to the elements it owns.
    fn run(
        self,
        pool: &Pool,
        elements: Elements,
        writing: Writing,
        contents: Contents<'_>,
        write: impl Fn(usize, &mut Part<'_>) + Sync,
    ) -> Result<InitReport, JobError> {
        let (len, page_bytes) = (self.operation.region.len(), self.operation.region.page_bytes());
        let page_size = self.operation.region.page_size();
        let span = tracing::debug_span!("page_init", bytes = len, page_bytes);
        let _entered = span.enter();
        let started = Instant::now();
        let sites = Sites::of(pool);
        let job = self.limited(&sites);
        let align = chunk_align(len, page_bytes, job.least_chunk());
        let job = job.align(align);
        let layout = lay_out(&self.placement, len, page_bytes, &sites, job.most_per_node())?;
        // Of shared memory this is what the kernel says of all who have it: a
        // page that another process wrote is not left as it is.
        if !self.operation.region.is_fresh() {
            self.operation.region.discard(0..len).map_err(JobError::Discard)?;
        }
        if self.binding == Binding::Bind {
            free_memory::check(&layout, sites.topology(), page_size, page_bytes)?;
        }
        let several = sites.usable().len() > 1;
        let (layout, policy) = policies::set(self.operation.region, layout, self.binding, several)?;

        let longest = longest_chunk(&job, len, page_bytes, &sites);
        let cut = Cut { grain: Grain::AtMost(longest), ..Cut::KERNEL };
        let parts = self.operation.region.parts();
        let provide = writing.provides.then(|| Provide::new(parts, elements, contents)).flatten();
        let piece = writing.piece(contents, provide.is_some());
        let pieces = Pieces { elements, piece, provide };
        let touch = Touch::new(parts, &layout, pieces, self.binding, policy, &sites);
        let body = Body {
            state: || touch.begin(),
            chunk: |own: &mut Own, chunk: &Chunk| touch.chunk(own, chunk, &write),
            done: |own| touch.end(own),
            undo: NoUndo,
            calls: Whole,
        };
        let ran = job.cut(cut).run_shares(pool, &sites, &layout.shares, &body);
        let ran = ran.map_err(|stopped| match stopped {
            RunError::Job(error) => error,
            RunError::Chunk(failed) => match failed.error {
                Failure::Policy { range, source } => JobError::Policy { range, source },
                Failure::Populate { node, range, source } => {
                    let placed = read_back::bytes_on(parts, node, len);
                    let (initialised, source) = (touch.initialised(), Box::new(source));
                    JobError::Init { node, range, initialised, placed, source }
                }
            },
        })?;
        let (policy, provided) = (touch.policy(), touch.provided());
        // Missing pages are the kernel's again after that.
        let records = touch.into_records();
        let elapsed = started.elapsed();
        let pages = self.read_back.then(|| {
            read_back::read_back(
                pool,
                parts,
                sites.topology(),
                &layout,
                &records,
                self.job.most_threads(),
            )
        });
        Ok(InitReport {
            bytes: len,
            provided,
            page_size,
            chunks: ran.chunks,
            local_chunks: ran.local_chunks,
            threads: ran.threads,
            moved_helpers: ran.moved_helpers,
            elapsed,
            nodes: ran.nodes,
            policy,
            pages: pages.flatten(),
        })
    }
}

/// The longest chunk of a job over so many bytes, for a pool of so many helpers.
fn longest_chunk(job: &Job, len: usize, page_bytes: usize, sites: &Sites<'_>) -> usize {
    let share = len / job.threads(sites).saturating_mul(CHUNKS_PER_THREAD);
    share.min(MOST_CHUNK).max(job.least_chunk()).max(page_bytes)
}

#[cfg(all(test, not(loom)))]
mod tests;
