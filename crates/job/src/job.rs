//! A job: what it runs over, and its builder.

pub(crate) mod body;
pub(crate) mod cancel;
pub(crate) mod controls;
pub(crate) mod counter;
pub(crate) mod cpu_share;
pub(crate) mod drive;
pub(crate) mod failure;
pub(crate) mod handle;
pub(crate) mod help;
pub(crate) mod limits;
pub(crate) mod pieces;
pub(crate) mod priority;
pub(crate) mod progress;
pub(crate) mod run;
mod run_pieces;
mod run_range;
pub(crate) mod seats;
pub(crate) mod sites;
mod tally;
pub(crate) mod undo;
mod watch;
mod within;
pub(crate) mod work;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firsttouch_pool::Pool;
use firsttouch_topology::affinity;

use self::cancel::CancelToken;
use self::controls::Controls;
use self::cpu_share::CpuShare;
use self::limits::JobLimits;
use self::pieces::{Piece, Pieces};
use self::priority::Priority;
use self::progress::{OnProgress, Progress, ProgressSnapshot};
use self::sites::Sites;
use crate::options::Options;
use crate::plan::Grain;
use crate::schedule::Cut;
use crate::{Location, Steal};

/// A job: a function is run on every chunk of a range, or on every piece of a list, by the caller and a pool's helpers.
///
/// The words and the chunking are those of the kernel's multithreaded jobs
/// (`struct padata_mt_job` in `include/linux/padata.h`), the parts per node,
/// the errors and their undoing those of its predecessor ktask. The range
/// counts in units of the job's own: bytes, elements, rows.
/// [`Plan`](crate::Plan) says how it is cut. Work that is no range is a list
/// of [`Piece`]s, each with its weight in units; see [`Job::over`].
///
/// The caller works too. A job that is worth one thread is a plain call: the
/// function gets each part whole, and nobody is woken. Each node's chunks come
/// from that node's own cursor, in a cache line of its own and on the node of
/// the helpers that take them. For its cursors a thread that runs jobs on
/// several nodes keeps one page on each of them until it ends.
///
/// | the function | runs it | what ends it early |
/// |---|---|---|
/// | returns nothing | [`run`](Job::run) | a panic |
/// | may fail | [`try_run`](Job::try_run) | the first error, or a panic |
/// | may fail, and what it did can be undone | [`try_run_with_undo`](Job::try_run_with_undo) | the same; completed chunks are undone |
///
/// Any of them can be stopped: by a [token](Job::cancel) or at a
/// [deadline](Job::deadline). A job that returns `Ok` has run every chunk;
/// every error says how far it came.
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
pub struct Job<S = UnitRange> {
    source: S,
    options: Options,
    /// `None` where nothing of it was asked for: most jobs pay nothing for what they do not use.
    controls: Option<Box<Controls>>,
}

/// What a [`Job`] runs over where that is a range; [`Job::new`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRange {
    start: usize,
    size: usize,
}

impl Job<UnitRange> {
    /// Starts a job over the range of `size` units from `start`.
    pub fn new(start: usize, size: usize) -> Self {
        Self::of(UnitRange { start, size })
    }

    /// Sets what chunk boundaries are multiples of, counted from 0; the job's own start and end excepted. Default: 1.
    pub fn align(mut self, align: usize) -> Self {
        self.options.align = align;
        self
    }

    /// Sets where the range lives. Default: [`Location::Anywhere`].
    pub fn location(mut self, location: Location) -> Self {
        self.options.location = location;
        self
    }

    /// Sets the units of the range.
    pub(crate) fn resized(mut self, size: usize) -> Self {
        self.source.size = size;
        self
    }
}

