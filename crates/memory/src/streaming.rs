//! Writing past the caches: non-temporal stores, for more bytes than a cache holds.
//!
//! A plain store to a line that no cache has reads it from memory first, and
//! puts another line out. Non-temporal stores gather whole lines and send them
//! to memory as they are: about half of the traffic, and caches keep what they
//! had. What is written so is in no cache afterwards, so for data that is used
//! at once, or fits there, they are the slower ones.
//!
//! On x86-64 the widest stores that the processor has are found when the
//! program runs. Elsewhere, and for the bytes before the first and after the
//! last whole line, these functions use plain stores.
//!
//! # Memory ordering
//!
//! Non-temporal stores are not ordered as others are. Each function ends with
//! a fence (`sfence`), after which they are: what synchronises other writes
//! with other threads synchronises these too.

use bytemuck::Pod;

#[cfg(target_arch = "x86_64")]
mod x86_64;

/// Bytes of the buffer that a pattern is repeated in, at least: well within a first-level cache.
const PATTERN_BYTES: usize = 4 << 10;

/// The longest element that has a buffer of its pattern; longer ones are copied one by one.
const LONGEST_ELEMENT: usize = 512;

/// Copies a slice to another of the same length.
///
/// # Panics
///
/// Where the lengths differ.
///
/// # Examples
///
/// ```
/// let from: Vec<u32> = (0..100_000).collect();
/// let mut to = vec![0; from.len()];
/// firsttouch_memory::streaming::copy(&mut to, &from);
/// assert_eq!(to, from);
/// ```
pub fn copy<T: Pod>(to: &mut [T], from: &[T]) {
    assert_eq!(
        to.len(),
        from.len(),
        "elements are copied to as many; pass two slices of the same length"
    );
    Lines::best().copy(bytemuck::cast_slice_mut(to), bytemuck::cast_slice(from));
    Lines::best().fence();
}

/// Writes the same element all over a slice.
///
/// # Examples
///
/// ```
/// let mut numbers = vec![0.0; 100_000];
/// firsttouch_memory::streaming::fill(&mut numbers, 1.5);
/// assert!(numbers.iter().all(|&number| number == 1.5));
/// ```
pub fn fill<T: Pod>(elements: &mut [T], element: T) {
    fill_by(Lines::best(), elements, element);
}

fn fill_by<T: Pod>(lines: Lines, elements: &mut [T], element: T) {
    let size = size_of::<T>();
    if size == 0 || size > LONGEST_ELEMENT {
        elements.fill(element);
        return;
    }
    // A whole number of elements, and of lines, so that each copy of the
    // buffer but the last ends where a line does if the first begins there.
    let count = 64 * PATTERN_BYTES.div_ceil(64 * size);
    let pattern = vec![element; count];
    for part in elements.chunks_mut(count) {
        let pattern = &pattern[..part.len()];
        lines.copy(bytemuck::cast_slice_mut(part), bytemuck::cast_slice(pattern));
    }
    lines.fence();
}

/// How whole lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// By plain stores.
    #[cfg_attr(target_arch = "x86_64", allow(dead_code, reason = "the tests compare with it"))]
    Plain,
    /// By four stores of 16 bytes each; every x86-64 has them.
    #[cfg(target_arch = "x86_64")]
    Sse2,
    /// By two stores of 32 bytes each.
    #[cfg(target_arch = "x86_64")]
    Avx,
    /// By one store of 64 bytes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Lines {
    /// The widest stores that this processor has.
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            // The macro asks the processor once, and remembers.
            if is_x86_feature_detected!("avx512f") {
                Self::Avx512
            } else if is_x86_feature_detected!("avx") {
                Self::Avx
            } else {
                Self::Sse2
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            Self::Plain
        }
    }

    /// Copies bytes: whole lines in this way, what is before and after them by plain stores.
    fn copy(self, to: &mut [u8], from: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        if self != Self::Plain {
            let head = to.as_ptr().align_offset(x86_64::LINE).min(to.len());
            let body = (to.len() - head) / x86_64::LINE * x86_64::LINE;
            let (to_head, to) = to.split_at_mut(head);
            let (to_body, to_tail) = to.split_at_mut(body);
            let (from_head, from) = from.split_at(head);
            let (from_body, from_tail) = from.split_at(body);
            to_head.copy_from_slice(from_head);
            match self {
                Self::Plain => unreachable!("it has no lines"),
                // SAFETY: [features] every x86-64 has them; [lines] `to_body`
                // is whole lines from the start of one, and as long as `from_body`.
                Self::Sse2 => unsafe { x86_64::copy_sse2(to_body, from_body) },
                // SAFETY: [features] `best` found them; [lines] as above.
                Self::Avx => unsafe { x86_64::copy_avx(to_body, from_body) },
                // SAFETY: [features] `best` found them; [lines] as above.
                Self::Avx512 => unsafe { x86_64::copy_avx512(to_body, from_body) },
            }
            to_tail.copy_from_slice(from_tail);
            return;
        }
        to.copy_from_slice(from);
    }

    /// Orders the stores before it with those after it, and with what synchronises threads.
    fn fence(self) {
        #[cfg(target_arch = "x86_64")]
        if self != Self::Plain {
            x86_64::fence();
        }
    }
}

#[cfg(test)]
mod tests;
