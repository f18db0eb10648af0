//! What the suite measured, and the figures drawn from it.

use std::collections::BTreeMap;
use std::fmt;

use firsttouch::{NodeId, PageSize};

use super::{NodeSample, Pages, Sample, Share};
use crate::{Row, Stats, size};

/// Who initialises the memory in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// One thread that writes zeros through a fresh mapping.
    Serial,
    /// firsttouch.
    Firsttouch {
        /// The threads on each node.
        share: Share,
        /// The threads on all nodes together.
        threads: usize,
    },
}

impl Runtime {
    /// Returns the most threads that take part, the caller included.
    #[must_use]
    pub fn threads(self) -> usize {
        match self {
            Self::Serial => 1,
            Self::Firsttouch { threads, .. } => threads,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Firsttouch { .. } => "firsttouch",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial => f.write_str("serial"),
            Self::Firsttouch { share, .. } => write!(f, "{} % of CPUs", share.percent),
        }
    }
}

/// One row: who, and every repetition.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Who initialised the memory.
    pub runtime: Runtime,
    /// The repetitions, in the order they were made.
    pub samples: Vec<Sample>,
}

impl Measured {
    pub(super) fn new(runtime: Runtime) -> Self {
        Self { runtime, samples: Vec::new() }
    }

    /// Returns the time in milliseconds; `None` before the first repetition.
    #[must_use]
    pub fn time_ms(&self) -> Option<Stats> {
        Stats::of(self.samples.iter().map(|sample| milliseconds(sample.elapsed)))
    }

    /// Returns the pages of the repetition of which the least share was local, and how many were;
    /// `None` where a repetition does not know.
    #[must_use]
    pub fn local(&self) -> Option<(u64, u64)> {
        let local = self.samples.iter().map(|sample| {
            let places = sample.places?;
            Some((places.pages, places.local?))
        });
        local.collect::<Option<Vec<(u64, u64)>>>()?.into_iter().min_by(|one, other| {
            // local / pages, compared without dividing.
            let cross = |local: u64, pages: u64| u128::from(local) * u128::from(pages);
            cross(one.1, other.0).cmp(&cross(other.1, one.0))
        })
    }

    /// Returns how many pages lie on a node, in the repetition where they were fewest; `None` where a repetition does not know.
    fn pages_on(&self, node: NodeId) -> Option<u64> {
        let parts = self.samples.iter().flat_map(|sample| &sample.nodes);
        let pages = parts.filter(|part| part.node == node).map(|part| part.pages);
        pages.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// Returns each node's time in milliseconds and its bytes; empty for the serial row.
    #[must_use]
    pub fn nodes(&self) -> Vec<(NodeId, usize, Stats)> {
        let mut nodes: BTreeMap<NodeId, Vec<&NodeSample>> = BTreeMap::new();
        for part in self.samples.iter().flat_map(|sample| &sample.nodes) {
            nodes.entry(part.node).or_default().push(part);
        }
        let summary = |(node, parts): (NodeId, Vec<&NodeSample>)| {
            let time = Stats::of(parts.iter().map(|part| milliseconds(part.elapsed)))?;
            Some((node, parts.first()?.bytes, time))
        };
        nodes.into_iter().filter_map(summary).collect()
    }
}

fn milliseconds(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The rows of one kind of page.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The kind of page.
    pub pages: Pages,
    /// The page size that was asked for.
    pub page_size: PageSize,
    /// Bytes initialised in each repetition.
    pub bytes: usize,
    /// The rows: serial first, then threads ascending.
    pub rows: Vec<Measured>,
}

impl Outcome {
    /// Returns the name of the case, such as `by-share/base/1GiB/zero`.
    #[must_use]
    pub fn case(&self) -> String {
        format!("by-share/{}/{}/zero", self.pages, size::exact(self.bytes as u64))
    }

    /// Returns the share of the serial row's time that a time saves, in percent, as the kernel
    /// series defines speedup; negative where it takes longer.
    #[must_use]
    pub fn speedup(&self, time: Stats) -> Option<f64> {
        let serial = self.rows.iter().find(|row| row.runtime == Runtime::Serial)?.time_ms()?;
        (serial.median > 0.0).then(|| (1.0 - time.median / serial.median) * 100.0)
    }

    /// Returns bytes initialised in that time, in GiB/s.
    #[must_use]
    pub fn gib_per_second(bytes: usize, time: Stats) -> Option<f64> {
        (time.median > 0.0).then(|| bytes as f64 / (1 << 30) as f64 / (time.median / 1e3))
    }

    /// Returns the share of the memory that larger pages than base pages held, in percent, in the
    /// repetition where it was least; `None` where the kernel does not tell.
    #[must_use]
    pub fn huge_share(&self) -> Option<f64> {
        let samples = self.rows.iter().flat_map(|row| &row.samples);
        let huge = samples.map(|sample| sample.places.map(|places| places.huge_bytes));
        let least = huge.collect::<Option<Vec<_>>>()?.into_iter().min()?;
        Some(least as f64 / self.bytes as f64 * 100.0)
    }

