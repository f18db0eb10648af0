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
    /// How it must come out.
    pub bound: Bound,
}

/// How a case must come out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Ours over theirs, or the value in the case's own unit, is this at the most.
    AtMost(f64),
    /// Theirs over ours, so many times as fast, is this at the least.
    Times(f64),
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
        Self { case: case.to_owned(), against, bound: Bound::AtMost(limit) }
    }

    fn same(case: &str, runtime: &'static str, limit: f64) -> Self {
        Self::new(case, Against::Rival { runtime, case: case.to_owned() }, limit)
    }

    /// Returns the targets of a suite whose cases are always the same.
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
            // They depend on what was asked for: see `targets` of `page_init::Plan` and `operations::Plan`.
            Suite::PageInit | Suite::Memory => Vec::new(),
        }
    }

    /// Judges the target by what was measured with the most threads of each runtime.
    pub fn judge(&self, outcome: &Outcome) -> Verdict {
        let value = outcome.find_most(&self.case, OURS).and_then(|ours| {
            let theirs = match &self.against {
                Against::Rival { runtime, case } => outcome.find_most(case, runtime)?,
                Against::Best => best(ours, outcome)?,
                Against::Limit => return ours.stats().map(|stats| stats.median),
            };
            match self.bound {
                Bound::AtMost(_) => ours.ratio_to(theirs),
                Bound::Times(_) => theirs.ratio_to(ours),
            }
        });
        match (value, self.bound) {
            (Some(value), Bound::AtMost(limit)) if value <= limit => Verdict::Met(value),
            (Some(value), Bound::Times(limit)) if value >= limit => Verdict::Met(value),
            (Some(value), _) => Verdict::NotMet(value),
            (None, _) => Verdict::NotMeasured,
        }
    }

    /// Returns the name of the rival that ours is held against, once there are measurements.
    #[must_use]
    pub fn rival<'a>(&'a self, outcome: &'a Outcome) -> Option<&'a str> {
        match &self.against {
            Against::Rival { runtime, .. } => Some(runtime),
            Against::Best => {
                let ours = outcome.find_most(&self.case, OURS)?;
                Some(&best(ours, outcome)?.runtime)
            }
            Against::Limit => None,
        }
    }
}

/// The name of our own rows.
pub const OURS: &str = "firsttouch";

/// The rival that leaves us least ahead, or most behind, with the most threads of each.
///
/// The best of each single round would be luck's as much as any rival's.
fn best<'a>(ours: &Measured, outcome: &'a Outcome) -> Option<&'a Measured> {
    let rivals = outcome
        .measured
        .iter()
        .filter(|rival| rival.case == ours.case && rival.runtime != OURS && outcome.is_most(rival));
    let ratios = rivals.filter_map(|rival| Some((rival, ours.ratio_to(rival)?)));
    ratios.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(rival, _)| rival)
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
