//! The closing table: every step, what it came to, how long it took.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::step::{Finding, Verdict};

/// One step's line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

/// What became of a step.
#[derive(Debug)]
pub(super) enum Outcome {
    Ran(Finding),
    /// An earlier step failed.
    NotRun,
}

impl Outcome {
    pub(super) fn failed(&self) -> bool {
        matches!(self, Self::Ran(finding) if finding.verdict == Verdict::Failed)
    }

    fn cells(&self) -> [&str; 2] {
        let Self::Ran(finding) = self else { return ["not run", "an earlier step failed"] };
        let verdict = match finding.verdict {
            Verdict::Passed => "passed",
            Verdict::Skipped => "SKIPPED",
            Verdict::Failed => "FAILED",
        };
        [verdict, &finding.note]
    }
}

/// Returns the table.
pub(super) fn table(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["step", "result", "seconds", ""]);
    for line in lines {
        let [verdict, note] = line.outcome.cells();
        let seconds = format!("{:.1}", line.took.as_secs_f64());
        table.add_row([line.name, verdict, &seconds, note]);
    }
    if let Some(seconds) = table.column_mut(2) {
        seconds.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Returns the closing line, in the words that test runners use.
pub(super) fn counts(lines: &[Line]) -> String {
    let count = |verdict| {
        let of = |line: &&Line| matches!(&line.outcome, Outcome::Ran(f) if f.verdict == verdict);
        lines.iter().filter(of).count()
    };
    let (passed, failed) = (count(Verdict::Passed), count(Verdict::Failed));
    match count(Verdict::Skipped) {
        0 => format!("steps: {passed} passed, {failed} failed"),
        skipped => format!("steps: {passed} passed, {failed} failed, {skipped} skipped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &'static str, verdict: Verdict, note: &str) -> Line {
        let finding = Finding { verdict, note: note.to_owned() };
        Line { name, outcome: Outcome::Ran(finding), took: Duration::from_millis(1_250) }
    }

    #[test]
    fn the_table_has_a_line_per_step_and_skips_stand_out() {
        let lines = [
            line("fmt", Verdict::Passed, ""),
            line("hwloc", Verdict::Skipped, "hwloc is missing"),
            line("loom", Verdict::Failed, "exit status: 101"),
            Line { name: "docs", outcome: Outcome::NotRun, took: Duration::ZERO },
        ];
        let expected = [
            " step   result   seconds",
            " fmt    passed       1.2",
            " hwloc  SKIPPED      1.2  hwloc is missing",
            " loom   FAILED       1.2  exit status: 101",
            " docs   not run      0.0  an earlier step failed",
        ];
        assert_eq!(table(&lines), expected.join("\n"));
        assert_eq!(counts(&lines), "steps: 1 passed, 1 failed, 1 skipped");
        assert_eq!(counts(&lines[..1]), "steps: 1 passed, 0 failed");
    }
}
