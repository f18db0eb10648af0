//! Loops over the elements of a slice, which hand out disjoint `&mut` parts of it.

use std::marker::PhantomData;
use std::ops::Range;
use std::slice;

use firsttouch_pool::Pool;

use crate::loops::chunks;
use crate::{JobError, Loop};

/// Calls `f` with every element of a slice and its index, on the caller and the pool's helpers.
///
/// A [`Loop`] with its defaults; that has the options, and says what holds for all loops.
///
/// # Panics
///
/// With the panic of `f`.
///
/// # Examples
///
/// ```
/// use firsttouch_job::for_each_mut;
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let mut squares = vec![0; 1000];
/// for_each_mut(&pool, &mut squares, |index, square| *square = index * index);
/// assert_eq!(squares[31], 961);
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
///
/// Elements that must stay on their thread are rejected:
///
/// ```compile_fail,E0277
/// let pool = firsttouch_pool::Pool::new().unwrap();
/// let mut ones = vec![std::rc::Rc::new(1)];
/// firsttouch_job::for_each_mut(&pool, &mut ones, |_, _| ());
/// ```
///
/// ```
/// let pool = firsttouch_pool::Pool::new().unwrap();
/// let mut ones = vec![std::sync::Arc::new(1)];
/// firsttouch_job::for_each_mut(&pool, &mut ones, |_, _| ());
/// ```
pub fn for_each_mut<T: Send>(pool: &Pool, data: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
    Loop::new().for_each_mut(pool, data, f).expect(super::DEFAULTS_HOLD);
}

/// Calls `f` with disjoint parts of a slice and the index of each one's first element, on the caller and the pool's helpers.
///
/// A [`Loop`] with its defaults; that has the options, and says what holds for
/// all loops. The parts cover the slice, and none is empty.
///
/// # Panics
///
/// With the panic of `f`.
///
/// # Examples
///
/// STREAM's triad. The inner loop is over slices of one length, so the
/// compiler leaves out bounds checks and vectorises it:
///
/// ```
/// use firsttouch_job::for_each_chunk_mut;
/// use firsttouch_pool::Pool;
///
/// fn triad(pool: &Pool, a: &mut [f64], b: &[f64], c: &[f64], factor: f64) {
///     assert!(a.len() == b.len() && a.len() == c.len());
///     for_each_chunk_mut(pool, a, |start, a| {
///         let part = start..start + a.len();
///         for ((a, b), c) in a.iter_mut().zip(&b[part.clone()]).zip(&c[part]) {
///             *a = b + factor * c;
///         }
///     });
/// }
///
/// let (mut a, b, c) = (vec![0.0; 10_000], vec![1.0; 10_000], vec![2.0; 10_000]);
/// triad(&Pool::new()?, &mut a, &b, &c, 3.0);
/// assert!(a.iter().all(|&a| a == 7.0));
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
pub fn for_each_chunk_mut<T: Send>(
    pool: &Pool,
    data: &mut [T],
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    Loop::new().for_each_chunk_mut(pool, data, f).expect(super::DEFAULTS_HOLD);
}

impl Loop {
    /// Calls `f` with every element of a slice and its index; returns when all calls have.
    ///
    /// # Errors
    ///
    /// As for [`for_each_index`](Self::for_each_index), over `0..data.len()`.
    ///
    /// # Panics
    ///
    /// With the panic of `f`.
    pub fn for_each_mut<T: Send>(
        &self,
        pool: &Pool,
        data: &mut [T],
        f: impl Fn(usize, &mut T) + Sync,
    ) -> Result<(), JobError> {
        self.for_each_chunk_mut(pool, data, |start, part| {
            for (offset, element) in part.iter_mut().enumerate() {
                f(start + offset, element);
            }
        })
    }

    /// Calls `f` with disjoint parts of a slice and the index of each one's first element; returns when all calls have.
    ///
    /// # Errors
    ///
    /// As for [`for_each_index`](Self::for_each_index), over `0..data.len()`.
    ///
    /// # Panics
    ///
    /// With the panic of `f`.
    pub fn for_each_chunk_mut<T: Send>(
        &self,
        pool: &Pool,
        data: &mut [T],
        f: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<(), JobError> {
        let range = 0..data.len();
        let parts = Disjoint::new(data);
        chunks::run(pool, &self.options, self.help, range, |chunks| {
            for range in chunks {
                let start = range.start;
                // SAFETY: [disjoint] a loop hands out every index once, to one
                // thread, and the part ends before that thread takes another.
                let part = unsafe { parts.part(range) };
                f(start, part);
            }
        })
    }
}

/// A slice that several threads write to, each in a part of its own.
struct Disjoint<'s, T> {
    first: *mut T,
    len: usize,
    slice: PhantomData<&'s mut [T]>,
}

// SAFETY: by [disjoint] no two threads reach one element; to reach one from
// another thread than the slice's is to send it there.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'s, T> Disjoint<'s, T> {
    fn new(slice: &'s mut [T]) -> Self {
        Self { first: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Returns a part of the slice.
    ///
    /// # Panics
    ///
    /// Where the range is not inside of the slice.
    ///
    /// # Safety
    ///
    /// - `[disjoint]` No other part with an element of this one is in use
    ///   before this one's last use.
    #[expect(clippy::mut_from_ref, reason = "[disjoint] keeps two parts apart")]
    unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} is in the slice");
        // SAFETY: the start is at most the slice's length.
        let first = unsafe { self.first.add(range.start) };
        // SAFETY: [disjoint], and the elements lie in the slice, which is borrowed for 's.
        unsafe { slice::from_raw_parts_mut(first, range.len()) }
    }
}
