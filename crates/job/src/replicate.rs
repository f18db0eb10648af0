//! Replicas: read-only copies of a slice, one on each node, made by that node's helpers.

mod replicas;
#[cfg(all(test, not(loom)))]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use firsttouch_memory::{MemoryError, PageSize, Part, Parts, Pod, Region};
use firsttouch_pool::Pool;
use firsttouch_topology::{NodeId, NodeSet};

pub use self::replicas::{ReplicaPages, Replicas, ReplicationReport};
use crate::init::free_memory;
use crate::init::placement::Layout;
use crate::init::policies::{policy_for, tell_refused};
use crate::job::sites::Sites;
use crate::location::parts;
use crate::memory_job::{Binds, MemoryJob, sealed};
use crate::{Binding, JobError, Location, PolicyUse, RunError, pages};

/// The least work worth one thread, in bytes.
const MIN_CHUNK: usize = 2 << 20;

/// The most bytes populated before they are written, so that they are still in a core's own cache then.
const PIECE: usize = 256 << 10;

/// Copies a slice to every node, so that threads everywhere read it from nearby.
///
/// For tables that are read often and from all nodes: coefficients, indexes,
/// a graph. Each copy is a [`Region`] of its own whose policy puts it on its
/// node, and is written by that node's helpers. The source can be any slice, a
/// region's too; afterwards it is no longer needed.
///
/// A copy whose node has no room spills to the nearest, and the report says so.
/// With [`Binding::Bind`] the nodes' free memory is read before a page is
/// touched, and too little is an error, as for a page initialisation.
///
/// Its options and their defaults are those of [`MemoryJob`].
///
/// # Examples
///
/// ```
/// use firsttouch_job::{Loop, Replicate};
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let squares: Vec<u64> = (0..10_000).map(|i| i * i).collect();
/// let squares = Replicate::new(&squares).run(&pool)?;
/// let sum = Loop::new().reduce(
///     &pool,
///     0..10_000,
///     || 0,
///     |sum, range| sum + squares.local()[range].iter().sum::<u64>(),
///     |left, right| left + right,
/// )?;
/// assert_eq!(sum, 333_283_335_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Replicate<'s, T> = MemoryJob<Replication<'s, T>>;

/// The operation of a [`Replicate`].
#[derive(Clone, Debug)]
pub struct Replication<'s, T> {
    source: &'s [T],
    nodes: Option<NodeSet>,
    page_sizes: (PageSize, Vec<PageSize>),
}

impl<T> sealed::Operation for Replication<'_, T> {}
impl<T> Binds for Replication<'_, T> {}

/// One copy while it is made.
struct Copy {
    node: NodeId,
    /// `None` for a copy of nothing.
    region: Option<Region>,
    policy: PolicyUse,
}

impl<'s, T: Pod + Sync> Replicate<'s, T> {
    /// Starts to describe how a slice is copied.
    pub fn new(source: &'s [T]) -> Self {
        const { assert!(size_of::<T>() != 0, "elements without a size lie nowhere") };
        let page_sizes = (PageSize::Base, Vec::new());
        // How long the copies are together, and which pages they have, is known when they are mapped.
        Self::of(Replication { source, nodes: None, page_sizes }, 0, 1, MIN_CHUNK)
    }

    /// Sets the nodes that get a copy. Default: those of the pool that have memory, and those nearest to its nodes without.
    pub fn nodes(mut self, nodes: NodeSet) -> Self {
        self.operation.nodes = Some(nodes);
        self
    }

