//! The step that runs a small page-init benchmark and reads its record.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, ensure};
use firsttouch::Region;
use firsttouch_benches::Row;
use firsttouch_benches::page_init::{GIVEN, MACHINE};

use super::command::run;
use super::project::Project;
use super::step::{Finding, passed};

pub(super) fn check(project: &Project) -> anyhow::Result<Finding> {
    let folder = tempfile::tempdir()?;
    let (file, plot) = (folder.path().join("page-init.json"), folder.path().join("page-init.svg"));
    let command =
        ["bench", "page-init", "--brief", "--size", "1MiB,64MiB", "--reps", "1", "--json"];
    // This very program: what users run, built as they build it.
    let mut command = project.program(std::env::current_exe()?, command);
    run(command.arg(&file).arg("--plot").arg(&plot))?;
    let text = fs::read_to_string(&file).context("the benchmark left no record")?;
    let told = places_are_told()?;
    let (rows, runtimes) = sound_rows(&text, told)?;
    let plot = fs::read_to_string(&plot).context("the benchmark left no plot")?;
    ensure!(plot.contains("base/64MiB/zero"), "the plot does not name what it shows");
    let without = if told { "" } else { "; where pages are is not told here" };
    let runtimes: Vec<_> = runtimes.iter().map(String::as_str).collect();
    passed(format!("{rows} rows: {}{without}", runtimes.join(", ")))
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

/// Programs that initialise memory of their own, of which the kernel cannot be asked here.
const PROGRAMS: [&str; 2] = ["jvm", "qemu"];

/// Returns how many rows a record has, and of whom; an error says what is wrong with it.
///
/// `told`: whether the rows must say where pages are.
/// Times are not judged: a busy machine is no fault of the code.
fn sound_rows(text: &str, told: bool) -> anyhow::Result<(usize, BTreeSet<String>)> {
    let rows: Vec<Row> =
        serde_json::from_str(text).context("the record is not an array of rows")?;
    let mut seen = BTreeSet::new();
    for row in &rows {
        let contradiction = row.contradiction();
        ensure!(contradiction.is_none(), "{row:?}: {}", contradiction.unwrap_or_default());
        ensure!(
            row.suite == "page-init" && row.unit == "ms" && row.n == 1,
            "not as asked: {row:?}"
        );
        ensure!(seen.insert((&row.case, &row.runtime, row.threads)), "twice: {row:?}");
        if row.case.starts_with("limit/") {
            ensure!(row.runtime == MACHINE, "a limit is the machine's own: {row:?}");
            continue;
        }
        let asked = ["/1MiB/zero", "/64MiB/zero", "/1MiB/nonzero", "/64MiB/nonzero"];
        ensure!(asked.iter().any(|end| row.case.ends_with(end)), "not as asked: {row:?}");
        let by_share = row.case.starts_with("by-share/");
        ensure!(by_share || row.version.is_some(), "no version: {row:?}");
        if told && !PROGRAMS.contains(&row.runtime.as_str()) {
            ensure!(row.pages.is_some_and(|pages| pages > 0), "no pages: {row:?}");
            let local = !by_share || row.runtime == "serial" || row.local_pages.is_some();
            ensure!(local, "no local pages: {row:?}");
        }
    }
    let measured = |case: &str, runtime: &str| {
        let found = rows.iter().any(|row| row.case == case && row.runtime == runtime);
        ensure!(found, "{case} was not measured with {runtime}");
        Ok(())
    };
    for runtime in ["serial", "firsttouch"] {
        measured("by-share/base/64MiB/zero", runtime)?;
    }
    for limit in ["limit/clear/64MiB", "limit/write/64MiB"] {
        measured(limit, MACHINE)?;
    }
    for case in ["base/1MiB/zero", "base/1MiB/nonzero", "base/64MiB/zero", "base/64MiB/nonzero"] {
        GIVEN.iter().try_for_each(|runtime| measured(case, runtime))?;
    }
    Ok((rows.len(), rows.iter().map(|row| row.runtime.clone()).collect()))
}

#[cfg(test)]
mod tests {
    use firsttouch_benches::Stats;

    use super::*;

    fn record(change: impl Fn(&mut Vec<Row>)) -> String {
        let stats = Stats::of([1.5]).expect("there is a value");
        let row = |case: &str, runtime: &str| {
            let row = Row::new("page-init", case.to_owned(), runtime, 1, "ms", stats);
            let version = Some("1.0".to_owned());
            Row { pages: Some(16_384), local_pages: Some(16_384), version, ..row }
        };
        let mut rows =
            ["serial", "firsttouch"].map(|r| row("by-share/base/64MiB/zero", r)).to_vec();
        rows.extend(["limit/clear/64MiB", "limit/write/64MiB"].map(|case| row(case, MACHINE)));
        for case in ["base/1MiB/zero", "base/1MiB/nonzero", "base/64MiB/zero", "base/64MiB/nonzero"]
        {
            rows.extend(GIVEN.map(|runtime| row(case, runtime)));
        }
        rows.push(Row { pages: None, local_pages: None, ..row("base/64MiB/zero", "jvm") });
        change(&mut rows);
        serde_json::to_string(&rows).expect("rows are plain data")
    }

    #[test]
    fn a_sound_record_is_counted() {
        let (rows, runtimes) = sound_rows(&record(|_| {}), true).expect("nothing is wrong");
        assert_eq!(rows, 5 + 4 * GIVEN.len());
        assert!(runtimes.contains("jvm"), "{runtimes:?}");
        let unknown = record(|rows| rows[0].local_pages = None);
        assert!(sound_rows(&unknown, true).is_ok(), "a serial thread may move");
    }

    #[test]
    fn pages_may_be_unknown_only_where_the_kernel_does_not_tell() {
        let untold = record(|rows| {
            rows.iter_mut().for_each(|row| (row.pages, row.local_pages) = (None, None));
        });
        assert!(sound_rows(&untold, true).is_err());
        assert!(sound_rows(&untold, false).is_ok(), "the kernel does not tell");
    }

    #[test]
    fn every_fault_is_found() {
        let faults: [fn(&mut Vec<Row>); 11] = [
            Vec::clear,
            |rows| rows.truncate(1),
            |rows| rows[0].pages = None,
            |rows| rows[1].local_pages = None,
            |rows| rows[1].local_pages = Some(16_385),
            |rows| rows[1].case = "by-share/thp/64MiB/zero".to_owned(),
            |rows| rows[2].case = "limit/clear/1GiB".to_owned(),
            |rows| rows[5].version = None,
            |rows| rows[6].case = "base/2GiB/zero".to_owned(),
            |rows| rows.push(rows[7].clone()),
            |rows| rows[0].n = 2,
        ];
        for (i, fault) in faults.into_iter().enumerate() {
            assert!(sound_rows(&record(fault), true).is_err(), "fault {i}");
        }
        assert!(sound_rows("{}", true).is_err());
    }
}
