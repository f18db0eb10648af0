//! Why a job did not come to its end, and what had been done by then.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use crate::job::cancel::StopReason;
use crate::{Chunk, JobError, JobReport, PlanError};

/// Why a job whose function may fail did not run all of its chunks.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The job could not begin, or was stopped ([`JobError::Stopped`]); no chunk has failed.
    Job(JobError),
    /// A chunk failed. It was the first; the others that failed at the same time are forgotten.
    Chunk(Box<ChunkError<E>>),
}

/// The first chunk of a job that failed, with what its function said, and what was done by then.
#[derive(Debug)]
#[non_exhaustive]
pub struct ChunkError<E> {
    /// What the function returned.
    pub error: E,
    /// The chunk that failed. It is not undone.
    pub chunk: Chunk,
    /// How far the job had come when all threads had stopped: the chunks that completed, whether they were undone or not.
    pub report: JobReport,
    /// Chunks that were undone: all that completed, or none where the job has no undo.
    pub undone_chunks: usize,
}

/// How far a job had come that was cancelled, or had no time left.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stopped {
    /// What stopped it.
    pub reason: StopReason,
    /// How far it had come when all threads had stopped: the chunks that completed, whether they were undone or not.
    pub report: JobReport,
    /// Chunks that were undone: all that completed where that was asked for ([`Job::undo_when_stopped`](crate::Job::undo_when_stopped)), else none.
    pub undone_chunks: usize,
}

impl<E> RunError<E> {
    /// Returns the function's error, where a chunk failed.
    #[must_use]
    pub fn into_chunk_error(self) -> Option<E> {
        match self {
            Self::Job(_) => None,
            Self::Chunk(failed) => Some(failed.error),
        }
    }

    /// Returns how far the job had come; `None` where it could not begin.
    #[must_use]
    pub fn report(&self) -> Option<&JobReport> {
        match self {
            Self::Job(JobError::Stopped(stopped)) => Some(&stopped.report),
            Self::Job(_) => None,
            Self::Chunk(failed) => Some(&failed.report),
        }
    }
}

impl From<RunError<Infallible>> for JobError {
    fn from(error: RunError<Infallible>) -> Self {
        match error {
            RunError::Job(error) => error,
            RunError::Chunk(failed) => match failed.error {},
        }
    }
}

impl<E> From<JobError> for RunError<E> {
    fn from(error: JobError) -> Self {
        Self::Job(error)
    }
}

impl<E> From<PlanError> for RunError<E> {
    fn from(error: PlanError) -> Self {
        Self::Job(error.into())
    }
}

impl<E> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(error) => error.fmt(f),
            Self::Chunk(failed) => failed.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for RunError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Job(error) => error.source(),
            Self::Chunk(failed) => failed.source(),
        }
    }
}

impl<E> fmt::Display for ChunkError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chunk, report, undone_chunks, .. } = self;
        if let Some(piece) = chunk.piece {
            write!(f, "piece {piece}: ")?;
        }
        write!(f, "chunk {:?} failed, with ", chunk.range())?;
        how_far(f, report, *undone_chunks)
    }
}

impl<E: Error + 'static> Error for ChunkError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, with ", self.reason.words())?;
        how_far(f, &self.report, self.undone_chunks)
    }
}

impl Error for Stopped {}

fn how_far(f: &mut fmt::Formatter<'_>, report: &JobReport, undone: usize) -> fmt::Result {
    let JobReport { completed, size, chunks, .. } = report;
    write!(
        f,
        "{completed} of {size} units completed in {chunks} chunks, of which {undone} were undone"
    )
}
