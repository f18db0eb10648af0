//! One check.

use super::project::Project;

/// One check of the project.
#[derive(Debug)]
pub(super) struct Step {
    /// What `--only` calls it.
    pub(super) name: &'static str,
    /// What it makes sure of.
    pub(super) what: &'static str,
    /// Checks it; an error is a failure like [`Verdict::Failed`].
    pub(super) run: fn(&Project) -> anyhow::Result<Finding>,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// A short word on it: how it was checked, what is lacking, what is wrong.
    pub(super) note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// It could not run here.
    Skipped,
    Failed,
}

/// A step that found nothing wrong.
pub(super) fn passed(note: impl Into<String>) -> anyhow::Result<Finding> {
    Ok(Finding { verdict: Verdict::Passed, note: note.into() })
}

/// A step that cannot run on this machine, with what it lacks.
pub(super) fn skipped(lack: impl Into<String>) -> anyhow::Result<Finding> {
    Ok(Finding { verdict: Verdict::Skipped, note: lack.into() })
}
