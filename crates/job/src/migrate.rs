//! Page migration: a region's pages moved to a new placement, by the helpers of the nodes they go to.

mod batches;
mod report;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Instant;

use firsttouch_memory::{MemoryError, Migrated, PageSize, Region};
use firsttouch_pool::Pool;
use firsttouch_topology::NodeId;

use self::batches::BATCH;
pub use self::report::{MigrationReport, NodeMigration};
use crate::init::placement::lay_out;
use crate::init::policies;
use crate::job::body::{Body, NoUndo, Whole};
use crate::job::sites::Sites;
use crate::memory_job::{Binds, MemoryJob, Places, sealed};
use crate::sync::{Mutex, lock};
use crate::{Binding, Chunk, JobError, RunError, pages};

/// The least work worth one thread, in bytes.
///
/// A call that moves pages first has all CPUs hand in the pages that they keep
/// aside: 30 microseconds were measured on two CPUs, which copying 4 MiB makes
/// little of.
const MIN_CHUNK: usize = 4 << 20;

/// Moves a region's pages to a new placement; contents and addresses stay.
///
/// Where more than one node can be used, each node's bytes get their new
/// policy first, so that pages that are touched later go there too; then the
/// helpers of the nodes that pages go to move them, in batches, and try pages
/// that somebody holds for the moment again a few times. Transparent huge pages
/// and hugetlb pages move as units. The report counts what came of every page,
/// and reads back where all of them lie.
///
/// Where a node has no room, what does not fit stays and the report counts it,
/// unless it is [bound](MemoryJob::binding): then it is an error. Unlike a page
/// initialisation, a migration to a full node never brings the OOM killer about.
///
/// Of an [interleaved](crate::Placement::Interleaved) region the first block
/// goes to the node with the lowest number, in blocks of one page too. (A page
/// that is touched later can go to another node there, as the kernel begins to
/// count where it likes.)
///
/// Threads may go on reading and writing the memory from other processes or
/// through raw pointers; an access to a page that moves waits for it.
///
/// The kernel moves at most what one process has to itself: after a `fork`
/// pages that both have stay where they are ([`Migrated::fixed`]).
///
/// Its options and their defaults are those of [`MemoryJob`].
///
/// # Examples
///
/// ```
/// use firsttouch_job::{PageMigration, Placement};
/// use firsttouch_memory::Region;
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let mut region = Region::builder(8 << 20).build()?;
/// // Filled by one thread, and so all on its node.
/// region.as_mut_slice().fill(1);
/// let migration = PageMigration::new(&mut region).placement(Placement::Blocked);
/// match migration.run(&pool) {
///     Ok(report) => {
///         println!("{} of {} pages moved", report.pages.moved, report.pages.there());
///         assert_eq!(report.pages.elsewhere(), 0);
///     }
///     // Some containers refuse the call.
///     Err(error) if error.is_refused() => {}
///     Err(error) => return Err(error.into()),
/// }
/// assert!(region.as_slice().iter().all(|&byte| byte == 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type PageMigration<'r> = MemoryJob<Migrate<'r>>;

/// The operation of a [`PageMigration`].
#[derive(Debug)]
pub struct Migrate<'r> {
    region: &'r mut Region,
}

impl sealed::Operation for Migrate<'_> {}
impl Places for Migrate<'_> {}
impl Binds for Migrate<'_> {}

/// Why a chunk stopped the job.
enum Failure {
    /// A bound node has no room.
    NodeFull(NodeId),
    /// The kernel does not move pages, or not to this node.
    Call(NodeId, MemoryError),
}

impl<'r> PageMigration<'r> {
    /// Starts to describe where a region's pages are to move.
    pub fn new(region: &'r mut Region) -> Self {
        let (len, page_bytes) = (region.len(), region.page_bytes());
        Self::of(Migrate { region }, len, page_bytes, MIN_CHUNK)
    }

