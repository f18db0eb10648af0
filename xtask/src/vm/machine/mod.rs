//! The machine files in `xtask/machines/`.

mod check;
mod error;
mod file;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use firsttouch_guest::machine::Machine;

pub(crate) use error::MachineError;

use crate::workspace;

/// Reads every machine file, in the order of their names.
pub(crate) fn all() -> anyhow::Result<Vec<Machine>> {
    workspace::declarations(&folder())?.iter().map(|path| read(path)).collect()
}

/// Picks machines by name, in the order asked for.
pub(crate) fn named(machines: &[Machine], names: &[String]) -> anyhow::Result<Vec<Machine>> {
    let find = |name: &String| machines.iter().find(|machine| machine.name == *name).cloned();
    let known = || machines.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", ");
    names
        .iter()
        .map(|name| {
            find(name)
                .with_context(|| format!("no machine is called {name:?}; there are {}", known()))
        })
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("machines")
}

fn read(path: &Path) -> anyhow::Result<Machine> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(&name, &text).with_context(|| path.display().to_string())
}

fn parse(name: &str, text: &str) -> Result<Machine, MachineError> {
    let file: file::File = toml::from_str(text).map_err(MachineError::Syntax)?;
    let machine = file.into_machine(name)?;
    check::check(&machine)?;
    Ok(machine)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_machine_file_is_a_machine() {
        let machines = super::all().expect("every file can be read");
        assert!(machines.len() >= 11);
    }
}
