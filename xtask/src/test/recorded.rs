//! The step that reads recorded machines.

use std::fs;
use std::path::PathBuf;

use super::cargo::counted;
use super::command::run;
use super::project::Project;
use super::step::{Finding, skipped};

/// The recordings are too large for the project: they lie beside it, or where this variable says.
const VARIABLE: &str = "FIRSTTOUCH_TOPOLOGIES";

pub(super) fn check(project: &Project) -> anyhow::Result<Finding> {
    let folder = match std::env::var_os(VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => project.root().join("../shared/topologies"),
    };
    if !folder.join("expected.json").is_file() {
        let folder = folder.display();
        return skipped(format!("no recorded machines in {folder}; {VARIABLE} names their folder"));
    }
    let recordings = fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains(".tar"))
        .count();
    let test = ["test", "-p", "firsttouch-topology", "--test", "recorded_machines"];
    let text = run(project.cargo(test).env(VARIABLE, &folder))?;
    let finding = counted(&text)?;
    Ok(Finding { note: format!("{recordings} machines, {}", finding.note), ..finding })
}
