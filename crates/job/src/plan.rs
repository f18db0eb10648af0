//! How a range is cut into chunks: pure arithmetic, no threads.
//!
//! The rules are those of the kernel's multithreaded jobs
//! (`padata_do_multithreaded` in `kernel/padata.c`), with one change: the
//! kernel ends every chunk on a multiple of the chunk size and leaves the
//! remainder to the last one, while a [`Plan`] spreads the remainder, so that
//! no chunk is more than one `align` longer than another.
//!
//! The steps are separate functions, each of few variables, so that their
//! tests can try every `u8` value:
//!
//! 1. [`threads_worth`]: how many threads the range is worth.
//! 2. [`chunk_units`]: the least chunk, in units of `align`.
//! 3. [`Plan::cut`]: where the boundaries lie.
//!
//! Loops with a schedule of their own differ in the second step alone: a
//! [`Grain`] says what decides the length of a chunk.

use std::iter::FusedIterator;
use std::ops::Range;

use crate::integer::Unsigned;

/// Chunks per thread, where the range is long enough: early finishers take what slow threads leave.
///
/// The kernel's `load_balance_factor` in `padata_do_multithreaded`.
pub const LOAD_BALANCE_FACTOR: u8 = 4;

/// How a range is cut into chunks, and how many threads it is worth.
///
/// All quantities are in the range's own units: bytes, elements, rows.
///
/// - Threads: `size / max(min_chunk, align)`, at least one, at most
///   `max_threads`, and never more than there are chunks.
/// - The least chunk: `size / (threads × 4)` or `min_chunk`, whichever is
///   more, rounded up to `align`. As many chunks are cut as fit, and what
///   remains is spread over the first of them: counted in whole `align`s, two
///   chunks differ by at most one.
/// - Boundaries inside the range are multiples of `align`, counted from zero
///   and not from `start`. Only the range's own start and end may lie between
///   multiples; the first and last chunk can be shorter than `min_chunk` by
///   that much, always less than `align` at each end. A range shorter than
///   `min_chunk` or `align` is one chunk.
/// - A range of size 0 has no chunk and no thread.
///
/// # Examples
///
/// ```
/// use firsttouch_job::Plan;
///
/// let plan = Plan::builder(10_u64, 80).align(8).max_threads(2).build()?;
/// assert_eq!(plan.threads(), 2);
/// assert_eq!(plan.chunks(), 5);
/// assert_eq!(plan.chunk(0), Some(10..32));
/// assert_eq!(plan.iter().next_back(), Some(80..90));
/// # Ok::<(), firsttouch_job::PlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<T> {
    /// Invariant: `start <= end`.
    start: T,
    end: T,
    /// Invariant: not zero.
    align: T,
    /// The multiple of `align` at or before `start`, counted in `align`s.
    first_unit: T,
    /// Whole `align`s in every chunk; the first `longer` chunks have one more.
    ///
    /// Invariant: `chunks * units_each + longer` spans the range, and
    /// `longer < chunks` where there are chunks.
    units_each: T,
    longer: T,
    chunks: T,
    /// Invariant: at most `chunks`.
    threads: T,
}

impl<T: Unsigned> Plan<T> {
    /// Starts a plan of the range of `size` units from `start`.
    pub fn builder(start: T, size: T) -> PlanBuilder<T> {
        let one = T::from(1);
        let grain = Grain::Balanced;
        PlanBuilder { start, size, align: one, min_chunk: T::from(0), max_threads: T::MAX, grain }
    }

    /// Returns how many threads the range is worth; never more than [`chunks`](Self::chunks).
    #[must_use]
    pub fn threads(&self) -> T {
        self.threads
    }

    /// Returns the number of chunks.
    #[must_use]
    pub fn chunks(&self) -> T {
        self.chunks
    }

    /// Returns the range that is cut.
    #[must_use]
    pub fn range(&self) -> Range<T> {
        self.start..self.end
    }

