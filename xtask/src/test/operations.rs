//! The step that runs a brief memory benchmark and reads its record.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, ensure};
use firsttouch::Topology;
use firsttouch_benches::Row;
use firsttouch_benches::operations::{ONE_THREAD, Operation, THREADS, obstacle};
use firsttouch_benches::target::OURS;

use super::command::run;
use super::project::Project;
use super::step::{Finding, passed};

const BYTES: u64 = 64 << 20;

pub(super) fn check(project: &Project) -> anyhow::Result<Finding> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("memory.json");
    let command = ["bench", "memory", "--brief", "--size", "64MiB", "--reps", "1", "--json"];
    // This very program: what users run, built as they build it.
    run(project.program(std::env::current_exe()?, command).arg(&file))?;
    let text = fs::read_to_string(&file).context("the benchmark left no record")?;
    let topology = Topology::discover()?;
    let possible: Vec<Operation> = Operation::ALL
        .into_iter()
        .filter(|&operation| obstacle(operation, BYTES, &topology).is_none())
        .collect();
    let rows = sound_rows(&text, &possible)?;
    let names: Vec<_> = possible.iter().map(ToString::to_string).collect();
    passed(format!("{rows} rows: {}", names.join(", ")))
}

/// Returns how many rows a record has; an error says what is wrong with it.
///
/// What was to be done was checked where it was done. Times are not judged: a
/// busy machine is no fault of the code.
fn sound_rows(text: &str, possible: &[Operation]) -> anyhow::Result<usize> {
    let rows: Vec<Row> =
        serde_json::from_str(text).context("the record is not an array of rows")?;
    let mut seen = BTreeSet::new();
    for row in &rows {
        let contradiction = row.contradiction();
        ensure!(contradiction.is_none(), "{row:?}: {}", contradiction.unwrap_or_default());
        ensure!(row.suite == "memory" && row.unit == "ms" && row.n == 1, "not as asked: {row:?}");
        ensure!(row.case.ends_with("/64MiB") && row.version.is_some(), "not as asked: {row:?}");
        ensure!(seen.insert((&row.case, &row.runtime)), "twice: {row:?}");
    }
    for operation in possible {
        let case = format!("{operation}/base/64MiB");
        for runtime in [OURS, ONE_THREAD, THREADS] {
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
        let row = |case: &str, runtime: &str| {
            let row = Row::new("memory", case.to_owned(), runtime, 2, "ms", stats);
            Row { version: Some("1.0".to_owned()), ..row }
        };
        let cases = ["release/base/64MiB", "pin/base/64MiB"];
        let all = |case| [OURS, ONE_THREAD, THREADS].map(|runtime| row(case, runtime));
        let mut rows: Vec<_> = cases.into_iter().flat_map(all).collect();
        change(&mut rows);
        serde_json::to_string(&rows).expect("rows are plain data")
    }

    const POSSIBLE: [Operation; 2] = [Operation::Release, Operation::Pin];

    #[test]
    fn a_sound_record_is_counted() {
        assert_eq!(sound_rows(&record(|_| {}), &POSSIBLE).expect("nothing is wrong"), 6);
    }

    #[test]
    fn every_fault_is_found() {
        let faults: [fn(&mut Vec<Row>); 6] = [
            Vec::clear,
            |rows| drop(rows.remove(0)),
            |rows| rows[1].n = 2,
            |rows| rows[1].version = None,
            |rows| rows[1].case = "release/base/1GiB".to_owned(),
            |rows| rows.push(rows[2].clone()),
        ];
        for (i, fault) in faults.into_iter().enumerate() {
            assert!(sound_rows(&record(fault), &POSSIBLE).is_err(), "fault {i}");
        }
        assert!(sound_rows("{}", &POSSIBLE).is_err());
        assert!(sound_rows(&record(|_| {}), &Operation::ALL).is_err(), "not all was measured");
    }
}
