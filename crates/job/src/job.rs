//! A job: its builder, and how it is made ready to run.

mod run;
pub(crate) mod seats;
pub(crate) mod sites;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Instant;

use firsttouch_pool::Pool;

use self::run::{Running, Work};
use self::seats::{Demand, Limits};
use self::sites::Sites;
use crate::location::parts::{self, Share};
use crate::{Chunk, JobError, JobReport, Location, Plan, PlanError, Steal};

/// A job over a range: a closure is run on every chunk of it, by the caller and a pool's helpers.
///
/// The words and the chunking are those of the kernel's multithreaded jobs
/// (`struct padata_mt_job` in `include/linux/padata.h`), the parts per node
/// those of its predecessor ktask. The range counts in units of the job's
/// own: bytes, elements, rows. [`Plan`] says how it is cut.
///
/// The caller works too. A job that is worth one thread is a plain call: the
/// closure gets each part whole, and nobody is woken. Each node's chunks come
/// from that node's own cursor, in a cache line of its own.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use firsttouch_job::Job;
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let numbers: Vec<u64> = (0..100_000).collect();
/// let sum = AtomicU64::new(0);
/// let report = Job::new(0, numbers.len()).min_chunk(1_000).run(&pool, |chunk| {
///     let part: u64 = numbers[chunk.range()].iter().sum();
///     sum.fetch_add(part, Ordering::Relaxed);
/// })?;
/// assert_eq!(sum.into_inner(), 99_999 * 100_000 / 2);
/// assert_eq!(report.size, numbers.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Clone, Debug)]
pub struct Job {
    start: usize,
    size: usize,
    align: usize,
    min_chunk: usize,
    max_threads: Option<NonZeroUsize>,
    max_threads_per_node: Option<NonZeroUsize>,
    location: Location,
    steal: Steal,
}

/// Why a job stopped before its end.
#[derive(Debug)]
pub(crate) enum Stopped<E> {
    /// It could not begin.
    Job(Box<JobError>),
    /// A chunk failed.
    Chunk(E),
}

impl<E> From<PlanError> for Stopped<E> {
    fn from(error: PlanError) -> Self {
        Self::Job(Box::new(error.into()))
    }
}

impl Job {
    /// Starts a job over the range of `size` units from `start`.
    pub fn new(start: usize, size: usize) -> Self {
        Self {
            start,
            size,
            align: 1,
            min_chunk: 0,
            max_threads: None,
            max_threads_per_node: None,
            location: Location::default(),
            steal: Steal::default(),
        }
    }

    /// Sets what chunk boundaries are multiples of, counted from 0; the job's own start and end excepted. Default: 1.
    pub fn align(mut self, align: usize) -> Self {
        self.align = align;
        self
    }

    /// Sets the least work worth one thread. Default: 0, which is no minimum.
    pub fn min_chunk(mut self, min_chunk: usize) -> Self {
        self.min_chunk = min_chunk;
        self
    }

    /// Sets the most threads, the caller included. Default: as many as the pool has helpers.
    ///
    /// The caller stands in for a helper of the node it is on, so that no CPU
    /// has two threads; a number above the pool's helpers adds the caller to them.
    pub fn max_threads(mut self, n: NonZeroUsize) -> Self {
        self.max_threads = Some(n);
        self
    }

    /// Sets the most threads on each node, the caller included. Default: no limit.
    pub fn max_threads_per_node(mut self, n: NonZeroUsize) -> Self {
        self.max_threads_per_node = Some(n);
        self
    }

    /// Sets where the range lives. Default: [`Location::Anywhere`].
    pub fn location(mut self, location: Location) -> Self {
        self.location = location;
        self
    }

    /// Sets whether threads take chunks of other nodes. Default: [`Steal::Anywhere`].
    pub fn steal(mut self, steal: Steal) -> Self {
        self.steal = steal;
        self
    }

    /// Runs the closure on every chunk, and returns when all are done.
    ///
    /// What the closure writes is visible to the caller afterwards.
    ///
    /// # Errors
    ///
    /// Where the range cannot be cut ([`JobError::Plan`]), or its parts do not
    /// lie on nodes of the pool's machine and cover it. No chunk has run then.
    ///
    /// # Panics
    ///
    /// With the closure's panic, on whichever thread it was. No thread begins
    /// another chunk after that.
    pub fn run(self, pool: &Pool, f: impl Fn(&Chunk) + Sync) -> Result<JobReport, JobError> {
        let chunk = |(): &mut (), chunk: &Chunk| {
            f(chunk);
            Ok::<(), Infallible>(())
        };
        match self.try_run(pool, || (), chunk, |()| ()) {
            Ok(report) => Ok(report),
            Err(Stopped::Job(error)) => Err(*error),
            Err(Stopped::Chunk(never)) => match never {},
        }
    }