    /// Returns one chunk, never empty; `None` past the last. Takes the same time for any index.
    #[must_use]
    #[inline]
    pub fn chunk(&self, index: T) -> Option<Range<T>> {
        if index >= self.chunks {
            return None;
        }
        let next = index + T::from(1);
        let start = if index == T::from(0) { self.start } else { self.boundary(index) };
        let end = if next == self.chunks { self.end } else { self.boundary(next) };
        Some(start..end)
    }

    /// Returns neighbouring chunks as one range; `None` where there are none, or one is past the last.
    #[inline]
    pub(crate) fn span(&self, indices: Range<T>) -> Option<Range<T>> {
        let last = indices.end.checked_sub(T::from(1)).filter(|&last| indices.start <= last)?;
        Some(self.chunk(indices.start)?.start..self.chunk(last)?.end)
    }

    /// Returns the first chunk that begins at or after a unit of the range; the number of chunks where none does.
    pub(crate) fn first_from(&self, unit: T) -> T {
        let (mut low, mut high) = (T::from(0), self.chunks);
        while low < high {
            let middle = low + (high - low) / T::from(2);
            match self.chunk(middle) {
                Some(chunk) if chunk.start < unit => low = middle + T::from(1),
                _ => high = middle,
            }
        }
        low
    }

    /// Visits the chunks in order.
    #[must_use]
    pub fn iter(&self) -> Chunks<'_, T> {
        Chunks { plan: self, next: T::from(0), end: self.chunks }
    }

    /// The same range as one chunk for one thread.
    #[inline]
    pub(crate) fn whole(&self) -> Self {
        Self::cut(self.start, self.end - self.start, self.align, T::MAX, T::from(1))
    }

    /// The first `size` units, dealt to so many threads in one chunk each; not zero threads.
    #[inline]
    pub(crate) fn dealt(size: T, threads: T) -> Self {
        let (zero, one) = (T::from(0), T::from(1));
        Self::cut_into(zero, size, one, most_chunks(size, one, one).min(threads), threads)
    }

    /// Where chunk `index` begins, for every chunk but the first.
    ///
    /// Nothing overflows: the unit lies strictly inside of the range, so the
    /// product is less than `end`.
    #[inline]
    fn boundary(&self, index: T) -> T {
        let unit = self.first_unit + index * self.units_each + index.min(self.longer);
        unit * self.align
    }

    /// Cuts into chunks of at least `least` units of `align`.
    ///
    /// Counts chunks by the whole `align`s that fit into `size`, which are at
    /// most those that the range touches; so every chunk gets at least `least`
    /// of the latter, and a range shorter than `align` is one chunk even where
    /// it lies across a multiple.
    fn cut(start: T, size: T, align: T, least: T, threads: T) -> Self {
        Self::cut_into(start, size, align, most_chunks(size, align, least), threads)
    }

    /// Cuts into so many chunks: at least one, at most the multiples of `align` that the range touches.
    #[inline]
    fn cut_into(start: T, size: T, align: T, chunks: T, threads: T) -> Self {
        let zero = T::from(0);
        let end = start + size;
        let first_unit = quotient(start, align);
        if size == zero {
            let (units_each, longer) = (zero, zero);
            return Self {
                start,
                end,
                align,
                first_unit,
                units_each,
                longer,
                chunks: zero,
                threads: zero,
            };
        }
        let units = div_ceil(end, align) - first_unit;
        let units_each = quotient(units, chunks);
        Self {
            start,
            end,
            align,
            first_unit,
            units_each,
            longer: units - units_each * chunks,
            chunks,
            threads: threads.min(chunks),
        }
    }
}

