//! Building the program that measures, with as many rivals as this machine can build.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use cargo_metadata::Message;
use cargo_metadata::camino::Utf8PathBuf;
use firsttouch_benches::runtime::Known;
use firsttouch_benches::suite::Suite;

const PROGRAM: &str = "firsttouch-measure";

/// The program, and the runtimes that it knows.
#[derive(Debug)]
pub(super) struct MeasureProgram {
    pub(super) path: PathBuf,
    /// With the versions of the crates that were built into it.
    pub(super) runtimes: Vec<Known>,
}

/// Builds the program, and asks it for the runtimes of a suite; fork_union is left out where it cannot be built.
pub(super) fn build(suite: Suite) -> anyhow::Result<MeasureProgram> {
    let (path, crates) = match cargo_build(&["--features", "fork-union"]) {
        Ok(built) => built,
        // Whatever else is wrong will be wrong without it too, and is told then.
        Err(_) => cargo_build(&[])?,
    };
    let own_list = matches!(suite, Suite::PageInit | Suite::Memory);
    let of_suite = own_list.then(|| suite.to_string());
    let output = Command::new(&path).arg("--list").args(of_suite).output()?;
    ensure!(output.status.success(), "{} lists no runtimes", path.display());
    let mut runtimes: Vec<Known> =
        serde_json::from_slice(&output.stdout).context("the list of runtimes cannot be read")?;
    for known in runtimes.iter_mut().filter(|known| known.version.is_none()) {
        let built = crates.iter().find(|(name, _)| *name == known.crate_name());
        known.version = built.map(|(_, version)| version.clone());
    }
    Ok(MeasureProgram { path, runtimes })
}

/// Names and versions of the crates that a build went through.
type Crates = Vec<(String, String)>;

fn cargo_build(features: &[&str]) -> anyhow::Result<(PathBuf, Crates)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(workspace())
        .args(["build", "--release", "--package", "firsttouch-benches", "--bin", PROGRAM])
        .args(["--quiet", "--message-format", "json-render-diagnostics"])
        .args(features)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run cargo to build {PROGRAM}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{PROGRAM} cannot be built:\n{said}");
    let mut program = None;
    let mut crates = Vec::new();
    for message in Message::parse_stream(&*output.stdout) {
        let Message::CompilerArtifact(artifact) = message? else { continue };
        crates.extend(name_and_version(&artifact.package_id.repr));
        let ours = artifact.target.name == PROGRAM;
        program = artifact.executable.filter(|_| ours).or(program);
    }
    let program: Utf8PathBuf = program.with_context(|| format!("cargo built no {PROGRAM}"))?;
    Ok((program.into(), crates))
}

/// Reads a package's identity, such as `registry+https://…#rayon@1.12.0`.
fn name_and_version(identity: &str) -> Option<(String, String)> {
    let (_, package) = identity.rsplit_once('#')?;
    let (name, version) = package.split_once('@')?;
    Some((name.to_owned(), version.to_owned()))
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_known_by_name_and_version() {
        let found = name_and_version("registry+https://example.org/index#rayon@1.12.0");
        assert_eq!(found, Some(("rayon".to_owned(), "1.12.0".to_owned())));
        assert_eq!(name_and_version("path+file:///somewhere/rayon#1.12.0"), None);
        assert_eq!(name_and_version("nothing"), None);
    }
}
