//! Asking where a range of addresses lies, on several threads.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::PoisonError;

use firsttouch_memory::{AddressRange, MemoryError, Residency};
use firsttouch_pool::Pool;

use crate::job::Job;
use crate::job::body::{Body, NoUndo, Whole};
use crate::locality::granules::{Found, Granules, Piece};
use crate::sync::{Mutex, lock};
use crate::{Chunk, RunError};

/// How to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Of how many base pages one is asked.
    pub(crate) every: NonZeroUsize,
    pub(crate) most_parts: NonZeroUsize,
    pub(crate) max_threads: Option<NonZeroUsize>,
}

/// The most pages that one thread asks about at a time, for which it has room beside.
const PIECE_PAGES: usize = 16 << 10;

/// Finds out on which nodes a range lies.
pub(crate) fn find(
    pool: &Pool,
    range: AddressRange,
    options: Options,
) -> Result<Found, MemoryError> {
    let page_bytes = Residency::default().page_bytes();
    // Pieces end where a page that is asked about ends, so that none is split.
    let stride = page_bytes.saturating_mul(options.every.get());
    let piece = stride.saturating_mul(PIECE_PAGES);
    let before = range.start() % stride;
    let count = (before.saturating_add(range.len())).div_ceil(piece);
    let bytes = |index: usize| -> Range<usize> {
        let at = |index: usize| index.saturating_mul(piece).saturating_sub(before).min(range.len());
        at(index)..at(index + 1)
    };
    let granules = Granules::new(range, page_bytes, options.most_parts);
    let ask = |index: usize| -> Result<Piece, MemoryError> {
        let bytes = bytes(index);
        let runs = range.part(bytes.clone()).node_runs(options.every)?;
        Ok(granules.piece(bytes.start, runs))
    };
    if count <= 1 {
        // Also for nothing, so that a refusal does not depend on how much is asked.
        return Ok(granules.found(vec![ask(0)?]));
    }
    let pieces: Mutex<Vec<(usize, Piece)>> = Mutex::default();
    let job = Job::new(0, count).at_most(options.max_threads);
    let body = Body {
        state: Vec::new,
        chunk: |own: &mut Vec<(usize, Piece)>, chunk: &Chunk| {
            for index in chunk.range() {
                own.push((index, ask(index)?));
            }
            Ok(())
        },
        done: |own| lock(&pieces).extend(own),
        undo: NoUndo,
        calls: Whole,
    };
    match job.run_body(pool, &body) {
        Ok(_) => {}
        Err(RunError::Chunk(failed)) => return Err(failed.error),
        // The range is cut as asked whatever it is; one thread does as well.
        Err(RunError::Job(error)) => {
            tracing::debug!(%error, "where memory lies is asked on one thread");
            let all = (0..count).map(ask).collect::<Result<_, _>>()?;
            return Ok(granules.found(all));
        }
    }
    let mut pieces = pieces.into_inner().unwrap_or_else(PoisonError::into_inner);
    pieces.sort_unstable_by_key(|&(index, _)| index);
    Ok(granules.found(pieces.into_iter().map(|(_, piece)| piece).collect()))
}
