//! What the machine itself can do: how fast its kernel clears pages, and how fast its memory is written.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use firsttouch::memory::Part;
use firsttouch::topology::affinity;
use firsttouch::{CpuSet, Region, Topology};

use super::Pages;
use super::rival::PIECE;
use crate::measure::{Request, Sample};
use crate::warm::warm_by_threads;
use crate::{Stats, size};

/// Passes of which the fastest counts: a limit is what can be reached at all.
const PASSES: usize = 3;

/// Returns the name of the case: pages of the largest size cleared by the kernel on all CPUs.
#[must_use]
pub fn clear_case(bytes: u64) -> String {
    format!("limit/clear/{}", size::exact(bytes))
}

/// Returns the name of the case: warm memory written around the caches on all CPUs.
#[must_use]
pub fn write_case(bytes: u64) -> String {
    format!("limit/write/{}", size::exact(bytes))
}

/// Returns the kind of the largest pages that so many bytes can be had of.
#[must_use]
pub fn largest_pages(topology: &Topology, bytes: u64) -> Pages {
    let can_be_had = |pages: &Pages| pages.page_size(topology, bytes).is_ok();
    Pages::ALL.into_iter().rev().find(can_be_had).unwrap_or(Pages::Base)
}

/// Returns how memory is written around the caches here.
#[must_use]
pub fn how_it_is_written() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "non-temporal stores"
    } else {
        "memset, for want of non-temporal stores"
    }
}

/// Measures the limits that are asked for.
pub(crate) fn measure(request: &Request) -> anyhow::Result<Vec<Sample>> {
    let topology = Topology::discover().context("cannot read this machine")?;
    let cpus: CpuSet = topology.allowed().cpus().iter().take(request.threads.get()).collect();
    let mut samples = Vec::new();
    for case in &request.cases {
        let bytes = super::case::bytes_of(case).with_context(|| format!("no size in {case:?}"))?;
        let page_size = largest_pages(&topology, bytes).page_size(&topology, bytes)?;
        let bytes = usize::try_from(bytes)?;
        let mut times = Vec::new();
        for _ in 0..request.effort.choose(PASSES, 1) {
            warm_by_threads(bytes, page_size, request.threads)?;
            let mut region = Region::builder(bytes).page_size(page_size).build()?;
            let work: Work = match case.split('/').nth(1) {
                Some("clear") => |part| Ok(part.populate()?),
                Some("write") => {
                    region.populate(0..bytes)?;
                    |part| {
                        write_around_caches(part.as_mut_slice());
                        Ok(())
                    }
                }
                _ => bail!("there is no limit {case:?}"),
            };
            times.push(on_all(&cpus, &mut region, work)?.as_secs_f64() * 1e3);
        }
        let best = Stats::of(times).context("there was a pass")?.min;
        samples.push(Sample::new(case, "ms", best));
    }
    Ok(samples)
}

/// What is done to a piece of the memory.
type Work = fn(&mut Part<'_>) -> anyhow::Result<()>;

/// Has a pinned thread on each CPU take pieces of a region, and returns the time from the first start to the last end.
fn on_all(cpus: &CpuSet, region: &mut Region, work: Work) -> anyhow::Result<Duration> {
    let piece = PIECE.min(region.len().div_ceil(cpus.len()));
    let piece = piece.next_multiple_of(region.page_bytes());
    let (len, parts) = (region.len(), region.parts());
    let (ready, next) = (Barrier::new(cpus.len()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let take_pieces = |cpu| {
            let (ready, next) = (&ready, &next);
            move || -> anyhow::Result<(Instant, Instant)> {
                let pinned = affinity::set_current(&CpuSet::from_iter([cpu]));
                ready.wait();
                pinned?;
                let begun = Instant::now();
                loop {
                    // Relaxed: it hands out numbers; the scope's end publishes what was written.
                    let start = next.fetch_add(piece, Ordering::Relaxed);
                    if start >= len {
                        return Ok((begun, Instant::now()));
                    }
                    // SAFETY: [disjoint] the counter hands out each piece once.
                    let mut part = unsafe { parts.part(start..(start + piece).min(len)) };
                    work(&mut part)?;
                }
            }
        };
        let started: Vec<_> = cpus.iter().map(|cpu| scope.spawn(take_pieces(cpu))).collect();
        let mut spans = Vec::new();
        for thread in started {
            spans.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        let first = spans.iter().map(|&(begun, _)| begun).min();
        let last = spans.iter().map(|&(_, ended)| ended).max();
        let (first, last) = first.zip(last).context("there is a CPU")?;
        Ok(last.duration_since(first))
    })
}

/// Writes bytes without reading the lines that they lie in first.
#[cfg(target_arch = "x86_64")]
fn write_around_caches(bytes: &mut [u8]) {
    use std::arch::x86_64::{__m128i, _mm_set1_epi8, _mm_sfence, _mm_stream_si128};
    // SAFETY: every processor of this architecture has the instruction.
    let value = unsafe { _mm_set1_epi8(0x5A) };
    // SAFETY: any bytes are numbers, and those that are aligned may be written as such.
    let (_, aligned, _) = unsafe { bytes.align_to_mut::<__m128i>() };
    for place in aligned {
        // SAFETY: the place is aligned, and borrowed to be written.
        unsafe { _mm_stream_si128(place, value) };
    }
    // SAFETY: every processor of this architecture has the instruction.
    unsafe { _mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
fn write_around_caches(bytes: &mut [u8]) {
    super::measure::write_all(bytes, 0x5A);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_around_the_caches_writes_all_of_a_page() {
        let mut region = Region::builder(1 << 20).build().expect("memory for a test");
        write_around_caches(region.as_mut_slice());
        assert!(region.as_slice().iter().all(|&byte| byte == 0x5A));
    }
}
