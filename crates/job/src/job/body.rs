//! What a job does with a chunk: the closures that it was given, put together.

use std::iter;
use std::ops::Range;

use crate::Chunk;

/// What is called for one chunk of a range, or for one piece of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) piece: Option<usize>,
    /// In units of the job, or of the piece.
    pub(crate) range: Range<usize>,
    /// How much of the job's size it is.
    pub(crate) units: usize,
}

/// How a chunk becomes calls.
pub(crate) trait Calls: Sync {
    fn calls(&self, chunk: Range<usize>) -> impl Iterator<Item = Call>;
}

/// One call for each chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole;

impl Calls for Whole {
    #[inline]
    fn calls(&self, range: Range<usize>) -> impl Iterator<Item = Call> {
        let units = range.end - range.start;
        iter::once(Call { piece: None, range, units })
    }
}

impl<C: Calls> Calls for &C {
    #[inline]
    fn calls(&self, chunk: Range<usize>) -> impl Iterator<Item = Call> {
        (**self).calls(chunk)
    }
}

/// How completed chunks are undone.
pub(crate) trait Undo: Sync {
    /// Whether chunks are remembered, to be undone.
    const IS_ASKED: bool;

    fn undo(&self, chunk: &Chunk);
}

/// Not at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoUndo;

impl Undo for NoUndo {
    const IS_ASKED: bool = false;

    fn undo(&self, _: &Chunk) {}
}

/// By a closure.
pub(crate) struct UndoBy<F>(pub(crate) F);

impl<F: Fn(&Chunk) + Sync> Undo for UndoBy<F> {
    const IS_ASKED: bool = true;

    fn undo(&self, chunk: &Chunk) {
        (self.0)(chunk);
    }
}

/// What a job does, in closures.
pub(crate) struct Body<S, F, D, U, C> {
    /// Makes a thread's state, before its first chunk.
    pub(crate) state: S,
    /// Runs a chunk.
    pub(crate) chunk: F,
    /// Takes a thread's state after its last chunk, unless it panicked.
    pub(crate) done: D,
    pub(crate) undo: U,
    pub(crate) calls: C,
}

/// A body whose threads need no state.
#[expect(clippy::type_complexity, reason = "closures have no names to make a shorter type of")]
pub(crate) fn stateless<E, U, C>(
    f: impl Fn(&Chunk) -> Result<(), E> + Sync,
    undo: U,
    calls: C,
) -> Body<
    impl Fn() + Sync,
    impl Fn(&mut (), &Chunk) -> Result<(), E> + Sync,
    impl Fn(()) + Sync,
    U,
    C,
> {
    Body {
        state: || (),
        chunk: move |(): &mut (), chunk: &Chunk| f(chunk),
        done: |()| (),
        undo,
        calls,
    }
}
