//! A job: its builder, and how it is made ready to run.

pub(crate) mod counter;
pub(crate) mod help;
pub(crate) mod run;
pub(crate) mod seats;
pub(crate) mod sites;
mod tally;
pub(crate) mod work;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::time::Instant;

use firsttouch_pool::Pool;
use firsttouch_topology::NodeId;

use self::help::Help;
use self::run::Running;
use self::sites::Sites;
use self::tally::{Tallies, ThreadTallies};
use crate::location::parts::Share;
use crate::options::Options;
use crate::schedule::Cut;
use crate::sync::{Mutex, lock};
use crate::{Chunk, JobError, JobReport, Location, PlanError, Steal};

/// A job over a range: a closure is run on every chunk of it, by the caller and a pool's helpers.
///
/// The words and the chunking are those of the kernel's multithreaded jobs
/// (`struct padata_mt_job` in `include/linux/padata.h`), the parts per node
/// those of its predecessor ktask. The range counts in units of the job's
/// own: bytes, elements, rows. [`Plan`](crate::Plan) says how it is cut.
///
/// The caller works too. A job that is worth one thread is a plain call: the
/// closure gets each part whole, and nobody is woken. Each node's chunks come
/// from that node's own cursor, in a cache line of its own and on the node of
/// the helpers that take them. For its cursors a thread that runs jobs on
/// several nodes keeps one page on each of them until it ends.
///
/// The kernel moves a helper that it was to keep in place where all its CPUs
/// go offline. The job goes on; the report counts the helpers, an event at
/// `debug` names each, and chunks they run far from their node do not count
/// as local.
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
    options: Options,
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
        Self { start, size, options: Options::new(Cut::KERNEL) }
    }

    /// Sets what chunk boundaries are multiples of, counted from 0; the job's own start and end excepted. Default: 1.
    pub fn align(mut self, align: usize) -> Self {
        self.options.align = align;
        self
    }

    /// Sets the least work worth one thread. Default: 0, which is no minimum.
    pub fn min_chunk(mut self, min_chunk: usize) -> Self {
        self.options.min_chunk = min_chunk;
        self
    }

    /// Sets the most threads, the caller included. Default: as many as the pool has helpers.
    ///
    /// The caller stands in for a helper of the node it is on, so that no CPU
    /// has two threads; a number above the pool's helpers adds the caller to them.
    pub fn max_threads(mut self, n: NonZeroUsize) -> Self {
        self.options.max_threads = Some(n);
        self
    }

    /// Sets the most threads on each node, the caller included. Default: no limit.
    pub fn max_threads_per_node(mut self, n: NonZeroUsize) -> Self {
        self.options.max_threads_per_node = Some(n);
        self
    }

    /// Sets where the range lives. Default: [`Location::Anywhere`].
    pub fn location(mut self, location: Location) -> Self {
        self.options.location = location;
        self
    }

    /// Sets whose threads may run the chunks of a node. Default: [`Steal::Anywhere`].
    ///
    /// - [`Steal::Anywhere`]: all threads, each its own node's chunks first, then those of the nearest
    ///   node that has some. The caller never waits for a helper that has not started.
    /// - [`Steal::Near`]: that node's threads, and those of the pool's nodes at the least distance from
    ///   it beside these.
    /// - [`Steal::Node`]: only that node's threads.
    ///
    /// A node without helpers is served by the nearest that has some. The caller counts as of the node
    /// it is on, and returns when every part is done: where a part needs a helper and all that could
    /// take it are busy with other work, that is a wait. Where the job has fewer threads than parts,
    /// the nearest thread runs what would have none; where that is another node's, the report counts
    /// it as not local.
    pub fn steal(mut self, steal: Steal) -> Self {
        self.options.steal = steal;
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
        let whole = self.options.builder(self.start, self.size, usize::MAX).build()?;
        let sites = Sites::of(pool);
        let shares = self.options.shares(whole.range(), whole.threads(), &sites);
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
        let running = self.options.ready(sites, shares)?;
        let span = self.span(&running);
        let _entered = span.enter();
        let error = Mutex::new(None);
        let tallies = Tallies::default();
        running.run(pool, Help::default(), |thread| {
            let mut own = None;
            let mut tally = ThreadTallies::new(shares.len());
            loop {
                let spot = thread.look();
                let Some((share, range)) = thread.take() else { break };
                tally.look_for_move(pool.current_helper(), &spot);
                let work = &running.work()[share];
                let next = Chunk {
                    start: range.start,
                    end: range.end,
                    node: work.node,
                    cpu: spot.cpu,
                    cpu_node: spot.cpu_node,
                    local: work.is_local(spot.cpu),
                };
                tracing::trace!(
                    parent: &span,
                    node = next.node.map(NodeId::os_index),
                    cpu = next.cpu.os_index(),
                    start = next.start,
                    end = next.end,
                    "chunk"
                );
                if let Err(failure) = chunk(own.get_or_insert_with(&state), &next) {
                    running.close();
                    lock(&error).get_or_insert(failure);
                    break;
                }
                tally.count(share, next.local, started.elapsed());
            }
            own.map(&finish);
            tallies.add(&tally);
        });
        let error = lock(&error).take();
        error.map_or_else(
            || Ok(tallies.report(&running, started)),
            |error| Err(Stopped::Chunk(error)),
        )
    }

    fn span(&self, running: &Running<'_>) -> tracing::Span {
        let chunks: usize = running.work().iter().map(|work| work.chunks()).sum();
        let threads = running.threads();
        tracing::debug_span!("job", start = self.start, size = self.size, chunks, threads)
    }

    /// The most threads, where the caller set them.
    pub(crate) fn most_threads(&self) -> Option<NonZeroUsize> {
        self.options.max_threads
    }

    /// The most threads on one node.
    pub(crate) fn most_per_node(&self) -> usize {
        self.options.most_per_node()
    }
}

#[cfg(test)]
mod tests;
