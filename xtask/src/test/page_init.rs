//! The step that runs a small page-init benchmark and reads its record.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, ensure};
use firsttouch::Region;
use firsttouch_benches::Row;

use super::command::run;
use super::project::Project;
use super::step::{Finding, passed};

pub(super) fn check(project: &Project) -> anyhow::Result<Finding> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("page-init.json");
    let command = ["bench", "page-init", "--size", "64MiB", "--reps", "1", "--json"];
    // This very program: what users run, built as they build it.
    run(project.program(std::env::current_exe()?, command).arg(&file))?;
    let text = fs::read_to_string(&file).context("the benchmark left no record")?;
    let told = places_are_told()?;
    let rows = sound_rows(&text, told)?;
    let without = if told { "" } else { "; where pages are is not told here" };
    passed(format!("{rows} rows{without}"))
}

/// Returns whether the kernel says where pages are; some containers refuse the call.
fn places_are_told() -> anyhow::Result<bool> {
    let region = Region::builder(1 << 20).build()?;
    match region.residency(0..region.len()) {
        Ok(_) => Ok(true),
        Err(error) if error.is_refused() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns how many rows a record has; an error says what is wrong with it.
///
/// `told`: whether the rows must say where pages are.
/// Times are not judged: a busy machine is no fault of the code.
fn sound_rows(text: &str, told: bool) -> anyhow::Result<usize> {
    let rows: Vec<Row> =
        serde_json::from_str(text).context("the record is not an array of rows")?;
    for row in &rows {
        let contradiction = row.contradiction();
        ensure!(contradiction.is_none(), "{row:?}: {}", contradiction.unwrap_or_default());
        ensure!(
            row.suite == "page-init" && row.unit == "ms" && row.n == 1,
            "not as asked: {row:?}"
        );
        ensure!(row.case.ends_with("/64MiB/zero"), "not as asked: {row:?}");
        if told {
            ensure!(row.pages.is_some_and(|pages| pages > 0), "no pages: {row:?}");
            let local = row.runtime == "serial" || row.local_pages.is_some();
            ensure!(local, "no local pages: {row:?}");
        }
    }
    let cases: BTreeSet<_> = rows.iter().map(|row| row.case.as_str()).collect();
    ensure!(cases.contains("base/64MiB/zero"), "base pages were not measured, only {cases:?}");
    for case in cases {
        for runtime in ["serial", "firsttouch"] {
            let found = rows.iter().any(|row| row.case == case && row.runtime == runtime);
            ensure!(found, "{case} was not measured with {runtime}");
        }
    }
    Ok(rows.len())
}

#[cfg(test)]
mod tests {
    use firsttouch_benches::Stats;

    use super::*;

    fn record(change: impl Fn(&mut Vec<Row>)) -> String {
        let stats = Stats::of([1.5]).expect("there is a value");
        let row = |runtime| {
            let row = Row::new("page-init", "base/64MiB/zero".to_owned(), runtime, 1, "ms", stats);
            Row { pages: Some(16_384), local_pages: Some(16_384), ..row }
        };
        let mut rows = vec![row("serial"), row("firsttouch")];
        change(&mut rows);
        serde_json::to_string(&rows).expect("rows are plain data")
    }

    #[test]
    fn a_sound_record_is_counted() {
        assert_eq!(sound_rows(&record(|_| {}), true).expect("nothing is wrong"), 2);
        let unknown = record(|rows| rows[0].local_pages = None);
        assert_eq!(sound_rows(&unknown, true).expect("a serial thread may move"), 2);
    }

    #[test]
    fn pages_may_be_unknown_only_where_the_kernel_does_not_tell() {
        let untold = record(|rows| {
            rows.iter_mut().for_each(|row| (row.pages, row.local_pages) = (None, None));
        });
        assert!(sound_rows(&untold, true).is_err());
        assert_eq!(sound_rows(&untold, false).expect("the kernel does not tell"), 2);
    }

    #[test]
    fn every_fault_is_found() {
        let faults: [fn(&mut Vec<Row>); 7] = [
            Vec::clear,
            |rows| rows.truncate(1),
            |rows| rows[0].pages = None,
            |rows| rows[1].local_pages = None,
            |rows| rows[1].local_pages = Some(16_385),
            |rows| rows[1].case = "thp/64MiB/zero".to_owned(),
            |rows| rows[0].n = 2,
        ];
        for (i, fault) in faults.into_iter().enumerate() {
            assert!(sound_rows(&record(fault), true).is_err(), "fault {i}");
        }
        assert!(sound_rows("{}", true).is_err());
    }
}
