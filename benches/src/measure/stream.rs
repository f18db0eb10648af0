//! The group `stream`: loops over arrays that no cache holds, bound by memory.

use std::hint::black_box;

use anyhow::ensure;

use super::latency::time;
use super::{Request, Sample};
use crate::Stats;
use crate::runtime::Runtime;

/// Numbers in each piece that a runtime hands out: 64 KiB, so that handing out takes no time.
const BLOCK: usize = 8192;

/// STREAM's scalar.
const SCALAR: f64 = 3.0;

pub(super) fn measure(request: &Request, runtime: &mut dyn Runtime) -> anyhow::Result<Vec<Sample>> {
    let effort = request.effort;
    let length = effort.array_bytes() / size_of::<f64>();
    let blocks = length / BLOCK;
    let mut arrays = Arrays::touched_first_by(runtime, blocks);
    let mut samples = Vec::new();
    for case in request.group.cases(effort).iter().filter(|case| request.wants(case)) {
        let mut times = Vec::new();
        // The first pass is not timed: the threads are just out of another loop.
        for pass in 0..effort.choose(6, 2) {
            let mut right = None;
            let took = time(|| right = arrays.pass(case, runtime, blocks));
            let Some(right) = right else { break };
            ensure!(right, "{case}: wrong answer");
            if pass > 0 {
                times.push(took.as_secs_f64() * 1e3);
            }
        }
        if case.starts_with("triad") {
            ensure!(times.is_empty() || arrays.triad_is_right(), "{case}: wrong answer");
        }
        let Some(times) = Stats::of(times) else { continue };
        samples.push(Sample::new(case, "ms", times.median));
    }
    Ok(samples)
}

/// Three arrays of as many blocks each.
///
/// Their numbers are small and whole, so sums are exact in whatever order they are added.
struct Arrays {
    a: Vec<f64>,
    b: Vec<f64>,
    c: Vec<f64>,
}

fn b_at(index: usize) -> f64 {
    (index % 7) as f64
}

fn c_at(index: usize) -> f64 {
    (index % 5) as f64
}

impl Arrays {
    /// Makes the arrays, with every page touched first by the runtime's own threads.
    fn touched_first_by(runtime: &mut dyn Runtime, blocks: usize) -> Self {
        let length = blocks * BLOCK;
        // Zeroed memory of this size is fresh from the kernel: no page is there before it is written.
        let [mut a, mut b, mut c] = [(); 3].map(|()| vec![0.0; length]);
        let (to_a, to_b, to_c) = (Blocks::of(&mut a), Blocks::of(&mut b), Blocks::of(&mut c));
        runtime.for_each(blocks, &|block| {
            // SAFETY: [once] the runtime calls each block once; the same for the next two.
            let a = unsafe { to_a.get(block) };
            // SAFETY: [once].
            let b = unsafe { to_b.get(block) };
            // SAFETY: [once].
            let c = unsafe { to_c.get(block) };
            for (offset, ((a, b), c)) in a.iter_mut().zip(b).zip(c).enumerate() {
                let index = block * BLOCK + offset;
                (*a, *b, *c) = (1.0, b_at(index), c_at(index));
            }
        });
        Self { a, b, c }
    }

    /// Runs one case over all blocks and says whether its answer is right; of the triad,
    /// [`Arrays::triad_is_right`] says so afterwards.
    fn pass(&mut self, case: &str, runtime: &mut dyn Runtime, blocks: usize) -> Option<bool> {
        let Self { a, b, c } = self;
        let block = |index: usize| index * BLOCK..(index + 1) * BLOCK;
        if case.starts_with("sum") {
            let sum = runtime.sum(blocks, &|index| sum(&b[block(index)]))?;
            return Some(sum == expected(blocks, b_at));
        }
        if case.starts_with("dot") {
            let dot = runtime.sum(blocks, &|index| dot(&b[block(index)], &c[block(index)]))?;
            return Some(dot == expected(blocks, |index| b_at(index) * c_at(index)));
        }
        let to_a = Blocks::of(a);
        runtime.for_each(blocks, &|index| {
            // SAFETY: [once] the runtime calls each block once.
            let a = unsafe { to_a.get(index) };
            triad(a, &b[block(index)], &c[block(index)]);
        })?;
        Some(true)
    }

    fn triad_is_right(&self) -> bool {
        let right = |(index, &a): (usize, &f64)| a == b_at(index) + SCALAR * c_at(index);
        self.a.iter().enumerate().all(right)
    }
}

/// The sum over all blocks of what depends on the index alone; it repeats after 35.
fn expected(blocks: usize, value: impl Fn(usize) -> f64) -> f64 {
    let length = blocks * BLOCK;
    let period: f64 = (0..35).map(&value).sum();
    let rest: f64 = (length / 35 * 35..length).map(value).sum();
    (length / 35) as f64 * period + rest
}

/// As many sums at once as keep the processor's adders busy; one sum would wait for itself.
const LANES: usize = 32;

fn sum(b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    for b in b.chunks_exact(LANES) {
        lanes.iter_mut().zip(b).for_each(|(lane, b)| *lane += b);
    }
    lanes.iter().sum()
}

fn dot(b: &[f64], c: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    for (b, c) in b.chunks_exact(LANES).zip(c.chunks_exact(LANES)) {
        lanes.iter_mut().zip(b.iter().zip(c)).for_each(|(lane, (b, c))| *lane += b * c);
    }
    lanes.iter().sum()
}

fn triad(a: &mut [f64], b: &[f64], c: &[f64]) {
    let scalar = black_box(SCALAR);
    for (a, (b, c)) in a.iter_mut().zip(b.iter().zip(c)) {
        *a = b + scalar * c;
    }
}

/// An array that several threads write, each its own blocks.
struct Blocks {
    start: *mut f64,
    blocks: usize,
}

// SAFETY: it only hands out blocks, under the obligation that no two threads have the same.
unsafe impl Sync for Blocks {}

impl Blocks {
    fn of(array: &mut [f64]) -> Self {
        Self { start: array.as_mut_ptr(), blocks: array.len() / BLOCK }
    }

    /// Returns one block.
    ///
    /// # Safety
    ///
    /// - `[once]` No block is asked for twice while the first answer is in use, and the array is
    ///   used in no other way meanwhile.
    #[expect(clippy::mut_from_ref, reason = "[once] each block is handed out once")]
    unsafe fn get(&self, block: usize) -> &mut [f64] {
        assert!(block < self.blocks, "block {block} of {}", self.blocks);
        // SAFETY: the assertion: it is within the array.
        let start = unsafe { self.start.add(block * BLOCK) };
        // SAFETY: [once] nobody else uses these numbers; the assertion: all are within the array.
        unsafe { std::slice::from_raw_parts_mut(start, BLOCK) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_have_the_answers_of_plain_loops() {
        let b: Vec<_> = (0..BLOCK).map(b_at).collect();
        let c: Vec<_> = (0..BLOCK).map(c_at).collect();
        assert_eq!(sum(&b), b.iter().sum::<f64>());
        assert_eq!(dot(&b, &c), b.iter().zip(&c).map(|(b, c)| b * c).sum::<f64>());
        let mut a = vec![0.0; BLOCK];
        triad(&mut a, &b, &c);
        assert!((0..BLOCK).all(|index| a[index] == b[index] + 3.0 * c[index]));
    }

    #[test]
    fn expected_sums_are_those_of_a_loop_over_all_numbers() {
        for blocks in [1, 2, 5] {
            let all: f64 = (0..blocks * BLOCK).map(b_at).sum();
            assert_eq!(expected(blocks, b_at), all);
        }
    }
}