    /// Returns the rows for a record; with `per_node`, also each node's own time and how many pages
    /// lie there, in the repetition where they were fewest, as cases that end in `/node0` and so on.
    #[must_use]
    pub fn record(&self, per_node: bool) -> Vec<Row> {
        let mut record = Vec::new();
        for row in &self.rows {
            let Some(time) = row.time_ms() else { continue };
            let (name, threads) = (row.runtime.name(), row.runtime.threads());
            let make = |case, threads, time| Row::new("page-init", case, name, threads, "ms", time);
            // Both counts are of one repetition: between two, pages can differ.
            let local = row.local();
            let first = || row.samples.first().and_then(|sample| Some(sample.places?.pages));
            record.push(Row {
                pages: local.map(|(pages, _)| pages).or_else(first),
                local_pages: local.map(|(_, local)| local),
                ..make(self.case(), threads, time)
            });
            if let (true, Runtime::Firsttouch { share, .. }) = (per_node, row.runtime) {
                record.extend(row.nodes().into_iter().map(|(node, _, time)| Row {
                    pages: row.pages_on(node),
                    ..make(format!("{}/node{node}", self.case()), share.threads.get(), time)
                }));
            }
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::super::Places;
    use super::*;

    fn sample(ms: u64, local: Option<u64>, nodes: &[(u32, u64)]) -> Sample {
        let node = |&(node, ms)| NodeSample {
            node: NodeId::new(node),
            elapsed: Duration::from_millis(ms),
            bytes: 1 << 29,
            pages: Some(131_072 - ms),
        };
        let places = Places { pages: 262_144, local, huge_bytes: 0 };
        Sample {
            elapsed: Duration::from_millis(ms),
            places: Some(places),
            nodes: nodes.iter().map(node).collect(),
        }
    }

    fn outcome() -> Outcome {
        let threads = NonZeroUsize::new(2).expect("two is not zero");
        let share = Share { threads, percent: 100 };
        let runtime = Runtime::Firsttouch { share, threads: 4 };
        let rows = vec![
            Measured {
                runtime: Runtime::Serial,
                samples: vec![sample(400, None, &[]), sample(410, Some(262_144), &[])],
            },
            Measured {
                runtime,
                samples: vec![
                    sample(100, Some(262_000), &[(0, 90), (8, 100)]),
                    sample(102, Some(262_144), &[(0, 102), (8, 91)]),
                ],
            },
        ];
        Outcome { pages: Pages::Base, page_size: PageSize::Base, bytes: 1 << 30, rows }
    }

    #[test]
    fn speedup_is_the_share_of_the_serial_time_that_was_saved() {
        let outcome = outcome();
        let speedup = |row: usize| {
            outcome.rows[row].time_ms().and_then(|time| outcome.speedup(time)).expect("measured")
        };
        assert!(speedup(0).abs() < 1e-9);
        // 101 ms instead of 405 ms.
        assert!((speedup(1) - 75.061_728_395).abs() < 1e-6);
    }

    #[test]
    fn local_pages_are_those_of_the_worst_repetition_and_unknown_where_one_is() {
        let outcome = outcome();
        assert_eq!(outcome.rows[0].local(), None);
        assert_eq!(outcome.rows[1].local(), Some((262_144, 262_000)));
    }

    #[test]
    fn a_record_takes_both_counts_of_pages_from_the_same_repetition() {
        let mut outcome = outcome();
        // The kernel named fewer pages here, all of them local.
        let fewer = Places { pages: 1000, local: Some(1000), huge_bytes: 0 };
        outcome.rows[1].samples[0].places = Some(fewer);
        let record = outcome.record(false);
        assert_eq!((record[1].pages, record[1].local_pages), (Some(1000), Some(1000)));
        let most = Places { pages: 262_144, local: Some(262_143), huge_bytes: 0 };
        outcome.rows[1].samples[1].places = Some(most);
        let record = outcome.record(false);
        assert_eq!((record[1].pages, record[1].local_pages), (Some(262_144), Some(262_143)));
        assert_eq!(record[1].contradiction(), None);
    }

    #[test]
    fn where_the_kernel_does_not_tell_places_a_record_has_none() {
        let mut outcome = outcome();
        outcome.rows[1].samples.iter_mut().for_each(|sample| sample.places = None);
        assert_eq!(outcome.huge_share(), None);
        let record = outcome.record(false);
        assert_eq!((record[1].pages, record[1].local_pages), (None, None));
        assert_eq!(record[1].contradiction(), None);
    }

    #[test]
    fn a_record_holds_a_sound_row_per_runtime() {
        let record = outcome().record(false);
        let seen: Vec<_> = record
            .iter()
            .map(|row| (row.case.as_str(), row.runtime.as_str(), row.threads, row.n))
            .collect();
        let case = "by-share/base/1GiB/zero";
        assert_eq!(seen, [(case, "serial", 1, 2), (case, "firsttouch", 4, 2)]);
        assert!(record.iter().all(|row| row.contradiction().is_none()), "{record:?}");
        assert_eq!(record[1].pages, Some(262_144));
        assert_eq!(record[1].local_pages, Some(262_000));
    }

    #[test]
    fn a_record_by_node_adds_each_nodes_own_time() {
        let record = outcome().record(true);
        let cases: Vec<_> = record.iter().map(|row| row.case.as_str()).collect();
        let case = "by-share/base/1GiB/zero";
        let (first, second) = ("by-share/base/1GiB/zero/node0", "by-share/base/1GiB/zero/node8");
        assert_eq!(cases, [case, case, first, second]);
        assert_eq!((record[2].median, record[3].median), (96.0, 95.5));
        assert_eq!((record[2].threads, record[2].pages), (2, Some(131_072 - 102)));
        assert_eq!(record[3].pages, Some(131_072 - 100), "where they were fewest");
    }

    #[test]
    fn throughput_is_in_binary_gigabytes_per_second() {
        let time = Stats::of([500.0]).expect("there is a value");
        assert_eq!(Outcome::gib_per_second(1 << 30, time), Some(2.0));
    }
}
