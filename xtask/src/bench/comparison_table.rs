//! The tables of `fork-join` and `tasks`, for people.

use std::collections::BTreeSet;

use firsttouch_benches::comparison::{Measured, Outcome};
use firsttouch_benches::measure::Latency;
use firsttouch_benches::suite::{Effort, Group, Suite};
use firsttouch_benches::target::{Against, Bound, OURS, Target, Verdict};

use super::table::render;

/// What the cases are, as a name and a few words each.
pub(super) fn legend(
    suite: Suite,
    effort: Effort,
    bytes: impl Fn(u64) -> String,
) -> Vec<(&'static str, String)> {
    match suite {
        Suite::ForkJoin => vec![
            ("broadcast", "every thread takes part".to_owned()),
            ("for-each", "an item per thread, two at least; the caller may do all".to_owned()),
            ("hot", "back to back; the median is of batches".to_owned()),
            ("cold", "1 ms after the last call ended, in which the caller works".to_owned()),
            ("inside", "called on a thread of the runtime's own, or in its scope".to_owned()),
            ("wake", "a thread woken on another CPU, until the caller sees its answer".to_owned()),
            ("idle", "CPU time used after the last call, with nothing to do".to_owned()),
        ],
        Suite::Tasks => vec![
            ("fib, tree, spawn", "from inside, by joins or tasks that do nothing else".to_owned()),
            (
                "sum, dot, triad",
                format!(
                    "arrays of {}, first touched by the runtime",
                    bytes(effort.array_bytes() as u64)
                ),
            ),
        ],
        Suite::PageInit | Suite::Memory => Vec::new(),
    }
}

/// A table for each group of cases, with the most threads that were measured.
pub(super) fn groups(outcome: &Outcome) -> Vec<String> {
    let threads = outcome.most_threads();
    let groups: BTreeSet<Group> = outcome.measured.iter().map(|measured| measured.group).collect();
    let table = |group: Group| {
        let measured = outcome.measured.iter().filter(|row| row.group == group);
        let rows: Vec<_> = measured.filter(|row| outcome.is_most(row)).collect();
        format!("{group}, {}\n{}", count(threads), group_table(outcome, &rows))
    };
    groups.into_iter().map(table).collect()
}

fn group_table(outcome: &Outcome, rows: &[&Measured]) -> String {
    let rows = case_by_case(rows);
    // What no row of the table has, takes no column.
    let spread = rows.iter().any(|row| row.latency().is_some());
    let moved = rows.iter().any(|row| row.gib_per_second().is_some());
    let mut header = vec!["case", "runtime", "median", "stdev"];
    header.extend(if spread { &["p50", "p90", "p99"][..] } else { &[] });
    header.extend(moved.then_some("GiB/s"));
    header.push("ratio");
    let lines = rows.iter().filter_map(|row| {
        let stats = row.stats()?;
        let mut line = vec![
            row.case.clone(),
            row.runtime.clone(),
            time(stats.median, &row.unit),
            time(stats.stdev, &row.unit),
        ];
        if spread {
            let latency = row.latency().map(|Latency { p50, p90, p99 }| [p50, p90, p99]);
            line.extend(latency.map_or_else(
                || [(); 3].map(|()| nothing()),
                |times| times.map(|ns| time(ns, &row.unit)),
            ));
        }
        if moved {
            let rate = row.gib_per_second();
            line.push(rate.map_or_else(nothing, |rate| format!("{rate:.1}")));
        }
        // Next to no time over next to no time says nothing, and that is what idling should take.
        let comparable = row.runtime != OURS && row.group != Group::Idle;
        let ours = outcome.find_most(&row.case, OURS).filter(|_| comparable);
        let ratio = ours.and_then(|ours| ours.ratio_to(row));
        line.push(ratio.map_or_else(nothing, |ratio| format!("{ratio:.2}")));
        Some(line)
    });
    render(&header, lines)
}

/// All runtimes of a case together; cases, and runtimes within them, in the order they first appear.
pub(super) fn case_by_case<'a>(rows: &[&'a Measured]) -> Vec<&'a Measured> {
    let mut cases: Vec<&str> = Vec::new();
    for row in rows {
        if !cases.contains(&row.case.as_str()) {
            cases.push(&row.case);
        }
    }
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| cases.iter().position(|&case| case == row.case));
    rows
}

