//! Memory for tasks, kept by the worker that ran one for those that it spawns next.
//!
//! Tasks come by the hundred, and live for microseconds: an allocator that
//! gives each new memory, and takes it back, costs as much as all else of a
//! small one.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr;

/// What a block's size is a multiple of, and its alignment.
const UNIT: usize = 16;

/// The sizes of blocks, in units: 1 to this. Larger tasks have memory of their own.
const SIZES: usize = 4;

/// Blocks of each size that a worker keeps at most: 160 KiB of all together.
const KEPT: u32 = 1024;

/// The memory of one task, while it is free.
struct Free {
    next: *mut Free,
}

const _: () = assert!(size_of::<Free>() <= UNIT && align_of::<Free>() <= UNIT);

/// The blocks that one worker keeps.
///
/// Invariant: `free` has lists of blocks by size, each from [`new`] for that size and nobody
/// else's, and `count` is how many.
pub(crate) struct Blocks {
    free: [Cell<*mut Free>; SIZES],
    count: [Cell<u32>; SIZES],
}

/// The place of the blocks that hold values of this type among all sizes; `None` where none do.
const fn size_for<T>() -> Option<usize> {
    let units = size_of::<T>().div_ceil(UNIT);
    if units > SIZES || align_of::<T>() > UNIT { None } else { Some(units.saturating_sub(1)) }
}

const fn layout(size: usize) -> Layout {
    match Layout::from_size_align((size + 1) * UNIT, UNIT) {
        Ok(layout) => layout,
        Err(_) => panic!("a few units of memory have a layout"),
    }
}

impl Blocks {
    #[inline]
    pub(crate) fn new() -> Self {
        let free = [const { Cell::new(ptr::null_mut()) }; SIZES];
        Self { free, count: [const { Cell::new(0) }; SIZES] }
    }

    #[inline]
    fn take(&self, size: usize) -> Option<*mut Free> {
        let block = self.free[size].get();
        // SAFETY: by the invariant it is null, or a block that is free, and so has its next.
        let Free { next } = unsafe { block.as_ref() }?;
        self.free[size].set(*next);
        self.count[size].set(self.count[size].get() - 1);
        Some(block)
    }

    /// Keeps a block; returns whether there was room.
    ///
    /// # Safety
    ///
    /// - `[free]` It is a block from [`new`] for this size, and nobody else's.
    #[inline]
    unsafe fn keep(&self, size: usize, block: *mut Free) -> bool {
        if self.count[size].get() >= KEPT {
            return false;
        }
        // SAFETY: [free] any block is as large and as aligned as this, as asserted above.
        unsafe { block.write(Free { next: self.free[size].get() }) };
        self.free[size].set(block);
        self.count[size].set(self.count[size].get() + 1);
        true
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for size in 0..SIZES {
            while let Some(block) = self.take(size) {
                // SAFETY: by the invariant it has this layout.
                unsafe { dealloc(block.cast(), layout(size)) };
            }
        }
    }
}

/// Moves a value to memory of its own, one of these blocks where there is one; [`release`] moves it out again.
#[inline]
pub(super) fn hold<T>(blocks: Option<&Blocks>, value: T) -> *mut T {
    let Some(size) = (const { size_for::<T>() }) else { return Box::into_raw(Box::new(value)) };
    let kept = blocks.and_then(|blocks| blocks.take(size));
    let held: *mut T = kept.map_or_else(|| new(size).cast(), <*mut Free>::cast);
    // SAFETY: the block is nobody else's, and as large and as aligned as a `T` by `size_for`.
    unsafe { held.write(value) };
    held
}

/// Returns a block from the allocator.
fn new(size: usize) -> *mut u8 {
    // SAFETY: the layout has a size.
    let block = unsafe { alloc(layout(size)) };
    if block.is_null() { handle_alloc_error(layout(size)) } else { block }
}

