//! Plots: what a table says, for the eye.

mod draw;
mod panel;

use firsttouch_benches::comparison::{self, Measured};
use firsttouch_benches::page_init::{self, Runtime};
use firsttouch_benches::target::OURS;

use self::panel::{Bar, Bars, Line, Lines, Panel};
use super::comparison_table::case_by_case;

/// Draws what was compared in `fork-join` or `tasks`.
pub(super) fn comparison(outcome: &comparison::Outcome) -> anyhow::Result<String> {
    draw::svg(&outcome.suite.to_string(), &compared(outcome))
}

/// Draws what `page-init` measured: beside rivals, then by share of each node's CPUs.
pub(super) fn page_init(
    outcome: Option<&comparison::Outcome>,
    by_share: &[page_init::Outcome],
) -> anyhow::Result<String> {
    let mut panels = outcome.map(compared).unwrap_or_default();
    panels.extend(by_share.iter().map(shares));
    draw::svg("page-init", &panels)
}

/// A panel of lines for each case with several numbers of threads, and one of bars for each case.
fn compared(outcome: &comparison::Outcome) -> Vec<Panel> {
    let mut cases: Vec<&str> = Vec::new();
    for row in case_by_case(&outcome.measured.iter().collect::<Vec<_>>()) {
        if !cases.contains(&row.case.as_str()) {
            cases.push(&row.case);
        }
    }
    let lines = cases.iter().filter_map(|case| scaling(outcome, case)).map(Panel::Lines);
    let bars = cases.iter().filter_map(|case| bars(outcome, case)).map(Panel::Bars);
    lines.chain(bars).collect()
}

/// What is drawn of a row: its speed where it is about bytes, else its time.
struct Quantity {
    axis: String,
    median: f64,
    low: f64,
    high: f64,
}

fn quantity(row: &Measured) -> Option<Quantity> {
    let stats = row.stats()?;
    Some(match row.gib_per_second() {
        Some(median) => Quantity {
            axis: "GiB/s (more is better)".to_owned(),
            median,
            low: median * stats.median / stats.max,
            high: median * stats.median / stats.min,
        },
        None => Quantity {
            axis: format!("{} (less is better)", row.unit),
            median: stats.median,
            low: stats.min,
            high: stats.max,
        },
    })
}

fn bars(outcome: &comparison::Outcome, case: &str) -> Option<Bars> {
    let rows = outcome.measured.iter().filter(|row| row.case == case);
    let most = rows.filter(|row| outcome.is_most(row));
    let mut axis = String::new();
    let bars = most.filter_map(|row| {
        let Quantity { axis: of_row, median, low, high } = quantity(row)?;
        axis = of_row;
        let threads = if row.threads == 1 { "thread" } else { "threads" };
        let label = format!("{}, {} {threads}", row.runtime, row.threads);
        Some(Bar { label, ours: row.runtime == OURS, value: median, low, high })
    });
    let bars: Vec<_> = bars.filter(|bar| bar.value.is_finite()).collect();
    (!bars.is_empty()).then(|| Bars { title: case.to_owned(), axis, bars })
}

fn scaling(outcome: &comparison::Outcome, case: &str) -> Option<Lines> {
    let mut axis = String::new();
    let mut lines: Vec<Line> = Vec::new();
    for row in outcome.measured.iter().filter(|row| row.case == case) {
        let Some(found) = quantity(row) else { continue };
        axis = found.axis;
        let point = (row.threads, found.median);
        match lines.iter_mut().find(|line| line.label == row.runtime) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                label: row.runtime.clone(),
                ours: row.runtime == OURS,
                points: vec![point],
            }),
        }
    }
    let several = lines.iter().any(|line| line.points.len() > 1);
    lines.iter_mut().for_each(|line| line.points.sort_by_key(|&(threads, _)| threads));
    several.then(|| Lines { title: case.to_owned(), axis, lines })
}

