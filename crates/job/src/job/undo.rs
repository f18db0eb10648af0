//! Undoing: which chunks have completed, and how they are undone.

use std::any::Any;
use std::cmp::Reverse;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Chunk;
use crate::sync::{Mutex, lock};

/// What a closure panicked with.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs a closure; its panic becomes an error, which whoever asks resumes in the caller.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Drops a value whose destructor may panic, and lets no panic out.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch(|| drop(value)) {
        // This payload's own destructor may panic too, and so on without end.
        std::mem::forget(payload);
    }
}

/// The chunks of all threads that have completed.
#[derive(Debug, Default)]
pub(crate) struct Completed(Mutex<Vec<Chunk>>);

/// The chunks that one thread has completed; they are added to the others' when it ends, on unwind too.
#[derive(Debug)]
pub(crate) struct OwnCompleted<'a> {
    own: Vec<Chunk>,
    all: &'a Completed,
}

impl Completed {
    /// Begins a thread's list.
    pub(crate) fn own(&self) -> OwnCompleted<'_> {
        OwnCompleted { own: Vec::new(), all: self }
    }

    /// Undoes each chunk, the last of the range first.
    ///
    /// A panic of `undo` keeps no other chunk from being undone.
    pub(crate) fn undo(&self, undo: impl Fn(&Chunk)) -> Undone {
        let mut chunks = std::mem::take(&mut *lock(&self.0));
        chunks.sort_unstable_by_key(|chunk| Reverse((chunk.piece, chunk.start)));
        let mut undone = Undone { chunks: 0, panic: None };
        for chunk in &chunks {
            match catch(|| undo(chunk)) {
                Ok(()) => undone.chunks += 1,
                Err(payload) => {
                    tracing::warn!(
                        start = chunk.start,
                        end = chunk.end,
                        piece = chunk.piece,
                        "undo panicked; the other chunks are undone all the same"
                    );
                    match undone.panic {
                        None => undone.panic = Some(payload),
                        Some(_) => discard(payload),
                    }
                }
            }
        }
        undone
    }
}

impl OwnCompleted<'_> {
    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.own.push(chunk);
    }
}

impl Drop for OwnCompleted<'_> {
    fn drop(&mut self) {
        lock(&self.all.0).append(&mut self.own);
    }
}

/// What undoing came to.
#[must_use]
#[derive(Debug)]
pub(crate) struct Undone {
    /// Chunks whose undo returned.
    pub(crate) chunks: usize,
    /// The first panic of an undo.
    pub(crate) panic: Option<Payload>,
}
