//! Running a job over pieces.

use std::convert::Infallible;

use firsttouch_pool::Pool;

use crate::job::Job;
use crate::job::body::{NoUndo, Undo, UndoBy, stateless};
use crate::job::drive::Drive;
use crate::job::failure::RunError;
use crate::job::pieces::Pieces;
use crate::{Chunk, JobError, JobReport};

impl<T: Sync> Job<Pieces<T>> {
    /// Runs the closure on every piece, and returns when all are done.
    ///
    /// What the closure writes is visible to the caller afterwards.
    ///
    /// # Errors
    ///
    /// - [`JobError::UnknownNode`] where a piece is on a node that the pool's
    ///   machine does not have, [`JobError::Plan`] where the units are more
    ///   than a `usize` counts. Nothing has run then.
    /// - [`JobError::Stopped`] where it was cancelled, or its deadline passed.
    ///
    /// # Panics
    ///
    /// With the closure's panic, on whichever thread it was. No thread begins
    /// another piece after that.
    pub fn run(self, pool: &Pool, f: impl Fn(&T, &Chunk) + Sync) -> Result<JobReport, JobError> {
        let f = |item: &T, chunk: &Chunk| {
            f(item, chunk);
            Ok::<(), Infallible>(())
        };
        Ok(self.try_run(pool, f)?)
    }

    /// Runs a closure that may fail on every piece; as [`Job::try_run`] does for ranges.
    ///
    /// # Errors
    ///
    /// [`RunError::Chunk`] with the first error, its piece, and how far the
    /// job had come; else as for [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// As for [`run`](Self::run).
    pub fn try_run<E: Send>(
        self,
        pool: &Pool,
        f: impl Fn(&T, &Chunk) -> Result<(), E> + Sync,
    ) -> Result<JobReport, RunError<E>> {
        self.run_body(pool, f, NoUndo)
    }

    /// As [`try_run`](Self::try_run), and where the job fails, undoes what had completed; as [`Job::try_run_with_undo`] does for ranges.
    ///
    /// # Errors
    ///
    /// As for [`try_run`](Self::try_run); the error says how many chunks were undone.
    ///
    /// # Panics
    ///
    /// With the first panic of `f`, else with the first of `undo`, when all is undone.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicIsize, Ordering};
    ///
    /// use firsttouch_job::{Job, Piece};
    /// use firsttouch_pool::Pool;
    ///
    /// let open = AtomicIsize::new(0);
    /// let pieces = (0..100).map(|number| Piece::new(number, 1));
    /// let ran = Job::over(pieces).try_run_with_undo(
    ///     &Pool::new()?,
    ///     |&number, _| {
    ///         if number == 77 {
    ///             return Err("77 cannot be opened");
    ///         }
    ///         open.fetch_add(1, Ordering::Relaxed);
    ///         Ok(())
    ///     },
    ///     |_, _| {
    ///         open.fetch_sub(1, Ordering::Relaxed);
    ///     },
    /// );
    /// assert_eq!(ran.unwrap_err().into_chunk_error(), Some("77 cannot be opened"));
    /// assert_eq!(open.into_inner(), 0);
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn try_run_with_undo<E: Send>(
        self,
        pool: &Pool,
        f: impl Fn(&T, &Chunk) -> Result<(), E> + Sync,
        undo: impl Fn(&T, &Chunk) + Sync,
    ) -> Result<JobReport, RunError<E>> {
        let pieces = &self.source.pieces;
        let undo = UndoBy(|chunk: &Chunk| {
            if let Some(piece) = chunk.piece.and_then(|piece| pieces.get(piece)) {
                undo(&piece.item, chunk);
            }
        });
        self.run_body(pool, f, undo)
    }

    fn run_body<E: Send>(
        &self,
        pool: &Pool,
        f: impl Fn(&T, &Chunk) -> Result<(), E> + Sync,
        undo: impl Undo,
    ) -> Result<JobReport, RunError<E>> {
        let line = self.source.lay_out()?;
        let pieces = &self.source.pieces;
        let f = |chunk: &Chunk| match chunk.piece.and_then(|piece| pieces.get(piece)) {
            Some(piece) => f(&piece.item, chunk),
            None => Ok(()),
        };
        // Checks the numbers, whatever the pieces are.
        self.options.builder(0, line.len(), usize::MAX).build()?;
        let sites = self.sites(pool);
        let shares = self.source.shares(&line, sites.topology())?;
        let (options, controls) = (&self.options, self.controls());
        Drive { pool, sites: &sites, options, controls, range: (0, line.len()) }
            .run(&shares, &stateless(f, undo, &line))
    }
}
