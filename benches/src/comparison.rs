//! Runtimes side by side: rounds of processes, and what they measured.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use crate::measure::{Latency, Request, Sample};
use crate::page_init::bytes_of;
use crate::suite::{Group, Suite};
use crate::{Row, Stats};

/// What to compare.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The suite.
    pub suite: Suite,
    /// The program that measures: `firsttouch-measure`.
    pub program: PathBuf,
    /// The runtimes, with their versions.
    pub runtimes: Vec<(String, Option<String>)>,
    /// How often everything is measured.
    pub rounds: NonZeroUsize,
    /// What one round measures; those with the same cases and threads follow each other.
    pub requests: Vec<Request>,
}

impl Comparison {
    /// Returns how many measurements [`Comparison::run`] makes.
    #[must_use]
    pub fn measurements(&self) -> usize {
        self.requests.len().saturating_mul(self.rounds.get())
    }

    /// Measures everything, round by round.
    ///
    /// `progress` hears what is measured next, before each measurement. Idle
    /// processes are watched all at once: what each uses is its own.
    ///
    /// # Errors
    ///
    /// Where a measurement fails or has a wrong answer, with what it said.
    pub fn run(&self, mut progress: impl FnMut(&str)) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome { suite: self.suite, measured: Vec::new() };
        for round in 0..self.rounds.get() {
            let mut requests = self.requests.clone();
            // Who comes first changes, so that nobody always has the machine as the same rival leaves it.
            for alike in requests.chunk_by_mut(Request::is_alike) {
                let first = round % alike.len();
                alike.rotate_left(first);
            }
            for alike in requests.chunk_by(|a, b| a.group == b.group && a.group == Group::Idle) {
                let started = alike.iter().map(|request| {
                    let name = format!("{}, {}", request.group, request.runtime);
                    progress(&name);
                    Ok((request, self.start(request).context(name)?))
                });
                for (request, child) in started.collect::<anyhow::Result<Vec<_>>>()? {
                    let name = || format!("{}, {}", request.group, request.runtime);
                    for sample in answer(child).with_context(name)? {
                        outcome.add(request, &self.runtimes, sample);
                    }
                }
            }
        }
        let (rounds, measured) = (self.rounds.get(), &outcome.measured);
        let incomplete = measured.iter().find(|measured| measured.samples.len() != rounds);
        ensure!(incomplete.is_none(), "measured in some rounds only: {incomplete:?}");
        Ok(outcome)
    }

    fn start(&self, request: &Request) -> anyhow::Result<Child> {
        Command::new(&self.program)
            .arg(serde_json::to_string(request)?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))
    }
}

fn answer(child: Child) -> anyhow::Result<Vec<Sample>> {
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ({})", said.trim(), output.status);
    serde_json::from_slice(&output.stdout).context("it answered no samples")
}

/// One case with one runtime, in every round.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The group of the case.
    pub group: Group,
    /// The case.
    pub case: String,
    /// The runtime.
    pub runtime: String,
    /// Its version.
    pub version: Option<String>,
    /// The threads that took part.
    pub threads: usize,
    /// The unit of the values.
    pub unit: String,
    /// The rounds, in order.
    pub samples: Vec<Sample>,
}

