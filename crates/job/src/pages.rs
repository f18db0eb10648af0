//! Where a region's pages lie, asked by several threads.

use std::num::NonZeroUsize;

use firsttouch_memory::{MemoryError, Parts, Residency};
use firsttouch_pool::Pool;

use crate::job::Job;
use crate::job::body::{Body, NoUndo, Whole};
use crate::sync::{Mutex, lock};
use crate::{Chunk, RunError};

/// The most bytes that one thread asks about at a time.
const PIECE: usize = 64 << 20;

/// Reads back where the pages of a region lie; `None`, and an event, where the kernel does not tell.
pub(crate) fn residency(
    pool: &Pool,
    parts: Parts<'_>,
    max_threads: Option<NonZeroUsize>,
) -> Option<Residency> {
    let len = parts.len();
    let total = Mutex::new(Residency::default());
    let job = Job::new(0, len.div_ceil(PIECE)).at_most(max_threads);
    let body = Body {
        state: Residency::default,
        chunk: |own: &mut Residency, chunk: &Chunk| {
            for piece in chunk.range() {
                let start = piece * PIECE;
                own.merge(&parts.residency(start..len.min(start + PIECE))?);
            }
            Ok::<(), MemoryError>(())
        },
        done: |own| lock(&total).merge(&own),
        undo: NoUndo,
        calls: Whole,
    };
    match job.run_body(pool, &body) {
        Ok(_) => Some(total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)),
        Err(stopped) => {
            match stopped {
                RunError::Chunk(failed) if failed.error.is_refused() => {
                    tracing::debug!(error = %failed.error, "where the pages lie cannot be read back");
                }
                RunError::Chunk(failed) => {
                    tracing::warn!(error = %failed.error, "where the pages lie cannot be read back");
                }
                RunError::Job(error) => {
                    tracing::warn!(%error, "where the pages lie cannot be read back");
                }
            }
            None
        }
    }
}