    /// Runs a closure that may fail, with a state for each thread.
    ///
    /// Each thread that takes part makes its state before its first chunk and
    /// gives it to `finish` after its last, unless it panics. The first error
    /// keeps all threads from beginning another chunk.
    pub(crate) fn try_run<S, E: Send>(
        self,
        pool: &Pool,
        state: impl Fn() -> S + Sync,
        chunk: impl Fn(&mut S, &Chunk) -> Result<(), E> + Sync,
        finish: impl Fn(S) + Sync,
    ) -> Result<JobReport, Stopped<E>> {
        // Checks the range and the numbers, whatever the parts are.
        let whole = self.builder(self.start, self.size, usize::MAX).build()?;
        let sites = Sites::of(pool);
        let shares = self.shares(whole.range(), whole.threads(), &sites);
        let shares = shares.map_err(|error| Stopped::Job(Box::new(error)))?;
        self.try_run_shares(pool, &sites, &shares, state, chunk, finish)
    }

    /// As [`try_run`](Self::try_run), over shares that the caller answers for.
    pub(crate) fn try_run_shares<S, E: Send>(
        &self,
        pool: &Pool,
        sites: &Sites<'_>,
        shares: &[Share],
        state: impl Fn() -> S + Sync,
        chunk: impl Fn(&mut S, &Chunk) -> Result<(), E> + Sync,
        finish: impl Fn(S) + Sync,
    ) -> Result<JobReport, Stopped<E>> {
        let started = Instant::now();
        let threads = self.max_threads.map_or(sites.helpers(), NonZeroUsize::get);
        let size: usize = shares.iter().map(Share::size).sum();
        let limits = Limits {
            threads,
            per_site: self.most_per_node(),
            worth: self.plan(0..size, threads)?.threads(),
            steal: self.steal,
        };
        let demands = shares.iter().map(|share| {
            let worth = self.plan(0..share.size(), threads)?.threads().max(1);
            Ok(sites.demand(share, worth))
        });
        let demands: Vec<Demand> = demands.collect::<Result<_, PlanError>>()?;
        let caller = sites.caller(shares, &demands);
        let seating = seats::seat(&demands, &sites.helper_counts(), &caller, limits);
        let alone = seating.total() <= 1;
        let work = shares.iter().zip(&seating.threads).map(|(share, &threads)| {
            let size = share.size();
            let plans = share.ranges.iter().map(|range| {
                // Each range has threads in proportion, so that all have chunks of a size.
                let part = threads as u128 * range.len() as u128 / size as u128;
                let plan = self.plan(range.clone(), (part as usize).max(1))?;
                Ok(if alone { plan.whole() } else { plan })
            });
            let plans = plans.collect::<Result<_, PlanError>>()?;
            Ok(Work::new(share.node, size, plans, sites.topology()))
        });
        let work: Vec<Work<'_>> = work.collect::<Result<_, PlanError>>()?;
        let running = Running::new(self, started, sites, &demands, work, &seating);
        running.run(pool, state, chunk, finish).map_err(Stopped::Chunk)
    }

    /// The job's range as one share per node.
    fn shares(
        &self,
        range: Range<usize>,
        worth: usize,
        sites: &Sites<'_>,
    ) -> Result<Vec<Share>, JobError> {
        match &self.location {
            Location::Anywhere => Ok(parts::anywhere(range)),
            Location::PerNode(parts) => {
                parts::check(&range, parts, sites.topology())?;
                Ok(parts::by_node(parts.iter().cloned()))
            }
            Location::Spread => {
                let threads = self.max_threads.map_or(worth, |most| worth.min(most.get()));
                let used = sites.nearest_to_caller(threads.max(1));
                let weights: Vec<_> = used.iter().map(|&(_, helpers)| helpers as u128).collect();
                let pieces = parts::in_proportion(range, self.align, &weights);
                Ok(parts::by_node(used.iter().map(|&(node, _)| node).zip(pieces)))
            }
        }
    }

    fn plan(&self, range: Range<usize>, threads: usize) -> Result<Plan<usize>, PlanError> {
        self.builder(range.start, range.len(), threads).build()
    }

    fn builder(&self, start: usize, size: usize, threads: usize) -> crate::PlanBuilder<usize> {
        let builder = Plan::builder(start, size).align(self.align);
        builder.min_chunk(self.min_chunk).max_threads(threads)
    }

    /// The most threads, where the caller set them.
    pub(crate) fn most_threads(&self) -> Option<NonZeroUsize> {
        self.max_threads
    }

    /// The most threads on one node.
    pub(crate) fn most_per_node(&self) -> usize {
        self.max_threads_per_node.map_or(usize::MAX, NonZeroUsize::get)
    }

    /// The job's own range, for its span.
    fn range(&self) -> (usize, usize) {
        (self.start, self.size)
    }
}

#[cfg(test)]
mod tests;