impl Measured {
    /// Returns the values of all rounds; `None` before the first.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        Stats::of(self.samples.iter().map(|sample| sample.value))
    }

    /// Returns how single calls were spread, each figure the median over the rounds; `None` where
    /// no single calls were timed.
    #[must_use]
    pub fn latency(&self) -> Option<Latency> {
        let spreads = || self.samples.iter().filter_map(|sample| sample.latency);
        let median = |of: fn(Latency) -> f64| Stats::of(spreads().map(of)).map(|s| s.median);
        Some(Latency { p50: median(|l| l.p50)?, p90: median(|l| l.p90)?, p99: median(|l| l.p99)? })
    }

    /// Returns how many base pages were touched and the kernel names a node for, in the round where
    /// they were fewest; `None` where a round does not know.
    #[must_use]
    pub fn pages(&self) -> Option<u64> {
        let pages = self.samples.iter().map(|sample| sample.places.map(|places| places.pages));
        pages.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// Returns the bytes that pages larger than base pages held, in the round where they were least;
    /// `None` where a round does not know.
    #[must_use]
    pub fn huge_bytes(&self) -> Option<u64> {
        let huge = self.samples.iter().map(|sample| sample.places.map(|places| places.huge_bytes));
        huge.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// Returns the bytes that the case is about: those that it initialises or moves, or those that
    /// it reads and writes, as STREAM counts them; `None` where it is not about bytes.
    #[must_use]
    pub fn bytes_moved(&self) -> Option<u64> {
        let bytes = bytes_of(&self.case)?;
        let arrays = match self.case.split('/').next()? {
            "dot" => 2,
            "triad" => 3,
            _ => 1,
        };
        Some(arrays * bytes)
    }

    /// Returns these bytes by the median time, in GiB/s; `None` where there are none, or it took no
    /// time.
    #[must_use]
    pub fn gib_per_second(&self) -> Option<f64> {
        let ms = self.stats().filter(|_| self.unit == "ms")?.median;
        let bytes = self.bytes_moved()?;
        (ms > 0.0).then(|| bytes as f64 / (1_u64 << 30) as f64 / (ms / 1e3))
    }

    /// Returns these values over those of another, the median over the rounds; `None` where the
    /// other's are 0, or rounds are missing.
    #[must_use]
    pub fn ratio_to(&self, other: &Self) -> Option<f64> {
        if self.samples.len() != other.samples.len() {
            return None;
        }
        let pairs = self.samples.iter().zip(&other.samples);
        let ratios: Option<Vec<_>> = pairs
            .map(|(one, other)| (other.value > 0.0).then(|| one.value / other.value))
            .collect();
        Stats::of(ratios?).map(|ratios| ratios.median)
    }
}

/// What a comparison measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The suite.
    pub suite: Suite,
    /// Every case with every runtime that has it, in the order of the first round.
    pub measured: Vec<Measured>,
}

impl Outcome {
    fn add(&mut self, request: &Request, runtimes: &[(String, Option<String>)], sample: Sample) {
        let threads = request.threads.get();
        let found = self.measured.iter_mut().find(|measured| {
            (&measured.case, &measured.runtime, measured.threads)
                == (&sample.case, &request.runtime, threads)
        });
        if let Some(found) = found {
            found.samples.push(sample);
            return;
        }
        let version = runtimes.iter().find(|(name, _)| *name == request.runtime);
        self.measured.push(Measured {
            group: request.group,
            case: sample.case.clone(),
            runtime: request.runtime.clone(),
            version: version.and_then(|(_, version)| version.clone()),
            threads,
            unit: sample.unit.clone(),
            samples: vec![sample],
        });
    }

    /// Returns what a runtime measured for a case with so many threads.
    #[must_use]
    pub fn find(&self, case: &str, runtime: &str, threads: usize) -> Option<&Measured> {
        self.measured.iter().find(|measured| {
            (measured.case.as_str(), measured.runtime.as_str(), measured.threads)
                == (case, runtime, threads)
        })
    }

    /// Returns what a runtime measured for a case, with the most threads that it has it for.
    #[must_use]
    pub fn find_most(&self, case: &str, runtime: &str) -> Option<&Measured> {
        let found = self.measured.iter().filter(|measured| {
            (measured.case.as_str(), measured.runtime.as_str()) == (case, runtime)
        });
        found.max_by_key(|measured| measured.threads)
    }

    /// Returns whether its runtime has the case with no more threads than these.
    #[must_use]
    pub fn is_most(&self, measured: &Measured) -> bool {
        let most = self.find_most(&measured.case, &measured.runtime);
        most.is_some_and(|most| most.threads == measured.threads)
    }

    /// Returns the most threads that were measured; 0 where nothing was.
    #[must_use]
    pub fn most_threads(&self) -> usize {
        self.measured.iter().map(|measured| measured.threads).max().unwrap_or(0)
    }