    /// Moves the pages.
    ///
    /// # Errors
    ///
    /// - [`JobError::Block`], [`JobError::NoNodes`] or
    ///   [`JobError::NodeWithoutMemory`] for the placement.
    /// - [`JobError::Policy`] with [`Binding::Bind`].
    /// - [`JobError::NodeFull`] with [`Binding::Bind`], where a node has no room.
    /// - [`JobError::Migrate`] where the kernel moves no pages, or none to a node.
    ///
    /// Policies stay then, but where one is refused, and so do pages where they
    /// are by then: all hold what they held. The errors count every page.
    pub fn run(self, pool: &Pool) -> Result<MigrationReport, JobError> {
        let Self { operation: Migrate { region }, job, placement, binding, read_back } = self;
        let (len, page_bytes, page_size) = (region.len(), region.page_bytes(), region.page_size());
        let span = tracing::debug_span!("page_migration", bytes = len, page_bytes);
        let _entered = span.enter();
        let started = Instant::now();
        let sites = Sites::of(pool);
        let layout = lay_out(&placement, len, page_bytes, &sites, job.most_per_node())?;
        let several = sites.usable().len() > 1;
        // Where the kernel's own interleaving has the later pages, those that
        // are there are still moved block by block.
        let (_, policy) = policies::set(region, layout.clone(), binding, several)?;

        let parts = region.parts();
        let total: Mutex<BTreeMap<NodeId, Migrated>> = Mutex::default();
        let body = Body {
            state: BTreeMap::new,
            chunk: |own: &mut BTreeMap<NodeId, Migrated>, chunk: &Chunk| {
                // A machine that names no node with memory has none to move to.
                let Some(node) = chunk.node else { return Ok(()) };
                let ranges = layout.bytes(Some(node), chunk.range());
                let mut came = Migrated::default();
                let call = |batch| parts.migrate(batch, node);
                let ended = batches::migrate(ranges, BATCH, page_bytes, &mut came, call);
                own.entry(node).or_default().merge(&came);
                ended.map_err(|source| Failure::Call(node, source))?;
                if binding == Binding::Bind && came.no_room > 0 {
                    return Err(Failure::NodeFull(node));
                }
                Ok(())
            },
            done: |own| {
                let mut total = lock(&total);
                for (node, came) in own {
                    total.entry(node).or_default().merge(&came);
                }
            },
            undo: NoUndo,
            calls: Whole,
        };
        let ran = job.run_shares(pool, &sites, &layout.shares, &body);
        let elapsed = started.elapsed();
        let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut pages = Migrated::default();
        total.values().for_each(|came| pages.merge(came));
        let base = firsttouch_memory::Residency::default().page_bytes();
        let step = if let PageSize::Huge(_) = page_size { page_bytes } else { base };
        let all = (len.next_multiple_of(step) / base) as u64;
        // Chunks that no thread began, or that an error ended.
        pages.not_tried += all - pages.total();
        let base = base as u64;
        let ran = ran.map_err(|stopped| match stopped {
            RunError::Job(error) => error,
            RunError::Chunk(failed) => match failed.error {
                Failure::NodeFull(node) => {
                    let came = total.remove(&node).unwrap_or_default();
                    let left = came.no_room * base;
                    let (there, pages) = (came.there() * base, Box::new(pages.clone()));
                    JobError::NodeFull { node, there, left, pages }
                }
                Failure::Call(node, source) => {
                    let (pages, source) = (Box::new(pages.clone()), Box::new(source));
                    JobError::Migrate { node, pages, source }
                }
            },
        })?;
        if pages.elsewhere() > 0 {
            tracing::debug!(?pages, "some pages stay where they were");
        }
        let nodes = ran.nodes.into_iter().map(|row| {
            let pages = row.node.and_then(|node| total.remove(&node)).unwrap_or_default();
            NodeMigration { row, pages }
        });
        let nodes = nodes.collect();
        let residency =
            if read_back { pages::residency(pool, parts, job.most_threads()) } else { None };
        Ok(MigrationReport {
            bytes: len,
            page_size,
            pages,
            chunks: ran.chunks,
            local_chunks: ran.local_chunks,
            threads: ran.threads,
            moved_helpers: ran.moved_helpers,
            elapsed,
            nodes,
            policy,
            residency,
        })
    }
}
