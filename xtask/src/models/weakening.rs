//! The weakenings in `xtask/weakenings/`: what each breaks, and which models must see it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::checker::{CRATES, Checker};
use crate::planted::Change;
use crate::workspace;

/// The weakenings of one page of `docs/protocols/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    weakening: Vec<Weakening>,
}

/// One ordering that is weaker than the protocol says, or one step that is left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Weakening {
    /// The page of the protocol, without the extension.
    #[serde(skip)]
    pub(super) page: String,
    /// Its name, which is the page's and this one's own.
    pub(super) name: String,
    /// What it breaks, in a line.
    pub(super) about: String,
    /// The source file, from the workspace's root.
    file: PathBuf,
    /// The text that is replaced. It occurs once in the file.
    find: String,
    /// What takes its place.
    replace: String,
    /// The models of loom that must see it.
    #[serde(default)]
    loom: Vec<String>,
    /// The models of shuttle that must see it.
    #[serde(default)]
    shuttle: Vec<String>,
    /// Why no model sees it. Those named are the nearest, and must pass.
    pub(super) unseen: Option<String>,
}

impl Weakening {
    /// Returns the change that plants it.
    pub(super) fn change(&self) -> Change<'_> {
        let Self { name, file, find, replace, .. } = self;
        Change { name, file, find, replace }
    }

    /// Returns the folder's name of the crate that it is of, as are the models that must see it.
    pub(super) fn of(&self) -> &str {
        let mut names = self.file.iter().skip(1);
        names.next().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Returns the models of a checker that must see it, or pass where none does.
    pub(super) fn models(&self, checker: Checker) -> &[String] {
        match checker {
            Checker::Loom => &self.loom,
            Checker::Shuttle => &self.shuttle,
        }
    }
}

/// Reads every weakening, in the order of the pages' names.
pub(super) fn all() -> anyhow::Result<Vec<Weakening>> {
    let files = workspace::declarations(&workspace::root().join("xtask/weakenings"))?;
    let pages = files.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(pages.into_iter().flatten().collect())
}

fn read(path: &Path) -> anyhow::Result<Vec<Weakening>> {
    let wrong = || path.display().to_string();
    let Page { mut weakening } =
        toml::from_str(&fs::read_to_string(path).with_context(wrong)?).with_context(wrong)?;
    let page = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    for one in &mut weakening {
        one.name = format!("{page}/{}", one.name);
        one.page.clone_from(&page);
        let models: usize = Checker::ALL.iter().map(|&checker| one.models(checker).len()).sum();
        ensure!(models > 0, "{} names no model", one.name);
        ensure!(CRATES.contains(&one.of()), "{} is of no crate that has models", one.name);
    }
    Ok(weakening)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Range;

    use super::*;

    fn weakenings() -> Vec<Weakening> {
        all().expect("every file holds weakenings")
    }

    fn text(file: &Path) -> String {
        fs::read_to_string(workspace::root().join(file)).expect("its file exists")
    }

    #[test]
    fn every_weakening_names_one_place_in_a_source_file() {
        let weakenings = weakenings();
        let names: BTreeSet<_> = weakenings.iter().map(|one| &one.name).collect();
        assert_eq!(names.len(), weakenings.len(), "no two have the same name");
        for one in &weakenings {
            let text = text(&one.file);
            let weak = one.change().apply(&text).expect("its text is there once");
            assert_ne!(weak, text, "{}", one.name);
            let page = format!("docs/protocols/{}.md", one.page);
            assert!(workspace::root().join(&page).is_file(), "{}: there is no {page}", one.name);
        }
    }

    #[test]
    fn every_weakening_names_models_that_there_are() {
        for one in weakenings() {
            for checker in Checker::ALL {
                for model in one.models(checker) {
                    let folder = checker.sources(one.of());
                    let path: Vec<&str> = model.split("::").collect();
                    let (file, function) = match (checker, &*path) {
                        (Checker::Loom, ["models", module, .., function]) => {
                            (folder.join(module).with_extension("rs"), function)
                        }
                        (Checker::Shuttle, [function]) => (folder.join("shuttle.rs"), function),
                        _ => panic!("{}: {model} is no name of a model", one.name),
                    };
                    let there = text(&file).contains(&format!("fn {function}()"));
                    assert!(there, "{}: there is no model {model}", one.name);
                }
            }
        }
    }

    /// Returns where a text names an ordering that is more than Relaxed, comments and uses aside.
    fn orderings(text: &str) -> Vec<usize> {
        let names =
            ["Acquire", "Release", "AcqRel", "SeqCst"].map(|name| format!("Ordering::{name}"));
        let places = names.iter().flat_map(|name| text.match_indices(name.as_str()));
        places.map(|(place, _)| place).collect()
    }

    /// What is there once for a process, with std's atomics: a model begins anew too often for it.
    const ONCE_FOR_A_PROCESS: [&str; 2] = ["global.rs", "process.rs"];

    /// Returns the source files of a folder, but for those of models and of what takes std's place in them.
    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = folder.read_dir().expect("the folder is there");
        let paths = entries.map(|entry| entry.expect("it can be listed").path());
        let exempt = |path: &PathBuf| {
            let exempt = ["models", "sync"].into_iter().chain(ONCE_FOR_A_PROCESS);
            exempt.into_iter().any(|name| path.ends_with(name))
        };
        paths
            .filter(|path| !exempt(path))
            .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
            .collect()
    }

    #[test]
    fn every_ordering_of_a_crate_that_has_models_is_weakened() {
        let weakenings = weakenings();
        let folders = CRATES.map(|of| workspace::root().join("crates").join(of).join("src"));
        for path in folders.iter().flat_map(|folder| sources(folder)) {
            let file = path.strip_prefix(workspace::root()).expect("it is in the workspace");
            let text = text(file);
            let weakened: Vec<Range<usize>> = weakenings
                .iter()
                .filter(|one| one.file == file)
                .map(|one| {
                    let start = text.find(&one.find).expect("its text is there");
                    start..start + one.find.len()
                })
                .collect();
            // The model of a queue is not what a model checks.
            let end = text.find("mod model {").unwrap_or(text.len());
            for place in orderings(&text[..end]) {
                let line = text[..place].lines().count();
                let known = weakened.iter().any(|weakened| weakened.contains(&place));
                assert!(known, "{}:{line}: nothing weakens this ordering", file.display());
            }
        }
    }
}