/// The table by share of CPUs as a line, beside what one thread reaches.
fn shares(outcome: &page_init::Outcome) -> Panel {
    let point = |row: &page_init::Measured| {
        let rate = page_init::Outcome::gib_per_second(outcome.bytes, row.time_ms()?)?;
        Some((row.runtime.threads(), rate))
    };
    let of = |serial: bool| {
        let rows =
            outcome.rows.iter().filter(move |row| (row.runtime == Runtime::Serial) == serial);
        rows.filter_map(point).collect()
    };
    Panel::Lines(Lines {
        title: outcome.case(),
        axis: "GiB/s (more is better)".to_owned(),
        lines: vec![
            Line { label: OURS.to_owned(), ours: true, points: of(false) },
            Line { label: page_init::SERIAL.to_owned(), ours: false, points: of(true) },
        ],
    })
}

#[cfg(test)]
mod tests {
    use firsttouch_benches::measure::Sample;
    use firsttouch_benches::suite::{Group, Suite};

    use super::*;

    fn measured(
        group: Group,
        case: &str,
        runtime: &str,
        threads: usize,
        values: &[f64],
    ) -> Measured {
        let unit = if group == Group::Broadcast { "ns" } else { "ms" };
        let sample = |&value: &f64| Sample {
            case: case.to_owned(),
            unit: unit.to_owned(),
            value,
            latency: None,
            places: None,
        };
        Measured {
            group,
            case: case.to_owned(),
            runtime: runtime.to_owned(),
            version: None,
            threads,
            unit: unit.to_owned(),
            samples: values.iter().map(sample).collect(),
        }
    }

    fn outcome() -> comparison::Outcome {
        let init = |runtime: &str, threads, values: &[f64]| {
            measured(Group::PageInit, "base/1GiB/zero", runtime, threads, values)
        };
        comparison::Outcome {
            suite: Suite::PageInit,
            measured: vec![
                init("serial", 1, &[500.0]),
                init(OURS, 1, &[400.0]),
                init(OURS, 2, &[200.0, 250.0, 125.0]),
                measured(Group::Broadcast, "broadcast/hot", OURS, 2, &[300.0]),
            ],
        }
    }

    #[test]
    fn what_is_about_bytes_is_drawn_as_speed_and_the_rest_as_time() {
        let panels = compared(&outcome());
        let [Panel::Lines(lines), Panel::Bars(init), Panel::Bars(broadcast)] = &panels[..] else {
            panic!("{panels:?}");
        };
        assert_eq!(lines.title, "base/1GiB/zero");
        assert_eq!(lines.lines[1].points, [(1, 2.5), (2, 5.0)]);
        assert_eq!(init.axis, "GiB/s (more is better)");
        let ours = &init.bars[1];
        assert_eq!((ours.value, ours.low, ours.high), (5.0, 4.0, 8.0));
        assert_eq!(ours.label, "firsttouch, 2 threads");
        assert_eq!(
            (broadcast.axis.as_str(), broadcast.bars[0].value),
            ("ns (less is better)", 300.0)
        );
    }

    #[test]
    fn a_plot_names_axes_units_and_runtimes() {
        let svg = comparison(&outcome()).expect("there is something to draw");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in ["base/1GiB/zero", "GiB/s", "threads", "firsttouch", "serial", "ns (less"] {
            assert!(svg.contains(text), "{text} is missing: {svg}");
        }
    }

    #[test]
    fn nothing_measured_is_no_plot_and_not_a_panic() {
        let nothing = comparison::Outcome { suite: Suite::Tasks, measured: Vec::new() };
        assert!(comparison(&nothing).is_ok());
        assert!(page_init(None, &[]).is_ok());
        let mut odd = outcome();
        odd.measured.push(measured(Group::Broadcast, "idle", OURS, 2, &[0.0]));
        odd.measured.push(measured(Group::PageInit, "thp/1GiB/zero", OURS, 2, &[0.0]));
        assert!(comparison(&odd).is_ok());
    }
}