impl<T> Job<Pieces<T>> {
    /// Starts a job over pieces of work that are no range: segments, mappings, the leaves of a tree.
    ///
    /// The pieces are collected before the job begins; they are then cut into
    /// chunks, balanced and stolen as a range is that has their units, each
    /// node's on that node. The function is called once for each piece, with
    /// its item and a [`Chunk`](crate::Chunk) that says which it is and who
    /// runs it; see [`divisible`](Self::divisible) for pieces that several
    /// threads may share.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// use firsttouch_job::{Job, Piece};
    /// use firsttouch_pool::Pool;
    ///
    /// let pool = Pool::new()?;
    /// let names = ["anna", "bo", "christopher"];
    /// let letters = AtomicUsize::new(0);
    /// let pieces = names.iter().map(|name| Piece::new(*name, name.len()));
    /// let report = Job::over(pieces).run(&pool, |name, chunk| {
    ///     assert_eq!(chunk.piece.map(|piece| names[piece]), Some(*name));
    ///     letters.fetch_add(name.len(), Ordering::Relaxed);
    /// })?;
    /// assert_eq!((letters.into_inner(), report.size, report.chunks), (17, 17, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn over(pieces: impl IntoIterator<Item = Piece<T>>) -> Self {
        Self::of(Pieces::new(pieces))
    }

    /// Sets whether a piece may be cut, so that several threads share it. Default: it may not.
    ///
    /// The function is then called for parts of a piece: the chunk's `start`
    /// and `end` count units from the piece's own start, and each unit comes once.
    pub fn divisible(mut self, divisible: bool) -> Self {
        self.source.divisible = divisible;
        self
    }
}

impl<S> Job<S> {
    fn of(source: S) -> Self {
        Self { source, options: Options::new(Cut::KERNEL), controls: None }
    }

    /// Sets the least work worth one thread. Default: 0, which is no minimum.
    pub fn min_chunk(mut self, min_chunk: usize) -> Self {
        self.options.min_chunk = min_chunk;
        self
    }

    /// Sets the most units of a chunk, rounded down to `align`, but at least one `align`. Default: no limit.
    ///
    /// It bounds how long a job goes on that was cancelled, and how much work
    /// an error loses. Where it is less than `min_chunk`, it wins; that still
    /// says how many threads the range is worth. Pieces that may not be cut
    /// are longer where they have more units.
    pub fn max_chunk(mut self, max_chunk: usize) -> Self {
        self.options.cut.grain = Grain::BalancedUpTo(max_chunk);
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

    /// Sets the share of each node's CPUs that have a thread, where neither `max_threads` nor `max_threads_per_node` is set.
    ///
    /// For operations to state their default. Default: all of the pool's
    /// helpers. Whatever the share, and unless `max_threads` is set, a job has no more threads
    /// than the process's CPU quota lets run at once.
    pub fn cpu_share(mut self, share: CpuShare) -> Self {
        self.options.cpu_share = Some(share);
        self
    }

    /// Sets limits that the job shares with others: see [`JobLimits`]. Default: none.
    pub fn limits(mut self, limits: &JobLimits) -> Self {
        self.controls_mut().limits = Some(limits.clone());
        self
    }

    /// Sets whether helpers keep to the CPUs that the caller may use. Default: they keep to the pool's.
    ///
    /// Nodes without any CPU of the caller's mask send no helpers. A helper
    /// whose own mask reaches out of it has it narrowed while it runs the
    /// job's chunks; where the kernel refuses that, it leaves the job, unless
    /// it must run its node's part. A job that is [started](Job::start) keeps to the
    /// CPUs of the thread that runs it.
    pub fn within_caller_affinity(mut self, within: bool) -> Self {
        self.controls_mut().within_caller_affinity = within;
        self
    }

    /// Sets how helpers are scheduled while they run the job's chunks. Default: [`Priority::Normal`], as they are.
    ///
    /// The caller stays as it is. Chunks that nobody has begun it takes
    /// itself; where it has nothing left but to wait for lowered helpers, it
    /// raises them, one at a time, so that it waits for no thread which the
    /// rest of the machine keeps from its CPU. Each helper has what it had
    /// before when it leaves the job, on panics too. The report says what
    /// became of it. A helper that waits inside of a chunk serves calls that require it at
    /// the lower priority.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.controls_mut().priority = priority;
        self
    }

    /// Sets a [`Progress`] that tells other threads how far the job has come. Default: none.
    pub fn progress(mut self, progress: &Progress) -> Self {
        self.controls_mut().progress = Some(progress.clone());
        self
    }