impl<'a, T: Unsigned> IntoIterator for &'a Plan<T> {
    type Item = Range<T>;
    type IntoIter = Chunks<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What a [`Plan`] is made from.
#[must_use]
#[derive(Clone, Debug)]
pub struct PlanBuilder<T> {
    start: T,
    size: T,
    align: T,
    min_chunk: T,
    max_threads: T,
    grain: Grain<T>,
}

/// What decides how long a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grain<T> {
    /// A thread's share over [`LOAD_BALANCE_FACTOR`], and at least `min_chunk`.
    Balanced,
    /// As [`Balanced`](Self::Balanced), over this number instead; not zero.
    BalancedBy(u8),
    /// One chunk for each thread.
    PerThread,
    /// As [`Balanced`](Self::Balanced) for so many threads, whatever the number that runs; not zero.
    BalancedFor(T),
    /// As [`Balanced`](Self::Balanced), but never longer than this, rounded down to `align` and at least one; not zero.
    BalancedUpTo(T),
    /// As short as this allows, whatever the threads; not zero.
    AtLeast(T),
    /// As long as this allows, rounded up to `align`, whatever the threads; not zero.
    AtMost(T),
}

impl<T: Copy> Grain<T> {
    /// The length that it names; not zero.
    fn length(self) -> Option<T> {
        match self {
            Self::AtLeast(length) | Self::AtMost(length) | Self::BalancedUpTo(length) => {
                Some(length)
            }
            Self::Balanced | Self::BalancedBy(_) | Self::PerThread | Self::BalancedFor(_) => None,
        }
    }
}

impl<T: Unsigned> PlanBuilder<T> {
    /// Sets what boundaries are multiples of; any number but zero. Default: 1.
    pub fn align(mut self, align: T) -> Self {
        self.align = align;
        self
    }

    /// Sets the least work worth one thread. Default: 0, which is no minimum.
    pub fn min_chunk(mut self, min_chunk: T) -> Self {
        self.min_chunk = min_chunk;
        self
    }

    /// Sets the most threads, the caller included. Default: no limit.
    pub fn max_threads(mut self, max_threads: T) -> Self {
        self.max_threads = max_threads;
        self
    }

    /// Sets what decides how long a chunk is. Default: [`Grain::Balanced`].
    pub(crate) fn grain(mut self, grain: Grain<T>) -> Self {
        self.grain = grain;
        self
    }

    /// Cuts the range.
    ///
    /// # Errors
    ///
    /// Where `align` or `max_threads` is 0, or `start + size` is more than the type holds.
    pub fn build(self) -> Result<Plan<T>, PlanError> {
        let Self { start, size, align, min_chunk, max_threads, grain } = self;
        let zero = T::from(0);
        if align == zero {
            return Err(PlanError::ZeroAlign);
        }
        if max_threads == zero {
            return Err(PlanError::ZeroThreads);
        }
        if grain.length() == Some(zero) {
            return Err(PlanError::ZeroChunk);
        }
        if start.checked_add(size).is_none() {
            let (start, size, max) = (start.to_u128(), size.to_u128(), T::MAX.to_u128());
            return Err(PlanError::TooLong { start, size, max });
        }
        let threads = threads_worth(size, align, min_chunk, max_threads);
        // The multiples of `align` that the range touches.
        let units = || div_ceil(start + size, align) - quotient(start, align);
        let chunks = match grain {
            Grain::Balanced
            | Grain::BalancedBy(_)
            | Grain::BalancedFor(_)
            | Grain::BalancedUpTo(_) => {
                let (cut_for, factor) = match grain {
                    Grain::BalancedFor(fixed) => (fixed, LOAD_BALANCE_FACTOR),
                    Grain::BalancedBy(factor) => (threads, factor),
                    _ => (threads, LOAD_BALANCE_FACTOR),
                };
                let least = chunk_units(size, align, min_chunk, cut_for, factor);
                let balanced = most_chunks(size, align, least);
                match grain {
                    Grain::BalancedUpTo(length) => {
                        let most_each = quotient(length, align).max(T::from(1));
                        div_ceil(units(), most_each).max(balanced)
                    }
                    _ => balanced,
                }
            }
            Grain::PerThread => {
                let least = div_ceil(min_chunk.max(T::from(1)), align);
                most_chunks(size, align, least).min(threads)
            }
            Grain::AtLeast(length) => most_chunks(size, align, div_ceil(length, align)),
            Grain::AtMost(length) => div_ceil(units(), div_ceil(length, align)),
        };
        Ok(Plan::cut_into(start, size, align, chunks, threads))
    }
}

