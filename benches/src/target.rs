//! What firsttouch is to reach beside its rivals, and whether it did.

use crate::comparison::{Measured, Outcome};
use crate::measure::FUTEX;
use crate::suite::{Effort, Group, IDLE_SECONDS, Suite};

/// A figure that firsttouch is to reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The case of ours that is judged.
    pub case: String,
    /// What it is held against.
    pub against: Against,
    /// The most it may be: ours over theirs, or in the case's own unit.
    pub limit: f64,
}

/// What a case is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// The same case, or another, of a rival or the kernel.
    Rival {
        /// Whose.
        runtime: &'static str,
        /// Which case.
        case: String,
    },
    /// The same case of the rival that is best at it.
    Best,
    /// Nothing but the limit.
    Limit,
}

/// How a target came out.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub enum Verdict {
    /// The value is within the limit.
    Met(f64),
    /// The value is beyond the limit.
    NotMet(f64),
    /// Ours or theirs was not measured.
    NotMeasured,
}

impl Target {
    fn new(case: &str, against: Against, limit: f64) -> Self {
        Self { case: case.to_owned(), against, limit }
    }

    fn same(case: &str, runtime: &'static str, limit: f64) -> Self {
        Self::new(case, Against::Rival { runtime, case: case.to_owned() }, limit)
    }

    /// Returns the targets of a suite.
    #[must_use]
    pub fn of(suite: Suite, effort: Effort) -> Vec<Self> {
        match suite {
            Suite::ForkJoin => {
                let floor = Against::Rival { runtime: FUTEX, case: "wake/round-trip".to_owned() };
                vec![
                    Self::same("broadcast/hot", "fork_union", 1.0),
                    Self::same("for-each/hot", "onetbb", 1.0),
                    Self::same("for-each/cold", "onetbb", 0.5),
                    Self::new("broadcast/cold", floor, 1.0),
                    Self::same("enter/hot", "rayon", 0.1),
                    // Less than this is 0.00 s.
                    Self::new(&format!("idle/{IDLE_SECONDS}s"), Against::Limit, 0.005),
                ]
            }
            Suite::Tasks => {
                let mut targets = Vec::new();
                for case in Group::Join.cases(effort) {
                    targets.push(Self::same(&case, "chili", 1.0));
                    targets.push(Self::same(&case, "rayon", 0.3));
                }
                for case in Group::Tree.cases(effort) {
                    targets.push(Self::same(&case, "rayon", 0.9));
                }
                for case in Group::Stream.cases(effort) {
                    targets.push(Self::new(&case, Against::Best, 1.03));
                }
                targets
            }
        }
    }

    /// Judges the target by what was measured with the most threads.
    pub fn judge(&self, outcome: &Outcome) -> Verdict {
        let threads = outcome.most_threads();
        let value = outcome.find(&self.case, OURS, threads).and_then(|ours| match &self.against {
            Against::Rival { runtime, case } => {
                ours.ratio_to(outcome.find(case, runtime, threads)?)
            }
            Against::Best => ratio_to_best(ours, outcome),
            Against::Limit => ours.stats().map(|stats| stats.median),
        });
        match value {
            Some(value) if value <= self.limit => Verdict::Met(value),
            Some(value) => Verdict::NotMet(value),
            None => Verdict::NotMeasured,
        }
    }
}

/// The name of our own rows.
pub const OURS: &str = "firsttouch";

/// The ratio to the rival that leaves us least ahead, or most behind.
///
/// The best of each single round would be luck's as much as any rival's.
fn ratio_to_best(ours: &Measured, outcome: &Outcome) -> Option<f64> {
    let rivals = outcome.measured.iter().filter(|rival| {
        rival.runtime != OURS && (&rival.case, rival.threads) == (&ours.case, ours.threads)
    });
    rivals.filter_map(|rival| ours.ratio_to(rival)).max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::tests::measured;

    fn outcome(measured: Vec<Measured>) -> Outcome {
        Outcome { suite: Suite::ForkJoin, measured }
    }

    #[test]
    fn every_target_names_cases_that_are_measured() {
        for suite in [Suite::ForkJoin, Suite::Tasks] {
            for effort in [Effort::Full, Effort::Brief] {
                let cases: Vec<_> =
                    suite.groups().iter().flat_map(|group| group.cases(effort)).collect();
                for target in Target::of(suite, effort) {
                    assert!(cases.contains(&target.case), "{target:?}");
                    if let Against::Rival { case, .. } = &target.against {
                        assert!(cases.contains(case), "{target:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_ratio_is_judged_by_its_limit() {
        let target = Target::same("case", "rayon", 0.5);
        let judge = |ours: &[f64], theirs: &[f64]| {
            target.judge(&outcome(vec![
                measured("case", OURS, ours),
                measured("case", "rayon", theirs),
            ]))
        };
        assert_eq!(judge(&[1.0, 1.0], &[2.0, 2.0]), Verdict::Met(0.5));
        assert_eq!(judge(&[3.0, 3.0], &[2.0, 2.0]), Verdict::NotMet(1.5));
        let alone = outcome(vec![measured("case", OURS, &[1.0])]);
        assert_eq!(target.judge(&alone), Verdict::NotMeasured);
    }

    #[test]
    fn the_best_rival_is_the_one_with_the_worst_ratio_for_us() {
        let target = Target::new("case", Against::Best, 1.03);
        let judge = |rivals: [[f64; 3]; 2]| {
            target.judge(&outcome(vec![
                measured("case", OURS, &[4.0, 4.0, 4.0]),
                measured("case", "rayon", &rivals[0]),
                measured("case", "chili", &rivals[1]),
            ]))
        };
        // One lucky round makes no rival the best.
        assert_eq!(judge([[4.0, 1.0, 4.0], [8.0, 8.0, 1.0]]), Verdict::Met(1.0));
        assert_eq!(judge([[2.0, 2.0, 2.0], [1.0, 1.0, 4.0]]), Verdict::NotMet(4.0));
    }

    #[test]
    fn a_limit_needs_no_rival() {
        let target = Target::new("case", Against::Limit, 0.005);
        let judge = |value| target.judge(&outcome(vec![measured("case", OURS, &[value])]));
        assert_eq!(judge(0.0), Verdict::Met(0.0));
        assert_eq!(judge(2.0), Verdict::NotMet(2.0));
    }
}