/// Moves a value out of its memory, which these blocks keep, or the allocator gets.
///
/// # Safety
///
/// - `[held]` It comes from [`hold`] for the same type, and is released once.
#[inline]
pub(super) unsafe fn release<T>(blocks: Option<&Blocks>, held: *mut T) -> T {
    let Some(size) = (const { size_for::<T>() }) else {
        // SAFETY: [held] it was a box.
        return *unsafe { Box::from_raw(held) };
    };
    // SAFETY: [held] the value is there, and moved out once.
    let value = unsafe { held.read() };
    // SAFETY: [free] by [held] it is a block of that size, and nothing is in it any more.
    let is_kept = blocks.is_some_and(|blocks| unsafe { blocks.keep(size, held.cast()) });
    if !is_kept {
        // SAFETY: [held] it is a block, which has this layout.
        unsafe { dealloc(held.cast(), layout(size)) };
    }
    value
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Holds a value and releases it; returns where it was.
    fn hold_and_release<T: PartialEq + Copy>(blocks: &Blocks, value: T) -> usize {
        let held = hold(Some(blocks), value);
        // SAFETY: [held].
        assert!(unsafe { release(Some(blocks), held) } == value);
        held as usize
    }

    fn counts(blocks: &Blocks) -> [u32; SIZES] {
        blocks.count.each_ref().map(Cell::get)
    }

    #[test]
    fn a_block_that_was_released_last_is_the_next_of_its_size() {
        let blocks = Blocks::new();
        let (first, second) = (hold(Some(&blocks), [1_u64; 2]), hold(Some(&blocks), [2_u8; UNIT]));
        let longer = hold(Some(&blocks), [3_u8; UNIT + 1]);
        // SAFETY: [held].
        assert_eq!(unsafe { release(Some(&blocks), first) }, [1; 2]);
        // SAFETY: [held].
        assert_eq!(unsafe { release(Some(&blocks), second) }, [2; UNIT]);
        // SAFETY: [held].
        assert_eq!(unsafe { release(Some(&blocks), longer) }, [3; UNIT + 1]);
        assert_eq!(counts(&blocks), [2, 1, 0, 0]);
        assert_eq!(hold_and_release(&blocks, 4_u128), second as usize);
        assert_eq!(hold_and_release(&blocks, ()), second as usize, "it is kept once");
        assert_eq!(hold_and_release(&blocks, [5_u64; 3]), longer as usize);
        assert_eq!(hold(Some(&blocks), 6_u8) as usize, second as usize);
        assert_eq!(hold(Some(&blocks), 7_u8) as usize, first as usize);
        assert_eq!(counts(&blocks), [0, 1, 0, 0]);
        for held in [first, second.cast()] {
            // SAFETY: they are blocks of one size, and no value is used any more.
            unsafe { dealloc(held.cast(), layout(0)) };
        }
    }

    #[test]
    fn what_is_too_large_or_too_strictly_aligned_is_held_all_the_same() {
        #[derive(Clone, Copy, PartialEq)]
        #[repr(align(32))]
        struct Aligned(u8);
        let blocks = Blocks::new();
        assert_eq!(hold_and_release(&blocks, Aligned(7)) % 32, 0);
        hold_and_release(&blocks, [5_u8; SIZES * UNIT + 1]);
        assert_eq!(counts(&blocks), [0; SIZES], "none of these is a block");
        hold_and_release(&blocks, [5_u8; SIZES * UNIT]);
        assert_eq!(counts(&blocks), [0, 0, 0, 1]);
    }

    #[test]
    fn no_more_than_a_bounded_number_is_kept() {
        let blocks = Blocks::new();
        let held: Vec<_> = (0..KEPT + 10).map(|n| hold(Some(&blocks), n)).collect();
        for (n, held) in (0..).zip(held) {
            // SAFETY: [held].
            assert_eq!(unsafe { release(Some(&blocks), held) }, n);
        }
        hold_and_release(&blocks, [1_u64; 4]);
        assert_eq!(counts(&blocks), [KEPT, 1, 0, 0], "each size has room of its own");
    }

    #[test]
    fn values_are_moved_and_dropped_by_who_has_them() {
        let value = Arc::new(());
        let held = hold(None, Arc::clone(&value));
        assert_eq!(Arc::strong_count(&value), 2);
        // SAFETY: [held].
        drop(unsafe { release(None, held) });
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
