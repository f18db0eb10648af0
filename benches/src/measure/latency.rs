//! How long single calls take.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Sample;
use crate::suite::Effort;

/// How the times of single calls are spread.
///
/// Each of them includes one reading of the clock: see [`clock_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Half of the calls took no longer.
    pub p50: f64,
    /// Nine in ten calls took no longer.
    pub p90: f64,
    /// 99 in a hundred calls took no longer.
    pub p99: f64,
}

impl Latency {
    /// Summarises times; `None` where there are none.
    pub(super) fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        let last = times.len().checked_sub(1)?;
        // The nearest rank: the least time that so many percent do not exceed.
        let percentile = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100);
            times[rank.saturating_sub(1).min(last)]
        };
        Some(Self { p50: percentile(50), p90: percentile(90), p99: percentile(99) })
    }
}

/// What the caller does between two cold calls: it works, for so long.
const PAUSE: Duration = Duration::from_millis(1);

/// Measures calls back to back.
///
/// The value is the median over batches of the time per call, with the clock
/// read once per batch; the spread is of calls that are timed one by one.
pub(super) fn hot(case: &str, effort: Effort, mut call: impl FnMut()) -> Sample {
    let budget = |full: u64| Duration::from_millis(effort.choose(full, 1));
    repeat_for(budget(5), &mut call);
    let batch = Duration::from_micros(100);
    let one = time(&mut call).max(Duration::from_nanos(1));
    let calls = (batch.as_nanos() / one.as_nanos()).clamp(1, 10_000) as u32;
    let mut batches = Vec::new();
    repeat_for(budget(40), || {
        let took = time(|| (0..calls).for_each(|_| call()));
        batches.push(nanoseconds(took) / f64::from(calls));
    });
    let mut singles = Vec::new();
    repeat_for(budget(20), || singles.push(nanoseconds(time(&mut call))));
    let value = Latency::of(batches).map_or(0.0, |batches| batches.p50);
    Sample { latency: Latency::of(singles), ..Sample::new(case, "ns", value) }
}

/// Measures single calls, each a millisecond after the last ended; the caller works meanwhile.
pub(super) fn cold(case: &str, effort: Effort, mut call: impl FnMut()) -> Sample {
    call();
    let times = (0..effort.choose(100, 3)).map(|_| {
        work_for(PAUSE);
        nanoseconds(time(&mut call))
    });
    of_singles(case, times.collect())
}

/// Returns a sample of calls that were timed one by one.
pub(super) fn of_singles(case: &str, times: Vec<f64>) -> Sample {
    let latency = Latency::of(times);
    let value = latency.map_or(0.0, |latency| latency.p50);
    Sample { latency, ..Sample::new(case, "ns", value) }
}

/// Returns what one reading of the clock takes, in nanoseconds.
#[must_use]
pub fn clock_ns() -> f64 {
    let readings = 10_000;
    let took = time(|| {
        for _ in 0..readings {
            std::hint::black_box(Instant::now());
        }
    });
    nanoseconds(took) / f64::from(readings)
}

/// Keeps the calling thread busy, as the serial part of a program does.
pub(super) fn work_for(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Calls `f` until the time is over, once at least.
fn repeat_for(time: Duration, mut f: impl FnMut()) {
    let start = Instant::now();
    loop {
        f();
        if start.elapsed() >= time {
            return;
        }
    }
}

pub(super) fn time(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

pub(super) fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_least_times_that_so_many_do_not_exceed() {
        let times = (1..=200).rev().map(f64::from).collect();
        let expected = Latency { p50: 100.0, p90: 180.0, p99: 198.0 };
        assert_eq!(Latency::of(times), Some(expected));
        let one = Latency { p50: 7.0, p90: 7.0, p99: 7.0 };
        assert_eq!(Latency::of(vec![7.0]), Some(one));
        assert_eq!(Latency::of(Vec::new()), None);
    }

    #[test]
    fn cold_calls_are_counted_and_timed_one_by_one() {
        let mut calls = 0;
        let sample = cold("case", Effort::Brief, || calls += 1);
        assert_eq!(calls, 4, "one to begin with, then three");
        assert_eq!(Some(sample.value), sample.latency.map(|latency| latency.p50));
    }
}
