//! The steps that run the comparisons with rivals as briefly as can be, and read their records.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, ensure};
use firsttouch_benches::Row;
use firsttouch_benches::suite::{Effort, Suite};
use firsttouch_benches::target::OURS;

use super::command::run;
use super::project::Project;
use super::step::{Finding, passed};

pub(super) fn fork_join(project: &Project) -> anyhow::Result<Finding> {
    check(project, Suite::ForkJoin)
}

pub(super) fn tasks(project: &Project) -> anyhow::Result<Finding> {
    check(project, Suite::Tasks)
}

fn check(project: &Project, suite: Suite) -> anyhow::Result<Finding> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join(format!("{suite}.json"));
    let name = suite.to_string();
    let command = ["bench", name.as_str(), "--brief", "--rounds", "1", "--json"];
    // This very program: what users run, built as they build it.
    run(project.program(std::env::current_exe()?, command).arg(&file))?;
    let text = fs::read_to_string(&file).context("the benchmark left no record")?;
    let (rows, runtimes) = sound_rows(&text, suite)?;
    let names: Vec<_> = runtimes.iter().map(String::as_str).collect();
    passed(format!("{rows} rows: {}", names.join(", ")))
}

/// Rivals that need nothing but cargo, and so are in every build.
const ALWAYS: [&str; 3] = ["chili", "rayon", "serial"];

/// Returns how many rows a record has, and of which runtimes; an error says what is wrong with it.
///
/// Answers were checked where they were computed. Times are not judged: a busy
/// machine is no fault of the code.
fn sound_rows(text: &str, suite: Suite) -> anyhow::Result<(usize, BTreeSet<String>)> {
    let rows: Vec<Row> =
        serde_json::from_str(text).context("the record is not an array of rows")?;
    let cases: BTreeSet<_> =
        suite.groups().iter().flat_map(|group| group.cases(Effort::Brief)).collect();
    let mut seen = BTreeSet::new();
    for row in &rows {
        let contradiction = row.contradiction();
        ensure!(contradiction.is_none(), "{row:?}: {}", contradiction.unwrap_or_default());
        ensure!(row.suite == suite.to_string() && row.n == 1, "not as asked: {row:?}");
        ensure!(cases.contains(&row.case), "not as asked: {row:?}");
        ensure!(row.pages.is_none(), "pages are no part of the suite: {row:?}");
        ensure!(seen.insert((&row.case, &row.runtime, row.threads)), "twice: {row:?}");
    }
    for case in &cases {
        let ours = suite == Suite::ForkJoin && case.starts_with("wake/");
        let runtime = if ours { firsttouch_benches::measure::FUTEX } else { OURS };
        let found = rows.iter().any(|row| row.case == *case && row.runtime == runtime);
        ensure!(found, "{case} was not measured with {runtime}");
    }
    for rival in ALWAYS {
        ensure!(rows.iter().any(|row| row.runtime == rival), "{rival} was not measured");
    }
    let versions =
        rows.iter().filter(|row| row.runtime == "rayon").all(|row| row.version.is_some());
    ensure!(versions, "rayon has no version");
    Ok((rows.len(), rows.iter().map(|row| row.runtime.clone()).collect()))
}

#[cfg(test)]
mod tests {
    use firsttouch_benches::Stats;
    use firsttouch_benches::measure::FUTEX;

    use super::*;

    fn record(suite: Suite, change: impl Fn(&mut Vec<Row>)) -> String {
        let stats = Stats::of([1.5]).expect("there is a value");
        let row = |case: &str, runtime: &str| {
            let row = Row::new(&suite.to_string(), case.to_owned(), runtime, 2, "ns", stats);
            Row { version: Some("1.0".to_owned()), ..row }
        };
        let cases: Vec<_> =
            suite.groups().iter().flat_map(|group| group.cases(Effort::Brief)).collect();
        let ours = cases.iter().map(|case| match case.starts_with("wake/") {
            true => row(case, FUTEX),
            false => row(case, OURS),
        });
        let rivals = ALWAYS.into_iter().map(|rival| row(&cases[0], rival));
        let mut rows: Vec<_> = ours.chain(rivals).collect();
        change(&mut rows);
        serde_json::to_string(&rows).expect("rows are plain data")
    }

    #[test]
    fn a_sound_record_is_counted() {
        for suite in [Suite::ForkJoin, Suite::Tasks] {
            let (rows, runtimes) =
                sound_rows(&record(suite, |_| {}), suite).expect("nothing is wrong");
            assert!(rows > 8, "{rows}");
            assert!(runtimes.contains("rayon"), "{runtimes:?}");
        }
    }

    #[test]
    fn every_fault_is_found() {
        let faults: [fn(&mut Vec<Row>); 9] = [
            Vec::clear,
            |rows| rows.truncate(8),
            |rows| drop(rows.remove(0)),
            |rows| rows[0].n = 2,
            |rows| rows[0].median = 7.0,
            |rows| rows[0].suite = "page-init".to_owned(),
            |rows| rows[0].case = "broadcast/warm".to_owned(),
            |rows| rows.push(rows[0].clone()),
            |rows| rows.iter_mut().for_each(|row| row.version = None),
        ];
        for (i, fault) in faults.into_iter().enumerate() {
            let text = record(Suite::ForkJoin, fault);
            assert!(sound_rows(&text, Suite::ForkJoin).is_err(), "fault {i}");
        }
        assert!(sound_rows("{}", Suite::Tasks).is_err());
        assert!(sound_rows(&record(Suite::Tasks, |_| {}), Suite::ForkJoin).is_err());
    }
}