    /// Sets the page size of the copies. Default: [`PageSize::Base`].
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.operation.page_sizes.0 = size;
        self
    }

    /// Allows another page size where the one asked for cannot be had. Default: none.
    pub fn or_page_size(mut self, fallback: PageSize) -> Self {
        self.operation.page_sizes.1.push(fallback);
        self
    }

    /// Makes the copies.
    ///
    /// # Errors
    ///
    /// - [`JobError::NoNodes`] or [`JobError::NodeWithoutMemory`] for the nodes.
    /// - [`JobError::NotEnoughFree`] or [`JobError::FreeUnknown`] with [`Binding::Bind`].
    /// - [`JobError::Replica`] where a copy's memory cannot be had, or with
    ///   [`Binding::Bind`] its policy; it names the node.
    ///
    /// No copy is left behind then.
    pub fn run(self, pool: &Pool) -> Result<Replicas<T>, JobError> {
        let bytes: &[u8] = bytemuck::cast_slice(self.operation.source);
        let span = tracing::debug_span!("replicate", bytes = bytes.len());
        let _entered = span.enter();
        let started = Instant::now();
        let sites = Sites::of(pool);
        let nodes = self.chosen(&sites)?;
        let several = sites.usable().len() > 1;
        let copies = nodes.iter().map(|node| {
            self.map(node, bytes.len(), several)
                .map_err(|source| JobError::Replica { node, source: Box::new(source) })
        });
        let mut copies = copies.collect::<Result<Vec<Copy>, JobError>>()?;
        if self.binding == Binding::Bind {
            check_free(&copies, &sites)?;
        }
        let job = self.copy(pool, bytes, &mut copies)?;
        let elapsed = started.elapsed();

        let policy = copies.iter().map(|copy| copy.policy).find(|&used| used == PolicyUse::Refused);
        let policy =
            policy.or(copies.first().map(|copy| copy.policy)).unwrap_or(PolicyUse::NotNeeded);
        let rows = copies.iter_mut().map(|Copy { node, region, .. }| {
            let region = region.as_mut().filter(|_| self.read_back);
            let residency = region
                .and_then(|region| pages::residency(pool, region.parts(), self.job.most_threads()));
            ReplicaPages { node: *node, residency }
        });
        let report = ReplicationReport {
            bytes: bytes.len(),
            chunks: job.as_ref().map_or(0, |job| job.chunks),
            local_chunks: job.as_ref().map_or(0, |job| job.local_chunks),
            threads: job.as_ref().map_or(1, |job| job.threads),
            elapsed,
            replicas: rows.collect(),
            nodes: job.map(|job| job.nodes).unwrap_or_default(),
            policy,
        };
        let regions = copies.into_iter().map(|copy| (copy.node, copy.region));
        Ok(Replicas::new(Arc::clone(pool.topology()), regions, self.operation.source.len(), report))
    }

    /// The nodes that get a copy.
    fn chosen(&self, sites: &Sites<'_>) -> Result<NodeSet, JobError> {
        let usable = sites.usable();
        let nodes = match &self.operation.nodes {
            Some(nodes) => nodes.clone(),
            None => {
                let near: NodeSet =
                    sites.nodes().filter_map(|node| sites.nearest_usable(node)).collect();
                // A machine that names no node with memory still gets its copy.
                if near.is_empty() { sites.nodes().take(1).collect() } else { near }
            }
        };
        if nodes.is_empty() {
            return Err(JobError::NoNodes { usable: usable.clone() });
        }
        match nodes.difference(usable).first() {
            Some(node) if self.operation.nodes.is_some() => {
                Err(JobError::NodeWithoutMemory { node, usable: usable.clone() })
            }
            _ => Ok(nodes),
        }
    }

    /// Maps one copy's region, with the policy that puts it on its node.
    fn map(&self, node: NodeId, len: usize, several: bool) -> Result<Copy, MemoryError> {
        if len == 0 {
            return Ok(Copy { node, region: None, policy: PolicyUse::NotNeeded });
        }
        let (first, fallbacks) = &self.operation.page_sizes;
        let builder = Region::builder(len).page_size(*first);
        let mut region =
            fallbacks.iter().fold(builder, |builder, &size| builder.or_page_size(size)).build()?;
        let mut policy = PolicyUse::NotNeeded;
        if several {
            policy = match region.set_policy(0..len, &policy_for(node, self.binding)) {
                Ok(()) => PolicyUse::Range,
                Err(error) if self.binding == Binding::Bind => return Err(error),
                Err(error) => {
                    tell_refused(&error);
                    PolicyUse::Refused
                }
            };
        }
        Ok(Copy { node, region: Some(region), policy })
    }

    /// Has each node's helpers write its copy; `None` where there is nothing to write.
    ///
    /// The job's range has the copies one after the other, each rounded up to
    /// whole pages, so that chunks keep to pages in all of them.
    fn copy(
        &self,
        pool: &Pool,
        bytes: &[u8],
        copies: &mut [Copy],
    ) -> Result<Option<crate::JobReport>, JobError> {
        let nodes: Vec<NodeId> = copies.iter().map(|copy| copy.node).collect();
        let regions: Vec<Parts<'_>> =
            copies.iter_mut().filter_map(|copy| copy.region.as_mut().map(Region::parts)).collect();
        let Some(page_bytes) = regions.iter().map(Parts::page_bytes).max() else { return Ok(None) };
        // The copies are mapped, so their sum is less than the address space.
        let stride = bytes.len().next_multiple_of(page_bytes);
        let place = |copy: usize| copy * stride..(copy + 1) * stride;
        let shares = nodes.iter().enumerate().map(|(copy, &node)| (node, place(copy)));
        let job = self.job.clone().resized(stride * regions.len()).align(page_bytes);
        let job = job.location(Location::PerNode(shares.collect()));
        let ran = job.try_run(pool, |chunk| {
            let copy = chunk.start / stride;
            let first = place(copy).start;
            let range = chunk.start - first..(chunk.end - first).min(bytes.len());
            for piece in pieces(range, PIECE.next_multiple_of(page_bytes)) {
                // SAFETY: [disjoint] the job hands out each unit once, and
                // each unit is a byte of one copy.
                let mut part: Part<'_> = unsafe { regions[copy].part(piece.clone()) };
                part.populate().map_err(|source| (nodes[copy], source))?;
                part.as_mut_slice().copy_from_slice(&bytes[piece]);
            }
            Ok(())
        });
        ran.map(Some).map_err(|stopped| match stopped {
            RunError::Job(error) => error,
            RunError::Chunk(failed) => {
                let (node, source) = failed.error;
                JobError::Replica { node, source: Box::new(source) }
            }
        })
    }
}

/// Checks that each copy's node has enough free memory for it.
fn check_free(copies: &[Copy], sites: &Sites<'_>) -> Result<(), JobError> {
    for Copy { node, region, .. } in copies {
        let Some(region) = region else { continue };
        let shares = parts::by_node([(*node, 0..region.len())]);
        let layout = Layout { shares, interleave: None, even: None };
        free_memory::check(&layout, sites.topology(), region.page_size(), region.page_bytes())?;
    }
    Ok(())
}

/// Cuts a range into pieces of so many bytes.
fn pieces(range: Range<usize>, bytes: usize) -> impl Iterator<Item = Range<usize>> {
    let Range { start, end } = range;
    (start..end).step_by(bytes).map(move |start| start..end.min(start + bytes))
}