/// How many threads a range is worth: at least one, at most `max_threads`.
#[inline]
fn threads_worth<T: Unsigned>(size: T, align: T, min_chunk: T, max_threads: T) -> T {
    quotient(size, min_chunk.max(align)).max(T::from(1)).min(max_threads)
}

/// The least chunk in units of `align`, with so many for each thread: at least one.
///
/// Divides twice where the kernel divides by a product, which is the same
/// number and cannot overflow.
#[inline]
fn chunk_units<T: Unsigned>(size: T, align: T, min_chunk: T, threads: T, factor: u8) -> T {
    let share = size / threads / T::from(factor);
    div_ceil(share.max(min_chunk).max(T::from(1)), align)
}

/// The most chunks of at least `least` units of `align`: at least one.
#[inline]
fn most_chunks<T: Unsigned>(size: T, align: T, least: T) -> T {
    quotient(quotient(size, align), least).max(T::from(1))
}

/// The quotient. A division takes longer than all else in a plan, and most divisors are 1.
#[inline]
fn quotient<T: Unsigned>(dividend: T, divisor: T) -> T {
    if divisor == T::from(1) { dividend } else { dividend / divisor }
}

/// The quotient rounded up, for any dividend up to the type's maximum.
#[inline]
fn div_ceil<T: Unsigned>(dividend: T, divisor: T) -> T {
    let (zero, one) = (T::from(0), T::from(1));
    if divisor == one {
        return dividend;
    }
    let more = if dividend % divisor == zero { zero } else { one };
    dividend / divisor + more
}

/// The chunks of a [`Plan`], in order.
#[derive(Clone, Debug)]
pub struct Chunks<'a, T> {
    plan: &'a Plan<T>,
    next: T,
    /// Invariant: at least `next`, at most the plan's chunks.
    end: T,
}

impl<T: Unsigned> Iterator for Chunks<'_, T> {
    type Item = Range<T>;

    fn next(&mut self) -> Option<Range<T>> {
        if self.next == self.end {
            return None;
        }
        let index = self.next;
        self.next = index + T::from(1);
        self.plan.chunk(index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end - self.next).saturating_to_usize();
        (left, (left < usize::MAX).then_some(left))
    }
}

impl<T: Unsigned> DoubleEndedIterator for Chunks<'_, T> {
    fn next_back(&mut self) -> Option<Range<T>> {
        if self.next == self.end {
            return None;
        }
        self.end = self.end - T::from(1);
        self.plan.chunk(self.end)
    }
}

impl<T: Unsigned> FusedIterator for Chunks<'_, T> {}

/// Why a range cannot be cut as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// `align` is 0.
    #[error("align is 0; boundaries are multiples of align, and 1 allows any")]
    ZeroAlign,
    /// A schedule's chunk, or `max_chunk`, is 0 units long.
    #[error("a chunk is to have 0 units; 1 is the least")]
    ZeroChunk,
    /// `max_threads` is 0.
    #[error("max_threads is 0; the caller counts as one of them, so 1 is the least")]
    ZeroThreads,
    /// `start + size` is more than the integer type holds.
    #[error("start {start} and size {size} end past {max}; a range must end at or before it")]
    TooLong {
        /// The range's start.
        start: u128,
        /// The range's size.
        size: u128,
        /// The type's maximum.
        max: u128,
    },
}

#[cfg(all(test, not(loom)))]
mod tests;
