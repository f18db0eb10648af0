//! Loops over ranges of indices.

use std::ops::Range;

use firsttouch_pool::Pool;

use crate::loops::chunks;
use crate::{JobError, Loop};

/// Calls `f` with every index of a range, on the caller and the pool's helpers.
///
/// A [`Loop`] with its defaults; that has the options, and says what holds for
/// all loops. A range whose start is past its end is empty, and runs nothing.
/// Where one iteration is short, [`for_each_chunk`] leaves its inner loop to
/// the compiler, which can then vectorise it.
///
/// # Panics
///
/// With the panic of `f`.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use firsttouch_job::for_each_index;
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let sum = AtomicUsize::new(0);
/// for_each_index(&pool, 0..100, |index| {
///     sum.fetch_add(index, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 4950);
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
///
/// A closure that threads cannot share is rejected:
///
/// ```compile_fail,E0277
/// let pool = firsttouch_pool::Pool::new().unwrap();
/// let sum = std::cell::Cell::new(0);
/// firsttouch_job::for_each_index(&pool, 0..100, |index| sum.set(sum.get() + index));
/// ```
///
/// ```
/// let pool = firsttouch_pool::Pool::new().unwrap();
/// let sum = std::sync::Mutex::new(0);
/// firsttouch_job::for_each_index(&pool, 0..100, |index| *sum.lock().unwrap() += index);
/// ```
pub fn for_each_index(pool: &Pool, range: Range<usize>, f: impl Fn(usize) + Sync) {
    Loop::new().for_each_index(pool, range, f).expect(super::DEFAULTS_HOLD);
}

/// Calls `f` with neighbouring indices, chunk by chunk, on the caller and the pool's helpers.
///
/// A [`Loop`] with its defaults; that has the options, and says what holds for
/// all loops. The chunks cover the range, each index once, and none is empty.
/// A range whose start is past its end is empty, and runs nothing.
///
/// # Panics
///
/// With the panic of `f`.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use firsttouch_job::for_each_chunk;
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let bytes = vec![7_u8; 100_000];
/// let sevens = AtomicU64::new(0);
/// for_each_chunk(&pool, 0..bytes.len(), |range| {
///     // One atomic addition for each chunk, and a loop that vectorises.
///     let count: u64 = bytes[range].iter().map(|&byte| u64::from(byte == 7)).sum();
///     sevens.fetch_add(count, Ordering::Relaxed);
/// });
/// assert_eq!(sevens.into_inner(), 100_000);
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
pub fn for_each_chunk(pool: &Pool, range: Range<usize>, f: impl Fn(Range<usize>) + Sync) {
    Loop::new().for_each_chunk(pool, range, f).expect(super::DEFAULTS_HOLD);
}

impl Loop {
    /// Calls `f` with every index of a range; returns when all calls have.
    ///
    /// # Errors
    ///
    /// Where the range cannot be cut ([`JobError::Plan`]), or its parts do not
    /// lie on nodes of the pool's machine and cover it. `f` has not been called then.
    ///
    /// # Panics
    ///
    /// With the panic of `f`.
    pub fn for_each_index(
        &self,
        pool: &Pool,
        range: Range<usize>,
        f: impl Fn(usize) + Sync,
    ) -> Result<(), JobError> {
        self.for_each_chunk(pool, range, |chunk| chunk.for_each(&f))
    }

    /// Calls `f` with neighbouring indices, chunk by chunk; returns when all calls have.
    ///
    /// # Errors
    ///
    /// As for [`for_each_index`](Self::for_each_index).
    ///
    /// # Panics
    ///
    /// With the panic of `f`.
    pub fn for_each_chunk(
        &self,
        pool: &Pool,
        range: Range<usize>,
        f: impl Fn(Range<usize>) + Sync,
    ) -> Result<(), JobError> {
        chunks::run(pool, &self.options, self.help, range, |chunks| chunks.for_each(&f))
    }
}
