//! The table of the kernel series, for people.

use comfy_table::{CellAlignment, Table, TableComponent, presets};
use firsttouch::PageSize;
use firsttouch_benches::page_init::{Measured, Outcome, Pages, Runtime};
use firsttouch_benches::{Stats, size};

/// One line above the table: which pages, how much.
pub(super) fn title(outcome: &Outcome) -> String {
    let pages = match outcome.page_size {
        PageSize::Base => "base pages".to_owned(),
        PageSize::Transparent => "transparent huge pages".to_owned(),
        PageSize::Huge(page) => format!("huge pages of {}", size::exact(page.bytes() as u64)),
        _ => format!("{} pages", outcome.pages),
    };
    format!("{pages} ({})", outcome.case())
}

/// The table: a line per share of each node's CPUs, the serial one first.
pub(super) fn rows(outcome: &Outcome) -> String {
    let header = ["node%", "(threads)", "speedup", "time_ms (stdev)", "GiB/s", "local %"];
    let lines = outcome.rows.iter().filter_map(|row| {
        let time = row.time_ms()?;
        let (node, threads, speedup) = match row.runtime {
            Runtime::Serial => ("serial".to_owned(), "(0)".to_owned(), "--".to_owned()),
            Runtime::Firsttouch { share, .. } => (
                format!("{}%", share.percent),
                format!("({})", share.threads),
                outcome.speedup(time).map_or_else(unknown, |saved| format!("{saved:.1}%")),
            ),
        };
        let local = row.local().map_or_else(unknown, |(pages, local)| local_percent(pages, local));
        Some([node, threads, speedup, time_cell(time), rate_cell(outcome.bytes, time), local])
    });
    render(&header, lines)
}

/// The breakdown: a line per share and node.
pub(super) fn nodes(outcome: &Outcome) -> String {
    let header = ["node%", "(threads)", "node", "size", "time_ms (stdev)", "GiB/s"];
    let lines = outcome.rows.iter().flat_map(|row| {
        let (percent, threads) = match row.runtime {
            Runtime::Serial => return Vec::new(),
            Runtime::Firsttouch { share, .. } => (share.percent, share.threads),
        };
        let line = |(node, bytes, time): (firsttouch::NodeId, usize, Stats)| {
            [
                format!("{percent}%"),
                format!("({threads})"),
                node.to_string(),
                size::rounded(bytes as u64),
                time_cell(time),
                rate_cell(bytes, time),
            ]
        };
        row.nodes().into_iter().map(line).collect()
    });
    render(&header, lines)
}

/// What the table comes to, in words; one line each.
pub(super) fn closing(outcome: &Outcome) -> String {
    let mut words = Vec::new();
    if let Some((full, saved)) = outcome.rows.last().and_then(|row| saved(outcome, row)) {
        words.push(match saved {
            saved if saved >= 0.0 => {
                format!("{full} of CPUs saved {saved:.1} % of the serial time")
            }
            lost => format!("{full} of CPUs took {:.1} % longer than serial", -lost),
        });
    }
    if let (Pages::Thp, Some(share)) = (outcome.pages, outcome.huge_share()) {
        words.push(match share {
            // Down, so that a single base page shows.
            share if share < 100.0 => {
                let share = (share * 10.0).floor() / 10.0;
                format!("the kernel gave huge pages for only {share:.1} % of the memory")
            }
            _ => "the kernel gave huge pages for all of the memory".to_owned(),
        });
    }
    if outcome.rows.iter().flat_map(|row| &row.samples).any(|sample| sample.places.is_none()) {
        words
            .push("the kernel does not say here where pages are: move_pages is refused".to_owned());
    }
    let lines = words.iter().map(|words| format!("{} pages: {words}", outcome.pages));
    lines.collect::<Vec<_>>().join("\n")
}

fn saved(outcome: &Outcome, row: &Measured) -> Option<(String, f64)> {
    let Runtime::Firsttouch { share, .. } = row.runtime else { return None };
    Some((format!("{} %", share.percent), outcome.speedup(row.time_ms()?)?))
}

fn unknown() -> String {
    "?".to_owned()
}

fn time_cell(time: Stats) -> String {
    format!("{:.1} ({:5.1})", time.median, time.stdev)
}

fn rate_cell(bytes: usize, time: Stats) -> String {
    Outcome::gib_per_second(bytes, time).map_or_else(unknown, |rate| format!("{rate:.2}"))
}

/// Rounded down: 100 % is said only where every page is local.
fn local_percent(pages: u64, local: u64) -> String {
    let tenths = (u128::from(local) * 1000).checked_div(u128::from(pages));
    tenths.map_or_else(unknown, |tenths| format!("{}.{}", tenths / 10, tenths % 10))
}

