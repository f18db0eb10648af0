//! The cases that rivals are compared in, measured in a process of each rival's own.

use std::time::Instant;

use anyhow::{Context, ensure};
use firsttouch::{PageSize, Region, Topology};

use super::rival::{self, Here, Rival};
use super::{Case, Places, measure};
use crate::Stats;
use crate::measure::{Request, Sample};
use crate::warm::warm_by_threads;

/// Bytes that are initialised before anything is timed, so that all threads are there and awake.
const FIRST: usize = 4 << 20;

/// Measures the cases that are asked for; one that the rival has no counterpart for is left out.
pub(crate) fn measure(request: &Request) -> anyhow::Result<Vec<Sample>> {
    let topology = Topology::discover().context("cannot read this machine")?;
    let mut rival = rival::start(&request.runtime, request.threads)?;
    if let Rival::Here(rival) = &mut rival {
        let mut region = Region::builder(FIRST).build()?;
        rival.init(&mut region, 0)?;
    }
    let mut samples = Vec::new();
    for name in &request.cases {
        let case: Case = name.parse()?;
        let page_size = case.pages.page_size(&topology, case.bytes)?;
        let bytes = usize::try_from(case.bytes)?;
        let passes = request.effort.choose(passes(case, &rival), 1);
        let (mut times, mut places) = (Vec::new(), None);
        for _ in 0..passes {
            warm_by_threads(bytes, page_size, request.threads)?;
            let elapsed = match &mut rival {
                Rival::Here(rival) => {
                    let (elapsed, placed) = init(&mut **rival, bytes, page_size, case.fill.byte())
                        .with_context(|| name.clone())?;
                    places = placed;
                    Some(elapsed)
                }
                Rival::Program(program) => program.init(case).with_context(|| name.clone())?,
            };
            times.extend(elapsed.map(|elapsed| elapsed.as_secs_f64() * 1e3));
        }
        if let Some(times) = Stats::of(times) {
            samples.push(Sample { places, ..Sample::new(name, "ms", times.median) });
        }
    }
    Ok(samples)
}

/// How often a case is measured in one round; the shorter it is, the more often.
fn passes(case: Case, rival: &Rival) -> usize {
    match (rival, case.bytes >> 20) {
        (Rival::Program(_), _) | (_, 512..) => 1,
        (_, 32..512) => 3,
        _ => 25,
    }
}

/// Initialises a fresh region, and makes sure that every page is there and every byte right.
fn init(
    rival: &mut dyn Here,
    bytes: usize,
    page_size: PageSize,
    value: u8,
) -> anyhow::Result<(std::time::Duration, Option<Places>)> {
    let mut region = Region::builder(bytes).page_size(page_size).build()?;
    let start = Instant::now();
    rival.init(&mut region, value)?;
    let elapsed = start.elapsed();
    // Before any byte is read, which would place a page that was left out.
    let places = match region.residency(0..bytes) {
        Ok(residency) => Some(measure::places(&residency, None)?),
        Err(error) if error.is_refused() => None,
        Err(error) => return Err(error.into()),
    };
    ensure!(is_everywhere(&region, value), "not every byte is {value}");
    Ok((elapsed, places))
}

fn is_everywhere(region: &Region, value: u8) -> bool {
    let word = u64::from_ne_bytes([value; 8]);
    // Without an early end, so that the compiler can compare many at once.
    let same = |words: &[u64]| words.iter().fold(0, |acc, &other| acc | (other ^ word)) == 0;
    region.as_slice_of::<u64>().chunks(8192).all(same)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::page_init::{Fill, MACHINE, Pages, catalogue};
    use crate::suite::{Effort, Group};

    /// Places and contents are checked inside, for each rival of this build.
    #[test]
    fn every_rival_initialises_every_page_and_byte() {
        let two = NonZeroUsize::new(2).expect("two is not zero");
        let all = std::thread::available_parallelism().map_or(NonZeroUsize::MIN, |n| n.min(two));
        let cases = Fill::ALL.map(|fill| Case { pages: Pages::Base, bytes: 5 << 20, fill });
        for known in catalogue() {
            if known.needs.is_some() || known.name == MACHINE {
                continue;
            }
            let request = Request {
                group: Group::PageInit,
                cases: cases.map(|case| case.to_string()).to_vec(),
                runtime: known.name.clone(),
                threads: all,
                effort: Effort::Brief,
            };
            let samples = request.measure().unwrap_or_else(|e| panic!("{}: {e:#}", known.name));
            let sound = |sample: &Sample| sample.value.is_finite() && sample.value >= 0.0;
            assert!(samples.iter().all(sound), "{known:?}: {samples:?}");
            let here = matches!(rival::start(&known.name, all), Ok(Rival::Here(_)));
            assert!(!here || samples.len() == cases.len(), "{known:?}: {samples:?}");
        }
    }

    #[test]
    fn a_rival_that_leaves_out_a_page_or_a_byte_is_found_out() {
        struct Half;
        impl Here for Half {
            fn init(&mut self, region: &mut Region, value: u8) -> anyhow::Result<()> {
                let half = region.len() / 2;
                region.as_mut_slice()[..half].fill(value);
                Ok(())
            }
        }
        for value in [0, 1] {
            // Where the kernel does not tell places, zeros that nobody wrote are zeros all the same.
            let told = Region::builder(4096).build().is_ok_and(|r| r.residency(0..4096).is_ok());
            let found = init(&mut Half, 1 << 20, PageSize::Base, value).is_err();
            assert!(found || (value == 0 && !told), "{value}");
        }
    }
}