/// A line per case and runtime with a column for each number of threads; `None` where there is one.
pub(super) fn scaling(outcome: &Outcome) -> Option<String> {
    let threads: BTreeSet<usize> = outcome.measured.iter().map(|row| row.threads).collect();
    if threads.len() < 2 {
        return None;
    }
    let scale = |row: &&Measured| {
        let fewer = outcome.measured.iter().filter(|other| other.threads < row.threads);
        let mut same = fewer.filter(|other| other.runtime == row.runtime && other.case == row.case);
        row.threads == outcome.most_threads() && same.next().is_some()
    };
    let rows: Vec<_> = outcome.measured.iter().filter(scale).collect();
    let lines = case_by_case(&rows).into_iter().map(|row| {
        let cell = |&threads: &usize| {
            let stats = outcome.find(&row.case, &row.runtime, threads).and_then(Measured::stats);
            stats.map_or_else(nothing, |stats| time(stats.median, &row.unit))
        };
        let mut line = vec![row.case.clone(), row.runtime.clone()];
        line.extend(threads.iter().map(cell));
        line
    });
    let mut header = vec!["case".to_owned(), "runtime".to_owned()];
    header.extend(threads.iter().map(|&threads| count(threads)));
    Some(render(&header, lines))
}

/// A line per target: what it asks, what was measured, and whether that is enough.
pub(super) fn targets(outcome: &Outcome, targets: &[Target]) -> String {
    let header = ["case", "against", "wanted", "measured", ""];
    let lines = targets.iter().map(|target| {
        let against = match &target.against {
            Against::Rival { runtime, case } if *case == target.case => (*runtime).to_owned(),
            Against::Rival { runtime, case } => format!("{runtime} {case}"),
            Against::Best => target
                .rival(outcome)
                .map_or_else(|| "the best rival".to_owned(), |rival| format!("the best: {rival}")),
            Against::Limit => nothing(),
        };
        let value = |value: f64| match target.bound {
            Bound::AtMost(_) => format!("{value:.3}"),
            Bound::Times(_) => format!("{value:.2} x"),
        };
        let (measured, verdict) = match target.judge(outcome) {
            Verdict::Met(measured) => (value(measured), "met"),
            Verdict::NotMet(measured) => (value(measured), "not met"),
            Verdict::NotMeasured => (nothing(), "not measured"),
        };
        let wanted = match target.bound {
            Bound::AtMost(limit) => format!("<= {limit}"),
            Bound::Times(limit) => format!(">= {limit} x"),
        };
        [target.case.clone(), against, wanted, measured, verdict.to_owned()]
    });
    render(&header, lines)
}

/// The share of CPU time above which other programs spoil a comparison.
const QUIET: f64 = 0.05;

/// What other programs did meanwhile, and what that means for the figures.
pub(super) fn others(share: f64) -> String {
    let used = format!("other programs used {:.0} % of the CPUs meanwhile", share * 100.0);
    if share <= QUIET {
        return used;
    }
    format!(
        "{used}: runtimes that spin while they wait lost their turns to them,\n\
         so ratios to those, and the targets above, mean little; measure again on a quiet machine"
    )
}

/// A value with its unit; times in nanoseconds take the unit that suits them.
pub(super) fn time(value: f64, unit: &str) -> String {
    let (ns, per) = match unit.split_once('/') {
        Some((ns, per)) => (ns, format!("/{per}")),
        None => (unit, String::new()),
    };
    let (value, unit) = match ns {
        "ns" if value >= 1e6 => (value / 1e6, "ms"),
        "ns" if value >= 1e4 => (value / 1e3, "µs"),
        "ms" if value < 1.0 => (value * 1e3, "µs"),
        other => (value, other),
    };
    match value {
        value if unit == "s" => format!("{value:.3} {unit}{per}"),
        value if value < 100.0 => format!("{value:.1} {unit}{per}"),
        value => format!("{value:.0} {unit}{per}"),
    }
}

pub(super) fn count(threads: usize) -> String {
    if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }
}

