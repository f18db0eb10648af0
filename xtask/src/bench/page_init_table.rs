//! The tables of `page-init` beside rivals, for people.

use firsttouch_benches::comparison::{Measured, Outcome};
use firsttouch_benches::page_init::{Case, MACHINE, Pages, Plan, SMALL, bytes_of, limit};
use firsttouch_benches::suite::Group;
use firsttouch_benches::target::OURS;

use super::comparison_table::{count, nothing, time};
use super::table::render;

/// What the columns and the limits are, as a name and a few words each.
pub(super) fn legend(plan: &Plan) -> Vec<(&'static str, String)> {
    let threads: Vec<_> = plan.threads.iter().map(ToString::to_string).collect();
    vec![
        ("threads", format!("{}, the caller included", threads.join(", "))),
        ("ratio", "firsttouch's time over the row's, median of the repetitions".to_owned()),
        (
            "clear limit",
            "pages of the largest size, populated by a pinned thread per CPU; pages that come with \
             their contents are not cleared, and can be faster"
                .to_owned(),
        ),
        (
            "write limit",
            format!(
                "warm memory written by a pinned thread per CPU: {}",
                limit::how_it_is_written()
            ),
        ),
        ("of clear, of write", "the row's speed in percent of these limits".to_owned()),
    ]
}

/// How fast the kernel clears pages, and how fast memory is written, for each size.
pub(super) fn limits(outcome: &Outcome, kind: impl Fn(u64) -> Pages) -> String {
    let header = ["limit", "what", "threads", "median", "stdev", "GiB/s"];
    let rows = outcome.measured.iter().filter(|row| row.group == Group::Limit);
    let lines = rows.filter_map(|row| {
        let stats = row.stats()?;
        let bytes = bytes_of(&row.case)?;
        let what = match row.case.split('/').nth(1) {
            Some("clear") => format!("{} pages cleared", kind(bytes)),
            _ => format!("{} pages written", kind(bytes)),
        };
        Some([
            row.case.clone(),
            what,
            row.threads.to_string(),
            time(stats.median, &row.unit),
            time(stats.stdev, &row.unit),
            row.gib_per_second().map_or_else(nothing, |rate| format!("{rate:.2}")),
        ])
    });
    render(&header, lines)
}

/// One case: a line per rival, with the most threads that each was measured with.
pub(super) fn case(outcome: &Outcome, case: Case) -> String {
    let name = case.to_string();
    let rows = outcome.measured.iter().filter(|row| row.case == name);
    let rows: Vec<&Measured> = rows.filter(|row| outcome.is_most(row)).collect();
    let ours = outcome.find_most(&name, OURS);
    let of_limit = |row: &Measured, limit: String| {
        let limit = outcome.find_most(&limit, MACHINE)?;
        Some(format!("{:.0} %", 100.0 * limit.ratio_to(row)?))
    };
    let limited = case.bytes > SMALL;
    let mut header = vec!["runtime", "threads", "median", "stdev", "GiB/s", "ratio"];
    header.extend(if limited { &["of clear", "of write"][..] } else { &[] });
    let lines = rows.iter().filter_map(|row| {
        let stats = row.stats()?;
        let ratio = ours.filter(|_| row.runtime != OURS).and_then(|ours| ours.ratio_to(row));
        let mut line = vec![row.runtime.clone(), row.threads.to_string()];
        line.extend([stats.median, stats.stdev].map(|value| time(value, &row.unit)));
        line.push(row.gib_per_second().map_or_else(nothing, |rate| format!("{rate:.2}")));
        line.push(ratio.map_or_else(nothing, |ratio| format!("{ratio:.2}")));
        if limited {
            line.push(of_limit(row, limit::clear_case(case.bytes)).unwrap_or_else(nothing));
            line.push(of_limit(row, limit::write_case(case.bytes)).unwrap_or_else(nothing));
        }
        Some(line)
    });
    let threads = count(outcome.most_threads());
    let mut text = format!("{name}, {threads}\n{}", render(&header, lines));
    for note in notes(case, &rows) {
        text.push('\n');
        text.push_str(&note);
    }
    text
}

