//! One measurement: one runtime, one group of cases, in a process of its own.
//!
//! A runtime whose threads spin while they wait takes its CPUs from every
//! other; so no process ever starts two. The program `firsttouch-measure` is
//! told a [`Request`] and answers with [`Sample`]s, both as JSON.

mod fork_join;
mod idle;
mod latency;
mod stream;
mod tally;
mod tasks;
mod wake;

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::operations;
use crate::page_init::{self, Places};
use crate::runtime;
use crate::suite::{Effort, Group};

pub use latency::{Latency, clock_ns};
pub use wake::FUTEX;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The group of cases.
    pub group: Group,
    /// Those of its cases that are wanted.
    pub cases: Vec<String>,
    /// The runtime, by its name in the catalogue; [`FUTEX`] for the group `wake`.
    pub runtime: String,
    /// The threads that take part.
    pub threads: NonZeroUsize,
    /// How much to do.
    pub effort: Effort,
}

/// What one case took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The case.
    pub case: String,
    /// The unit of the value, such as `ns`.
    pub unit: String,
    /// What it took.
    pub value: f64,
    /// How single calls were spread, in the same unit; `None` where there is one call only.
    pub latency: Option<Latency>,
    /// Where the pages ended up; `None` where there are none, or the kernel does not tell.
    pub places: Option<Places>,
}

impl Sample {
    /// Makes a sample of one call, about no pages.
    pub(crate) fn new(case: &str, unit: &str, value: f64) -> Self {
        let (case, unit) = (case.to_owned(), unit.to_owned());
        Self { case, unit, value, latency: None, places: None }
    }
}

impl Request {
    /// Measures; a case that the runtime has no counterpart for is left out.
    ///
    /// # Errors
    ///
    /// Where the runtime does not start, or an answer is wrong.
    pub fn measure(&self) -> anyhow::Result<Vec<Sample>> {
        match self.group {
            Group::Wake => return wake::measure(self),
            Group::PageInit => return page_init::beside::measure(self),
            Group::Limit => return page_init::limit::measure(self),
            Group::Memory => return operations::measure(self),
            _ => {}
        }
        let mut runtime = runtime::start(&self.runtime, self.threads)?;
        match self.group {
            Group::Broadcast | Group::ForEach | Group::Enter => {
                fork_join::measure(self, &mut *runtime)
            }
            Group::Idle => idle::measure(self, &mut *runtime),
            Group::Join | Group::Tree | Group::Spawn => tasks::measure(self, &mut *runtime),
            Group::Stream => stream::measure(self, &mut *runtime),
            Group::Wake | Group::PageInit | Group::Limit | Group::Memory => {
                unreachable!("it was measured above, without a runtime")
            }
        }
    }

    /// Whether the other differs in nothing but its runtime and its effort.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        (self.group, self.threads, &self.cases) == (other.group, other.threads, &other.cases)
    }

    fn wants(&self, case: &str) -> bool {
        self.cases.iter().any(|wanted| wanted == case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Suite;

    /// Every case of every group, with every runtime of this build: answers are checked inside.
    #[test]
    fn every_runtime_measures_what_it_can() {
        let two = NonZeroUsize::new(2).expect("two is not zero");
        let all = std::thread::available_parallelism().map_or(NonZeroUsize::MIN, |n| n.min(two));
        let names = || {
            let known = runtime::catalogue().into_iter().filter(|known| known.needs.is_none());
            known.map(|known| known.name)
        };
        let groups = [Suite::ForkJoin, Suite::Tasks].map(Suite::groups).concat();
        // Watching an idle process takes its time, and must not be disturbed by other tests.
        for group in groups.into_iter().filter(|&group| group != Group::Idle) {
            let cases = group.cases(Effort::Brief);
            for runtime in names() {
                let request = Request {
                    group,
                    cases: cases.clone(),
                    runtime: runtime.clone(),
                    threads: all,
                    effort: Effort::Brief,
                };
                let samples = request.measure().expect("answers are right");
                let known = samples.iter().all(|sample| cases.contains(&sample.case));
                assert!(known, "{runtime}: {samples:?}");
                let sound = |sample: &Sample| sample.value.is_finite() && sample.value >= 0.0;
                assert!(samples.iter().all(sound), "{runtime}: {samples:?}");
                if runtime == "firsttouch" {
                    assert_eq!(samples.len(), cases.len(), "ours has every case: {samples:?}");
                }
            }
        }
    }

    #[test]
    fn only_the_cases_that_are_wanted_are_measured() {
        let request = Request {
            group: Group::ForEach,
            cases: vec!["for-each/hot".to_owned()],
            runtime: "serial".to_owned(),
            threads: NonZeroUsize::MIN,
            effort: Effort::Brief,
        };
        let samples = request.measure().expect("a loop cannot fail");
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].case, "for-each/hot");
    }

    #[test]
    fn requests_and_samples_survive_the_way_to_another_process() {
        let request = Request {
            group: Group::ForEach,
            cases: vec!["for-each/hot".to_owned()],
            runtime: "rayon".to_owned(),
            threads: NonZeroUsize::MIN,
            effort: Effort::Full,
        };
        let text = serde_json::to_string(&request).expect("it is plain data");
        assert_eq!(serde_json::from_str::<Request>(&text).expect("it was just written"), request);
    }
}
