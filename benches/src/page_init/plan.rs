//! What is compared with rivals in one round, and what firsttouch is to reach.

use std::num::NonZeroUsize;

use super::limit::{clear_case, write_case};
use super::{Case, Fill, MACHINE, Pages, SERIAL, case::SMALL};
use crate::measure::Request;
use crate::suite::{Effort, Group};
use crate::target::{Against, Bound, OURS, Target};

/// What to compare with rivals.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The kinds of page with their sizes in bytes, in the order they are measured.
    pub sizes: Vec<(Pages, u64)>,
    /// What is written.
    pub fills: Vec<Fill>,
    /// The ways to initialise, by their names in the catalogue.
    pub runtimes: Vec<String>,
    /// The numbers of threads, ascending; fewer than the last for one size only.
    pub threads: Vec<NonZeroUsize>,
    /// How much is done for each measurement.
    pub effort: Effort,
}

impl Plan {
    /// Returns all cases.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        let fills = |&(pages, bytes): &(Pages, u64)| {
            self.fills.iter().map(move |&fill| Case { pages, bytes, fill })
        };
        self.sizes.iter().flat_map(fills).collect()
    }

    /// Returns the cases that are also measured with fewer threads than all: zeros, in the size
    /// nearest to 1 GiB of each kind of page.
    #[must_use]
    pub fn scaled(&self) -> Vec<Case> {
        let mut scaled: Vec<Case> = Vec::new();
        for case in self.cases().into_iter().filter(|case| case.fill == Fill::Zero) {
            match scaled.iter_mut().find(|found| found.pages == case.pages) {
                Some(found) if case.bytes.abs_diff(1 << 30) < found.bytes.abs_diff(1 << 30) => {
                    *found = case;
                }
                Some(_) => {}
                None => scaled.push(case),
            }
        }
        scaled
    }

    /// Returns the sizes that the machine's own limits are measured for.
    fn limited(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> = self.sizes.iter().map(|&(_, bytes)| bytes).collect();
        sizes.retain(|&bytes| bytes > SMALL);
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Returns the requests of one round; those that follow each other differ in their runtime.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let Some(&most) = self.threads.last() else { return Vec::new() };
        let request = |group, case: String, runtime: &str, threads| Request {
            group,
            cases: vec![case],
            runtime: runtime.to_owned(),
            threads,
            effort: self.effort,
        };
        let mut requests = Vec::new();
        if self.runtimes.iter().any(|name| name == MACHINE) {
            for bytes in self.limited() {
                for case in [clear_case(bytes), write_case(bytes)] {
                    requests.push(request(Group::Limit, case, MACHINE, most));
                }
            }
        }
        let scaled = self.scaled();
        for case in self.cases() {
            // One thread is one thread, however many there could be; and first of all, so that the
            // others follow each other.
            if self.runtimes.iter().any(|name| name == SERIAL) {
                let one = NonZeroUsize::MIN;
                requests.push(request(Group::PageInit, case.to_string(), SERIAL, one));
            }
            for &threads in &self.threads {
                if threads != most && !scaled.contains(&case) {
                    continue;
                }
                let others =
                    self.runtimes.iter().filter(|name| *name != MACHINE && *name != SERIAL);
                let one = |name: &String| request(Group::PageInit, case.to_string(), name, threads);
                requests.extend(others.map(one));
            }
        }
        requests
    }

    /// Returns what firsttouch is to reach in these cases.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for case in self.cases() {
            let Case { pages, bytes, fill } = case;
            let name = case.to_string();
            let mut target = |against, bound| {
                targets.push(Target { case: name.clone(), against, bound });
            };
            let against = |runtime, case: String| Against::Rival { runtime, case };
            let serial = |pages| against(SERIAL, Case { pages, bytes, fill }.to_string());
            if bytes <= SMALL {
                target(serial(pages), Bound::AtMost(1.0));
                continue;
            }
            target(Against::Best, Bound::AtMost(1.03));
            match (pages, fill) {
                (Pages::Base, Fill::Zero) => target(serial(Pages::Base), Bound::Times(3.0)),
                (Pages::Thp, Fill::Zero) => target(serial(Pages::Base), Bound::Times(5.5)),
                _ => {}
            }
            if pages != Pages::Base && fill == Fill::Zero {
                target(against(MACHINE, clear_case(bytes)), Bound::Times(0.95));
            }
        }
        targets
    }

    /// Returns whether ours is among the runtimes, without which nothing can be judged.
    #[must_use]
    pub fn has_ours(&self) -> bool {
        self.runtimes.iter().any(|name| name == OURS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let count = |n| NonZeroUsize::new(n).expect("a test asks for something");
        Plan {
            sizes: vec![
                (Pages::Base, SMALL),
                (Pages::Base, 64 << 20),
                (Pages::Base, 1 << 30),
                (Pages::Thp, 64 << 20),
                (Pages::Thp, 1 << 30),
            ],
            fills: Fill::ALL.to_vec(),
            runtimes: [OURS, SERIAL, "gomp-fill", MACHINE].map(str::to_owned).to_vec(),
            threads: vec![count(1), count(4)],
            effort: Effort::Brief,
        }
    }

    #[test]
    fn rivals_of_a_case_follow_each_other_and_the_machine_comes_first() {
        let requests = plan().requests();
        let first: Vec<_> =
            requests.iter().take(4).map(|request| request.cases[0].as_str()).collect();
        let limits =
            ["limit/clear/64MiB", "limit/write/64MiB", "limit/clear/1GiB", "limit/write/1GiB"];
        assert_eq!(first, limits);
        let of = |case: &str| {
            let alike = requests.iter().filter(|request| request.cases[0] == case);
            alike.map(|r| (r.runtime.as_str(), r.threads.get())).collect::<Vec<_>>()
        };
        assert_eq!(of("base/64MiB/zero"), [(SERIAL, 1), (OURS, 4), ("gomp-fill", 4)]);
        let scaled = [(SERIAL, 1), (OURS, 1), ("gomp-fill", 1), (OURS, 4), ("gomp-fill", 4)];
        assert_eq!(of("base/1GiB/zero"), scaled);
    }

    #[test]
    fn every_target_names_cases_that_are_measured() {
        let plan = plan();
        let requests = plan.requests();
        let measured = |case: &str, runtime: &str| {
            requests.iter().any(|r| r.runtime == runtime && r.cases[0] == case)
        };
        let targets = plan.targets();
        assert!(targets.len() > plan.cases().len(), "{targets:?}");
        for target in targets {
            assert!(measured(&target.case, OURS), "{target:?}");
            if let Against::Rival { runtime, case } = &target.against {
                assert!(measured(case, runtime), "{target:?}");
            }
        }
    }

    #[test]
    fn one_size_of_each_kind_is_scaled_the_nearest_to_a_gib() {
        let scaled: Vec<_> = plan().scaled().iter().map(ToString::to_string).collect();
        assert_eq!(scaled, ["base/1GiB/zero", "thp/1GiB/zero"]);
        let small = Plan { sizes: vec![(Pages::Base, SMALL)], ..plan() };
        assert_eq!(small.scaled().len(), 1);
    }
}