    /// Returns the rows for a record.
    #[must_use]
    pub fn record(&self) -> Vec<Row> {
        let row = |measured: &Measured| {
            let Measured { case, runtime, threads, unit, .. } = measured;
            let suite = self.suite.to_string();
            let row = Row::new(&suite, case.clone(), runtime, *threads, unit, measured.stats()?);
            let latency = measured.latency();
            Some(Row {
                pages: measured.pages(),
                version: measured.version.clone(),
                p50: latency.map(|latency| latency.p50),
                p90: latency.map(|latency| latency.p90),
                p99: latency.map(|latency| latency.p99),
                ..row
            })
        };
        self.measured.iter().filter_map(row).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::requests::tests::selection;

    fn comparison() -> Comparison {
        Comparison {
            suite: Suite::Tasks,
            program: "/no/such/program".into(),
            runtimes: vec![("firsttouch".to_owned(), None)],
            rounds: NonZeroUsize::MIN,
            requests: selection(Suite::Tasks, &["fib"]).requests(),
        }
    }

    /// What a runtime measured, with a value for each round.
    pub(crate) fn measured(case: &str, runtime: &str, values: &[f64]) -> Measured {
        let sample = |&value: &f64| Sample {
            case: case.to_owned(),
            unit: "ns".to_owned(),
            value,
            latency: Some(Latency { p50: value, p90: 2.0 * value, p99: 3.0 * value }),
            places: None,
        };
        Measured {
            group: Group::Broadcast,
            case: case.to_owned(),
            runtime: runtime.to_owned(),
            version: Some("1.0".to_owned()),
            threads: 4,
            unit: "ns".to_owned(),
            samples: values.iter().map(sample).collect(),
        }
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = comparison().run(|_| ()).expect_err("it is missing");
        assert!(format!("{error:#}").contains("cannot run /no/such/program"), "{error:#}");
    }

    #[test]
    fn what_a_measurement_said_before_it_failed_is_told() {
        let mut comparison = comparison();
        comparison.program = "/bin/sh".into();
        let error = comparison.run(|_| ()).expect_err("a shell cannot run a request");
        assert!(format!("{error:#}").starts_with("join, firsttouch: "), "{error:#}");
    }

    #[test]
    fn bytes_are_counted_as_stream_counts_them() {
        let bytes = |case| measured(case, "rayon", &[1.0]).bytes_moved();
        assert_eq!(bytes("sum/128MiB"), Some(128 << 20));
        assert_eq!(bytes("triad/1MiB"), Some(3 << 20));
        assert_eq!(bytes("base/1GiB/zero"), Some(1 << 30));
        assert_eq!(bytes("release/thp/64MiB"), Some(64 << 20));
        assert_eq!(bytes("fib/32"), None);
        assert_eq!(bytes("spawn/300x300"), None);
        assert_eq!(bytes("idle/2s"), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let ours = measured("case", "firsttouch", &[1.0, 20.0, 3.0]);
        let theirs = measured("case", "rayon", &[2.0, 10.0, 12.0]);
        assert_eq!(ours.ratio_to(&theirs), Some(0.5));
        let silent = measured("case", "chili", &[0.0, 1.0, 1.0]);
        assert_eq!(ours.ratio_to(&silent), None);
        assert_eq!(ours.ratio_to(&measured("case", "chili", &[1.0])), None);
    }

    #[test]
    fn records_have_sound_rows_with_versions_and_percentiles() {
        let measured = vec![measured("broadcast/hot", "rayon", &[2.0, 1.0, 4.0])];
        let record = Outcome { suite: Suite::ForkJoin, measured }.record();
        assert_eq!(record.len(), 1);
        let row = &record[0];
        assert_eq!(row.contradiction(), None);
        assert_eq!((row.suite.as_str(), row.n, row.median), ("fork-join", 3, 2.0));
        assert_eq!((row.p50, row.p90, row.p99), (Some(2.0), Some(4.0), Some(6.0)));
        assert_eq!(row.version.as_deref(), Some("1.0"));
    }
}
