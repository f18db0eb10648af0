//! What one round of a suite measures, where the suite's cases are always the same.

use std::num::NonZeroUsize;

use crate::measure::{FUTEX, Request};
use crate::suite::{Effort, Group, Suite};

/// Which runtimes, threads and cases of a suite are wanted.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The suite.
    pub suite: Suite,
    /// The runtimes, by their names in the catalogue.
    pub runtimes: Vec<String>,
    /// The numbers of threads, ascending; most cases are measured with the last only.
    pub threads: Vec<NonZeroUsize>,
    /// Only cases that contain one of these words; all, where there is none.
    pub cases: Vec<String>,
    /// How much is done for each measurement.
    pub effort: Effort,
}

impl Selection {
    /// Returns the requests of one round; those that follow each other differ in their runtime.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let mut requests = Vec::new();
        let most = self.threads.last();
        for &group in self.suite.groups() {
            for threads in &self.threads {
                let mut cases = group.cases(self.effort);
                cases.retain(|case| Some(threads) == most || group.scales(case));
                cases.retain(|case| {
                    self.cases.is_empty() || self.cases.iter().any(|word| case.contains(word))
                });
                if cases.is_empty() {
                    continue;
                }
                let request = |runtime: &str| Request {
                    group,
                    cases: cases.clone(),
                    runtime: runtime.to_owned(),
                    threads: *threads,
                    effort: self.effort,
                };
                if group == Group::Wake {
                    requests.push(request(FUTEX));
                } else {
                    requests.extend(self.runtimes.iter().map(|name| request(name)));
                }
            }
        }
        requests
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn count(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).expect("a test asks for something")
    }

    pub(crate) fn selection(suite: Suite, cases: &[&str]) -> Selection {
        Selection {
            suite,
            runtimes: ["firsttouch", "rayon"].map(str::to_owned).to_vec(),
            threads: vec![count(1), count(4)],
            cases: cases.iter().map(|&case| case.to_owned()).collect(),
            effort: Effort::Brief,
        }
    }

    #[test]
    fn runtimes_follow_each_other_case_by_case_and_the_kernel_has_its_own() {
        let requests = selection(Suite::ForkJoin, &[]).requests();
        let seen: Vec<_> = requests
            .iter()
            .map(|request| (request.group, request.threads.get(), request.runtime.as_str()))
            .collect();
        let expected = [
            (Group::Broadcast, 1, "firsttouch"),
            (Group::Broadcast, 1, "rayon"),
            (Group::Broadcast, 4, "firsttouch"),
            (Group::Broadcast, 4, "rayon"),
        ];
        assert_eq!(seen[..4], expected);
        let wake = seen.iter().filter(|(group, ..)| *group == Group::Wake);
        assert!(wake.eq(&[(Group::Wake, 4, FUTEX)]), "{seen:?}");
    }

    #[test]
    fn fewer_threads_than_all_have_the_cases_that_scale() {
        let requests = selection(Suite::ForkJoin, &[]).requests();
        let few = requests.iter().filter(|request| request.threads.get() == 1);
        let cases: Vec<_> = few.flat_map(|request| &request.cases).collect();
        let expected = ["broadcast/hot", "broadcast/hot", "for-each/hot", "for-each/hot"];
        assert_eq!(cases, expected);
    }

    #[test]
    fn words_choose_cases_and_groups_without_any_are_left_out() {
        let requests = selection(Suite::Tasks, &["fib", "tri"]).requests();
        let cases: Vec<_> = requests.iter().flat_map(|request| &request.cases).collect();
        assert!(cases.iter().all(|case| case.starts_with("fib/") || case.starts_with("triad/")));
        assert_eq!(requests.len(), 8, "two groups, two numbers of threads, two runtimes");
    }
}
