//! The faults in `xtask/faults/`: what each breaks, and which cases must see it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::planted::Change;
use crate::workspace;

/// One planted fault: a text of one source file that another takes the place of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    /// Its name: that of its file, without the extension.
    #[serde(skip)]
    pub(super) name: String,
    /// What it breaks, in a line.
    pub(super) about: String,
    /// The source file, from the workspace's root.
    file: PathBuf,
    /// The text that is replaced. It occurs once in the file.
    find: String,
    /// What takes its place.
    replace: String,
    /// The cases that must fail, by machine.
    pub(super) caught_by: BTreeMap<String, Vec<String>>,
}

impl Fault {
    /// Returns the change that plants it.
    pub(super) fn change(&self) -> Change<'_> {
        let Self { name, file, find, replace, .. } = self;
        Change { name, file, find, replace }
    }
}

/// Reads every fault, in the order of their names.
pub(super) fn all() -> anyhow::Result<Vec<Fault>> {
    let files = workspace::declarations(&workspace::root().join("xtask/faults"))?;
    files.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> anyhow::Result<Fault> {
    let wrong = || path.display().to_string();
    let fault: Fault =
        toml::from_str(&fs::read_to_string(path).with_context(wrong)?).with_context(wrong)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let cases: usize = fault.caught_by.values().map(Vec::len).sum();
    ensure!(cases > 0, "fault {name} names no case that must see it");
    Ok(Fault { name, ..fault })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::machine;

    fn faults() -> Vec<Fault> {
        all().expect("every file is a fault")
    }

    #[test]
    fn every_fault_names_one_place_in_a_source_file() {
        let faults = faults();
        assert!(faults.len() >= 4);
        for fault in faults {
            let text =
                fs::read_to_string(workspace::root().join(&fault.file)).expect("its file exists");
            let faulty = fault.change().apply(&text).expect("its text is there once");
            assert_ne!(faulty, text, "{}", fault.name);
        }
    }

    #[test]
    fn every_fault_names_machines_and_cases_that_there_are() {
        let machines = machine::all().expect("every file can be read");
        let sources = sources(&workspace::root().join("xtask/guest/src/cases"));
        for Fault { name, caught_by, .. } in faults() {
            for (machine, cases) in caught_by {
                let known = machines.iter().any(|known| known.name == machine);
                assert!(known, "{name}: there is no machine {machine}");
                for case in cases {
                    let declared = sources.contains(&format!("name: \"{case}\""));
                    assert!(declared, "{name}: there is no case {case}");
                }
            }
        }
    }

    /// All source text below a folder.
    fn sources(folder: &Path) -> String {
        let entries = folder.read_dir().expect("the folder is there");
        let paths = entries.map(|entry| entry.expect("it can be listed").path());
        paths
            .map(|path| match path.is_dir() {
                true => sources(&path),
                false => fs::read_to_string(path).expect("sources are text"),
            })
            .collect()
    }
}
