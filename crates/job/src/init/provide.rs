//! Pages that come with what they are to hold, where the kernel can do that.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use firsttouch_memory::{MemoryError, Part, Parts, Provider};

use crate::init::elements::Elements;

/// What pages are to hold when they come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Contents<'a> {
    /// Zeros.
    Zeros,
    /// Zeros, which are written to by a closure then.
    Written,
    /// The same all over: what a thread's first piece was written with, it copies to the others.
    Repeated,
    /// As many bytes of memory, then zeros.
    Copied(&'a [u8]),
}

/// Brings pages with their contents.
#[derive(Debug)]
pub(crate) struct Provide<'a> {
    provider: Provider<'a>,
    contents: Contents<'a>,
    /// Bytes that came so. Relaxed: it is read when all threads are joined.
    provided: AtomicUsize,
    /// Whether missing pages are the kernel's again. Whoever reads so may touch them.
    is_withdrawn: AtomicBool,
}

/// What a thread copies from, in bytes of the region: the most whole pages that it brought at once.
pub(crate) type Source = Option<Range<usize>>;

impl<'a> Provide<'a> {
    /// Prepares it; `None` where pages are better cleared by the kernel, or nothing else can be had.
    ///
    /// Elements that lie across pages belong to one piece and reach into another's,
    /// which may not be there yet.
    pub(crate) fn new(
        parts: Parts<'a>,
        elements: Elements,
        contents: Contents<'a>,
    ) -> Option<Self> {
        if parts.page_bytes() % elements.size() != 0 {
            return None;
        }
        // SAFETY: [missing] the region is borrowed for the job, whose threads
        // touch what they brought, and the rest once it is withdrawn.
        let provider = unsafe { parts.provider() }?;
        let (provided, is_withdrawn) = (AtomicUsize::new(0), AtomicBool::new(false));
        Some(Self { provider, contents, provided, is_withdrawn })
    }

    /// Bytes that came with their contents; all of them, once the job has ended.
    pub(crate) fn provided(&self) -> usize {
        self.provided.load(Ordering::Relaxed)
    }

    /// Brings the pages of a range with all that they are to hold; returns whether it did.
    ///
    /// Once it fails, all pages that are missing are left to the kernel, and
    /// nothing is brought any more: what makes one piece fail, such as locks
    /// or no memory, is seldom of that one alone. What the range holds then is
    /// not specified, and `write` was not called.
    pub(crate) fn bring(
        &self,
        parts: Parts<'a>,
        source: &mut Source,
        range: &Range<usize>,
        write: impl FnOnce(),
    ) -> Result<bool, MemoryError> {
        // Relaxed: whoever reads so enters the kernel to touch the pages, and
        // meets there what has withdrawn them, by the lock on the mappings.
        if self.is_withdrawn.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let Err(error) = self.provide(parts, source, range, write) else {
            self.provided.fetch_add(range.len(), Ordering::Relaxed);
            return Ok(true);
        };
        self.provider.withdraw()?;
        if !self.is_withdrawn.swap(true, Ordering::Relaxed) {
            tracing::debug!(?range, %error, "pages are cleared from here on, and not provided");
        }
        Ok(false)
    }

    fn provide(
        &self,
        parts: Parts<'a>,
        source: &mut Source,
        range: &Range<usize>,
        write: impl FnOnce(),
    ) -> Result<(), MemoryError> {
        match self.contents {
            Contents::Zeros | Contents::Written => {
                self.zeros(parts, range)?;
                write();
            }
            Contents::Repeated => {
                match source {
                    Some(source) => self.repeat(parts, source, range)?,
                    None => {
                        self.zeros(parts, range)?;
                        write();
                    }
                }
                let whole = range.len() - range.len() % parts.page_bytes();
                if whole > source.as_ref().map_or(0, Range::len) {
                    *source = Some(range.start..range.start + whole);
                }
            }
            Contents::Copied(from) => {
                // The last page that the source reaches may be one that it ends in.
                let end = from.len() - from.len() % parts.page_bytes();
                let whole = range.start..end.clamp(range.start, range.end);
                if !whole.is_empty() {
                    self.copy(parts, &whole, &from[whole.clone()])?;
                }
                let rest = whole.end..range.end;
                if !rest.is_empty() {
                    self.zeros(parts, &rest)?;
                    write_rest(parts, &rest, from);
                }
            }
        }
        Ok(())
    }

    fn zeros(&self, parts: Parts<'_>, range: &Range<usize>) -> Result<(), MemoryError> {
        self.provider.zeros(&mut taken(parts, range))
    }

    fn copy(&self, parts: Parts<'_>, range: &Range<usize>, from: &[u8]) -> Result<(), MemoryError> {
        self.provider.copy(&mut taken(parts, range), from)
    }

    /// Copies a piece over and over to the pages of another.
    fn repeat(
        &self,
        parts: Parts<'_>,
        source: &Range<usize>,
        range: &Range<usize>,
    ) -> Result<(), MemoryError> {
        let mut source = taken(parts, source);
        let source = source.as_mut_slice();
        (range.clone()).step_by(source.len()).try_for_each(|start| {
            let to = start..range.end.min(start + source.len());
            self.copy(parts, &to, &source[..to.len()])
        })
    }
}

/// Writes what a source has for a range of its last page.
fn write_rest(parts: Parts<'_>, range: &Range<usize>, from: &[u8]) {
    let from = &from[range.start.min(from.len())..range.end.min(from.len())];
    if !from.is_empty() {
        taken(parts, range).as_mut_slice()[..from.len()].copy_from_slice(from);
    }
}

fn taken<'a>(parts: Parts<'a>, range: &Range<usize>) -> Part<'a> {
    // SAFETY: [disjoint] ranges are a thread's piece, which the job hands out
    // once, and its source, which is an earlier one of the same thread; each
    // part ends before the thread takes another of the same bytes.
    unsafe { parts.part(range.clone()) }
}