pub(super) fn nothing() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use firsttouch_benches::measure::Sample;

    use super::*;

    fn measured(group: Group, case: &str, runtime: &str, threads: usize, ns: f64) -> Measured {
        let latency = Some(Latency { p50: ns, p90: 2.0 * ns, p99: 100.0 * ns });
        let (case_name, unit) = (case.to_owned(), "ns".to_owned());
        let sample = Sample { case: case_name, unit, value: ns, latency, places: None };
        Measured {
            group,
            case: case.to_owned(),
            runtime: runtime.to_owned(),
            version: None,
            threads,
            unit: "ns".to_owned(),
            samples: vec![sample.clone(), sample],
        }
    }

    fn outcome() -> Outcome {
        let row = |case: &str, runtime: &str, threads, ns| {
            measured(Group::Broadcast, case, runtime, threads, ns)
        };
        Outcome {
            suite: Suite::ForkJoin,
            measured: vec![
                row("broadcast/hot", OURS, 1, 20.0),
                row("broadcast/hot", "fork_union", 1, 40.0),
                row("broadcast/hot", OURS, 2, 300.0),
                row("broadcast/cold", OURS, 2, 55_000.0),
                row("broadcast/hot", "fork_union", 2, 400.0),
                measured(Group::Wake, "wake/round-trip", "futex", 2, 50_000.0),
            ],
        }
    }

    #[test]
    fn a_group_has_its_cases_together_and_the_ratio_beside_each_rival() {
        let tables = groups(&outcome());
        let expected = "\
broadcast, 2 threads
            case      runtime    median    stdev       p50      p90       p99   ratio
───────────────────────────────────────────────────────────────────────────────────────
   broadcast/hot   firsttouch    300 ns   0.0 ns    300 ns   600 ns   30.0 µs       -
   broadcast/hot   fork_union    400 ns   0.0 ns    400 ns   800 ns   40.0 µs    0.75
  broadcast/cold   firsttouch   55.0 µs   0.0 ns   55.0 µs   110 µs    5.5 ms       -";
        assert_eq!(tables[0], expected);
        assert_eq!(tables.len(), 2);
    }

    #[test]
    fn what_moves_memory_has_a_rate_and_no_percentiles_where_there_are_none() {
        let mut row = measured(Group::Stream, "dot/1GiB", OURS, 2, 500.0);
        row.unit = "ms".to_owned();
        row.samples.iter_mut().for_each(|sample| sample.latency = None);
        let tables = groups(&Outcome { suite: Suite::Tasks, measured: vec![row] });
        let expected = [
            "stream, 2 threads",
            "      case      runtime   median    stdev   GiB/s   ratio",
            "───────────────────────────────────────────────────────────",
            "  dot/1GiB   firsttouch   500 ms   0.0 µs     4.0       -",
        ];
        assert_eq!(tables[0], expected.join("\n"));
    }

    #[test]
    fn scaling_has_a_column_for_each_number_of_threads() {
        let expected = [
            "           case      runtime   1 thread   2 threads",
            "─────────────────────────────────────────────────────",
            "  broadcast/hot   firsttouch    20.0 ns      300 ns",
            "  broadcast/hot   fork_union    40.0 ns      400 ns",
        ];
        assert_eq!(scaling(&outcome()), Some(expected.join("\n")));
        let mut one = outcome();
        one.measured.retain(|row| row.threads == 2);
        assert_eq!(scaling(&one), None);
    }

    #[test]
    fn targets_say_whether_they_are_met_and_what_was_not_measured() {
        let text = targets(&outcome(), &Target::of(Suite::ForkJoin, Effort::Full));
        let line = |case: &str| text.lines().find(|line| line.contains(case)).unwrap_or_default();
        assert!(line("broadcast/hot").ends_with("0.750            met"), "{text}");
        assert!(line("broadcast/cold").ends_with("1.100        not met"), "{text}");
        assert!(line("for-each/cold").ends_with("-   not measured"), "{text}");
    }

    #[test]
    fn a_busy_machine_is_named_as_such() {
        assert_eq!(others(0.012), "other programs used 1 % of the CPUs meanwhile");
        assert!(others(0.5).contains("measure again on a quiet machine"));
    }

    #[test]
    fn values_have_the_unit_that_suits_them() {
        let cases = [
            (13.42, "ns/join", "13.4 ns/join"),
            (312.4, "ns", "312 ns"),
            (55_300.0, "ns", "55.3 µs"),
            (2_500_000.0, "ns", "2.5 ms"),
            (0.0004, "s", "0.000 s"),
            (21.25, "ms", "21.2 ms"),
            (0.25, "ms", "250 µs"),
        ];
        for (value, unit, expected) in cases {
            assert_eq!(time(value, unit), expected);
        }
    }
}