    /// Sets a function that the caller's thread calls as the job comes on, no more often than stated. Default: none.
    ///
    /// It is called between two of the caller's chunks or while the caller
    /// waits for helpers, first when `every` has passed and then when `every` has passed since the
    /// last call returned. It need not be called at the end, and is not while the job does nothing but
    /// wait for its turn under [limits](Self::limits). Its panic counts as one of the job's function.
    pub fn on_progress(
        mut self,
        every: Duration,
        f: impl Fn(&ProgressSnapshot) + Send + Sync + 'static,
    ) -> Self {
        self.controls_mut().on_progress = Some(OnProgress { every, call: Arc::new(f) });
        self
    }

    /// Sets after how long a chunk counts as stalled. Default: never.
    ///
    /// A `warn` event then names the helper, the chunk and the CPU, once for
    /// each such chunk. No thread is made for it: the job's own threads look
    /// between their chunks, the caller while it waits for helpers (not for its turn under
    /// [limits](Self::limits)), and whoever asks
    /// [`Progress::stalls`] or [`JobHandle::stalls`](crate::JobHandle::stalls).
    pub fn stall_after(mut self, time: Duration) -> Self {
        self.controls_mut().stall_after = Some(time);
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

    /// Sets a token that stops the job. Default: none.
    ///
    /// It is looked at before each chunk; a job that still has chunks then is
    /// [stopped](crate::JobError::Stopped). A job that waits for a helper that
    /// must come ([`Steal::Node`], [`Steal::Near`]) returns only when one has come, stopped or not: a
    /// helper that is busy with other work holds it up.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.controls_mut().stop.tokens[0] = Some(token.clone());
        self
    }

    /// Sets a time at which the job stops, if it is not done by then. Default: none.
    ///
    /// The clock is looked at before each chunk; chunks that have begun run to their end. As with a
    /// [token](Self::cancel), a helper that must come is waited for all the same.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.controls_mut().stop.deadline = Some(deadline);
        self
    }

    /// Sets whether a job that is stopped undoes what it has done, as one that fails does. Default: it does not.
    ///
    /// It counts where there is an undo at all: see [`try_run_with_undo`](Job::try_run_with_undo).
    pub fn undo_when_stopped(mut self, undo: bool) -> Self {
        self.controls_mut().undo_when_stopped = undo;
        self
    }

    fn controls(&self) -> &Controls {
        self.controls.as_deref().unwrap_or(Controls::NONE)
    }

    fn controls_mut(&mut self) -> &mut Controls {
        self.controls.get_or_insert_default()
    }

    /// The pool's nodes, as far as the job may use them.
    ///
    /// Where the kernel does not tell the caller's affinity, all of them.
    pub(crate) fn sites<'p>(&self, pool: &'p Pool) -> Sites<'p> {
        let mask = self.controls().within_caller_affinity.then(affinity::current);
        match mask {
            Some(Ok(mask)) => Sites::within(pool, &mask),
            _ => Sites::of(pool),
        }
    }

    /// Sets the most threads, or that there is no such number.
    pub(crate) fn at_most(mut self, threads: Option<NonZeroUsize>) -> Self {
        self.options.max_threads = threads;
        self
    }

    /// Sets how the range is cut, and the order in which chunks are taken.
    pub(crate) fn cut(mut self, cut: Cut) -> Self {
        self.options.cut = cut;
        self
    }

    /// The most threads, on these sites.
    pub(crate) fn threads(&self, sites: &Sites<'_>) -> usize {
        self.options.threads(sites.helper_counts().iter().sum(), sites.topology())
    }

    /// Whether the caller set how many threads it may use, in all or on each node.
    pub(crate) fn is_limited(&self) -> bool {
        self.options.max_threads.is_some() || self.options.max_threads_per_node.is_some()
    }

    /// The least work worth one thread.
    pub(crate) fn least_chunk(&self) -> usize {
        self.options.min_chunk
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

#[cfg(all(test, not(loom)))]
mod tests;