/// A table with a line below its header, aligned to the right.
pub(super) fn render<L>(header: &[impl ToString], lines: impl Iterator<Item = L>) -> String
where
    L: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header.iter().map(ToString::to_string));
    for part in [
        TableComponent::HeaderLines,
        TableComponent::LeftHeaderIntersection,
        TableComponent::MiddleHeaderIntersections,
        TableComponent::RightHeaderIntersection,
    ] {
        table.set_style(part, '─');
    }
    table.add_rows(lines);
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    // Every line comes out padded to the width of the table.
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use firsttouch::NodeId;
    use firsttouch_benches::page_init::{NodeSample, Places, Sample, Share};

    use super::*;

    fn sample(us: u64, local: Option<u64>, huge_bytes: u64) -> Sample {
        let elapsed = Duration::from_micros(us);
        let nodes = [0, 8].map(|node| NodeSample {
            node: NodeId::new(node),
            elapsed,
            bytes: 1 << 29,
            pages: None,
        });
        let places = Places { pages: 262_144, local, huge_bytes };
        Sample { elapsed, places: Some(places), nodes: nodes.to_vec() }
    }

    fn outcome(pages: Pages, huge_bytes: u64) -> Outcome {
        let row = |percent, threads, times: [u64; 3], local| {
            let threads = NonZeroUsize::new(threads).expect("a row has threads");
            let share = Share { threads, percent };
            let samples = times.map(|us| sample(us, local, huge_bytes)).to_vec();
            Measured { runtime: Runtime::Firsttouch { share, threads: threads.get() }, samples }
        };
        let serial = [400_000, 405_500, 410_000].map(|us| sample(us, None, huge_bytes));
        Outcome {
            pages,
            page_size: PageSize::Base,
            bytes: 1 << 30,
            rows: vec![
                Measured { runtime: Runtime::Serial, samples: serial.to_vec() },
                row(50, 1, [420_000, 421_000, 430_000], Some(262_144)),
                row(100, 2, [110_000, 111_000, 112_000], Some(262_143)),
            ],
        }
    }

    #[test]
    fn the_table_reads_as_the_kernel_series_does() {
        let expected = [
            "   node%   (threads)   speedup   time_ms (stdev)   GiB/s   local %",
            "────────────────────────────────────────────────────────────────────",
            "  serial         (0)        --     405.5 (  5.0)    2.47         ?",
            "     50%         (1)     -3.8%     421.0 (  5.5)    2.38     100.0",
            "    100%         (2)     72.6%     111.0 (  1.0)    9.01      99.9",
        ];
        assert_eq!(rows(&outcome(Pages::Base, 0)), expected.join("\n"));
    }

    #[test]
    fn the_breakdown_has_a_line_per_share_and_node() {
        let expected = [
            "  node%   (threads)   node        size   time_ms (stdev)   GiB/s",
            "──────────────────────────────────────────────────────────────────",
            "    50%         (1)      0   512.0 MiB     421.0 (  5.5)    1.19",
            "    50%         (1)      8   512.0 MiB     421.0 (  5.5)    1.19",
            "   100%         (2)      0   512.0 MiB     111.0 (  1.0)    4.50",
            "   100%         (2)      8   512.0 MiB     111.0 (  1.0)    4.50",
        ];
        assert_eq!(nodes(&outcome(Pages::Base, 0)), expected.join("\n"));
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_of_100_columns() {
        let outcome = outcome(Pages::Thp, 0);
        for line in [rows(&outcome), nodes(&outcome), title(&outcome), closing(&outcome)]
            .iter()
            .flat_map(|text| text.lines())
        {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn the_closing_line_says_what_was_saved_and_which_pages_came() {
        assert_eq!(
            closing(&outcome(Pages::Base, 0)),
            "base pages: 100 % of CPUs saved 72.6 % of the serial time"
        );
        assert_eq!(
            closing(&outcome(Pages::Thp, (1 << 30) - 4096)),
            "thp pages: 100 % of CPUs saved 72.6 % of the serial time\n\
             thp pages: the kernel gave huge pages for only 99.9 % of the memory"
        );
        let mut slower = outcome(Pages::Thp, 1 << 30);
        slower.rows.pop();
        assert_eq!(
            closing(&slower),
            "thp pages: 50 % of CPUs took 3.8 % longer than serial\n\
             thp pages: the kernel gave huge pages for all of the memory"
        );
    }

    #[test]
    fn a_kernel_that_does_not_tell_places_is_named() {
        let mut untold = outcome(Pages::Thp, 1 << 30);
        untold.rows[2].samples[0].places = None;
        assert_eq!(
            closing(&untold),
            "thp pages: 100 % of CPUs saved 72.6 % of the serial time\n\
             thp pages: the kernel does not say here where pages are: move_pages is refused"
        );
        assert!(rows(&untold).ends_with('?'), "{}", rows(&untold));
    }

    #[test]
    fn a_single_remote_page_is_never_rounded_away() {
        assert_eq!(local_percent(262_144, 262_144), "100.0");
        assert_eq!(local_percent(262_144, 262_143), "99.9");
        assert_eq!(local_percent(0, 0), "?");
    }
}