/// What the rows do not say: rivals that were not given the pages that the case is about.
fn notes(case: Case, rows: &[&Measured]) -> Vec<String> {
    let few = |row: &&&Measured| row.huge_bytes().is_some_and(|huge| huge < case.bytes);
    let rows = rows.iter().filter(|_| case.pages == Pages::Thp).filter(few);
    let note = |row: &&Measured| {
        // Down, so that a single base page shows.
        let share = row.huge_bytes().unwrap_or(0) as f64 / case.bytes as f64;
        let percent = (share * 1000.0).floor() / 10.0;
        format!("{}: the kernel gave huge pages for only {percent:.1} % of the memory", row.runtime)
    };
    rows.map(note).collect()
}

#[cfg(test)]
mod tests {
    use firsttouch_benches::measure::Sample;
    use firsttouch_benches::page_init::{Fill, Places, SERIAL};
    use firsttouch_benches::suite::Suite;

    use super::*;

    fn measured(group: Group, case: &str, runtime: &str, threads: usize, ms: f64) -> Measured {
        let places = Places { pages: 262_144, local: None, huge_bytes: 1 << 30 };
        let sample = Sample {
            case: case.to_owned(),
            unit: "ms".to_owned(),
            value: ms,
            latency: None,
            places: Some(places),
        };
        Measured {
            group,
            case: case.to_owned(),
            runtime: runtime.to_owned(),
            version: None,
            threads,
            unit: "ms".to_owned(),
            samples: vec![sample.clone(), sample],
        }
    }

    fn outcome() -> Outcome {
        let row = |runtime: &str, threads, ms| {
            measured(Group::PageInit, "thp/1GiB/zero", runtime, threads, ms)
        };
        Outcome {
            suite: Suite::PageInit,
            measured: vec![
                measured(Group::Limit, "limit/clear/1GiB", MACHINE, 2, 50.0),
                measured(Group::Limit, "limit/write/1GiB", MACHINE, 2, 25.0),
                row(SERIAL, 1, 120.0),
                row(OURS, 1, 110.0),
                row(OURS, 2, 62.5),
                row("gomp-touch", 2, 125.0),
            ],
        }
    }

    const CASE: Case = Case { pages: Pages::Thp, bytes: 1 << 30, fill: Fill::Zero };

    #[test]
    fn a_case_has_each_rival_with_its_most_threads_beside_the_limits() {
        let expected = "\
thp/1GiB/zero, 2 threads
     runtime   threads    median    stdev   GiB/s   ratio   of clear   of write
─────────────────────────────────────────────────────────────────────────────────
      serial         1    120 ms   0.0 µs    8.33    0.52       42 %       21 %
  firsttouch         2   62.5 ms   0.0 µs   16.00       -       80 %       40 %
  gomp-touch         2    125 ms   0.0 µs    8.00    0.50       40 %       20 %";
        assert_eq!(case(&outcome(), CASE), expected);
    }

    #[test]
    fn rivals_without_huge_pages_are_named() {
        let mut few = outcome();
        let places = Places { pages: 262_144, local: None, huge_bytes: (1 << 30) - 4096 };
        few.measured[5].samples[1].places = Some(places);
        let text = case(&few, CASE);
        let note = "gomp-touch: the kernel gave huge pages for only 99.9 % of the memory";
        assert!(text.ends_with(note), "{text}");
    }

    #[test]
    fn limits_are_in_gib_per_second() {
        let text = limits(&outcome(), |_| Pages::Thp);
        assert!(
            text.contains("limit/clear/1GiB   thp pages cleared         2   50.0 ms"),
            "{text}"
        );
        assert!(text.ends_with("40.00"), "{text}");
    }
}
