//! Running a job over a range.

use std::convert::Infallible;

use firsttouch_pool::Pool;

use crate::job::body::{Body, NoUndo, Undo, UndoBy, Whole, stateless};
use crate::job::drive::Drive;
use crate::job::failure::RunError;
use crate::job::sites::Sites;
use crate::job::{Job, UnitRange};
use crate::location::parts::Share;
use crate::{Chunk, JobError, JobReport};

impl Job<UnitRange> {
    /// Runs the closure on every chunk, and returns when all are done.
    ///
    /// What the closure writes is visible to the caller afterwards.
    ///
    /// # Errors
    ///
    /// - Where the range cannot be cut ([`JobError::Plan`]), or its parts do
    ///   not lie on nodes of the pool's machine and cover it. No chunk has run then.
    /// - [`JobError::Stopped`] where it was cancelled, or its deadline passed.
    ///
    /// # Panics
    ///
    /// With the closure's panic, on whichever thread it was. No thread begins
    /// another chunk after that.
    pub fn run(self, pool: &Pool, f: impl Fn(&Chunk) + Sync) -> Result<JobReport, JobError> {
        let f = |chunk: &Chunk| {
            f(chunk);
            Ok::<(), Infallible>(())
        };
        Ok(self.try_run(pool, f)?)
    }

    /// Runs a closure that may fail on every chunk, and returns when all are done, or none runs any more.
    ///
    /// The first error is the job's: no thread begins another chunk after it.
    /// What completed stays done; see [`try_run_with_undo`](Self::try_run_with_undo).
    ///
    /// # Errors
    ///
    /// [`RunError::Chunk`] with the first error, its chunk, and how far the
    /// job had come; else as for [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// As for [`run`](Self::run).
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_job::{Job, RunError};
    /// use firsttouch_pool::Pool;
    ///
    /// let words: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    /// let ran = Job::new(0, words.len()).try_run(&Pool::new()?, |chunk| {
    ///     words[chunk.range()].iter().try_for_each(|word| match word.parse::<u8>() {
    ///         Ok(_) => Ok(()),
    ///         Err(error) => Err(error),
    ///     })
    /// });
    /// let Err(RunError::Chunk(failed)) = ran else { panic!("256 is no u8") };
    /// assert!(failed.report.completed < 1000);
    /// assert!(failed.chunk.end > 256, "{}: {}", failed, failed.error);
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn try_run<E: Send>(
        self,
        pool: &Pool,
        f: impl Fn(&Chunk) -> Result<(), E> + Sync,
    ) -> Result<JobReport, RunError<E>> {
        self.run_body(pool, &stateless(f, NoUndo, Whole))
    }

    /// As [`try_run`](Self::try_run), and where the job fails, undoes what had completed.
    ///
    /// `undo` is called once for every chunk that completed, with the same
    /// chunk, and not for one that failed. The calling thread does it alone,
    /// when no other thread is in the job any more, the last chunk of the range first. A
    /// panic of `f` counts as a failure: it reaches the caller when all is
    /// undone. A job that is stopped is undone where that is asked for
    /// ([`undo_when_stopped`](Self::undo_when_stopped)).
    ///
    /// # Errors
    ///
    /// As for [`try_run`](Self::try_run); the error says how many chunks were undone.
    ///
    /// # Panics
    ///
    /// With the first panic of `f`; else with the first of `undo`, which
    /// should not fail. Its panic keeps no other chunk from being undone, and
    /// a `warn` event names the chunk whose undo it was. The error that led
    /// to the undoing is lost then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Mutex;
    ///
    /// use firsttouch_job::{Job, RunError};
    /// use firsttouch_pool::Pool;
    ///
    /// let pinned = Mutex::new(std::collections::BTreeSet::new());
    /// let ran = Job::new(0, 64).max_chunk(4).try_run_with_undo(
    ///     &Pool::new()?,
    ///     |chunk| {
    ///         if chunk.range().contains(&50) {
    ///             return Err("unit 50 cannot be pinned");
    ///         }
    ///         pinned.lock().unwrap().extend(chunk.range());
    ///         Ok(())
    ///     },
    ///     |chunk| pinned.lock().unwrap().retain(|unit| !chunk.range().contains(unit)),
    /// );
    /// let Err(RunError::Chunk(failed)) = ran else { panic!("one unit fails") };
    /// assert_eq!(failed.undone_chunks, failed.report.chunks);
    /// assert!(pinned.into_inner().unwrap().is_empty());
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn try_run_with_undo<E: Send>(
        self,
        pool: &Pool,
        f: impl Fn(&Chunk) -> Result<(), E> + Sync,
        undo: impl Fn(&Chunk) + Sync,
    ) -> Result<JobReport, RunError<E>> {
        self.run_body(pool, &stateless(f, UndoBy(undo), Whole))
    }

    /// Runs a body over the range.
    pub(crate) fn run_body<T, S, F, D, U, E>(
        &self,
        pool: &Pool,
        body: &Body<S, F, D, U, Whole>,
    ) -> Result<JobReport, RunError<E>>
    where
        S: Fn() -> T + Sync,
        F: Fn(&mut T, &Chunk) -> Result<(), E> + Sync,
        D: Fn(T) + Sync,
        U: Undo,
        E: Send,
    {
        let UnitRange { start, size } = self.source;
        // Checks the range and the numbers, whatever the parts are.
        let whole = self.options.builder(start, size, usize::MAX).build()?;
        let sites = self.sites(pool);
        let shares = self.options.shares(whole.range(), whole.threads(), &sites)?;
        self.run_shares(pool, &sites, &shares, body)
    }

    /// As [`run_body`](Self::run_body), over shares that the caller answers for.
    ///
    /// Each thread that takes part makes its state before its first chunk and
    /// gives it to `done` after its last, unless it panics.
    pub(crate) fn run_shares<T, S, F, D, U, E>(
        &self,
        pool: &Pool,
        sites: &Sites<'_>,
        shares: &[Share],
        body: &Body<S, F, D, U, Whole>,
    ) -> Result<JobReport, RunError<E>>
    where
        S: Fn() -> T + Sync,
        F: Fn(&mut T, &Chunk) -> Result<(), E> + Sync,
        D: Fn(T) + Sync,
        U: Undo,
        E: Send,
    {
        let UnitRange { start, size } = self.source;
        let (options, controls) = (&self.options, self.controls());
        Drive { pool, sites, options, controls, range: (start, size) }.run(shares, body)
    }
}
