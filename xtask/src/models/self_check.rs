//! `cargo xtask models --self-check`: weakenings planted on purpose, which models must see.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use comfy_table::{Table, presets};

use super::checker::Checker;
use super::model::{self, Ended};
use super::weakening::{self, Weakening};
use super::{chosen, package, print};
use crate::planted::{CONTROL, Tree};
use crate::workspace;

/// Schedules that shuttle's models try of each weakening, always from the same seed: a result is the same again.
const SHUTTLE: [(&str, &str); 2] =
    [("FIRSTTOUCH_SHUTTLE_ITERATIONS", "4000"), ("SHUTTLE_RANDOM_SEED", "1")];

/// One model with one weakening, or with none.
#[derive(Debug)]
struct Result {
    weakening: String,
    checker: Checker,
    model: String,
    ended: Ended,
    /// Whether this is how it must end.
    is_right: bool,
}

/// Names the weakenings, and who must see each.
pub(super) fn list(filter: &[String]) -> anyhow::Result<()> {
    let mut table = table(["weakening", "what it is", "seen by"]);
    for one in choose(filter)? {
        let models = Checker::ALL.into_iter().flat_map(|checker| {
            let name = move |model: &String| format!("{}: {model}", checker.name());
            one.models(checker).iter().map(name)
        });
        let seen = match &one.unseen {
            Some(why) => format!("no model: {why}"),
            None => models.collect::<Vec<_>>().join("\n"),
        };
        table.add_row([&one.name, &one.about, &seen]);
    }
    print(&table.to_string());
    Ok(())
}

/// Plants the weakenings whose name contains one of the filter's texts, all of them by default.
pub(super) fn run(limit: Duration, filter: &[String]) -> anyhow::Result<ExitCode> {
    let weakenings = choose(filter)?;
    let target = workspace::target()?;
    let tree = Tree::new(workspace::root(), target.join("models"));
    let place = Place { target, limit };
    tree.refresh()?;
    let mut results = place.control(tree.root(), &weakenings)?;
    for one in &weakenings {
        results.extend(tree.with(&one.change(), |root| place.weakened(root, one))?);
    }
    let mut table = table(["weakening", "model", "what it said"]);
    for Result { weakening, checker, model, ended, .. } in &results {
        let said = match ended {
            Ended::Passed => "nothing: it passes".to_owned(),
            Ended::Failed(reason) => reason.chars().take(100).collect(),
            Ended::Late => format!("nothing in {} s", limit.as_secs()),
        };
        table.add_row([weakening.clone(), format!("{} {model}", checker.name()), said]);
    }
    print(&table.to_string());
    let wrong: Vec<_> = results.iter().filter(|result| !result.is_right).collect();
    for Result { weakening, checker, model, ended, .. } in &wrong {
        let trouble = if weakening == CONTROL {
            "FAILED without a weakening"
        } else if matches!(ended, Ended::Failed(_)) {
            "SEEN, though said to be unseen"
        } else {
            "NOT SEEN"
        };
        print(&format!("{trouble}: {weakening}: {} {model}", checker.name()));
    }
    let seen = results.iter().filter(|result| result.is_right && result.weakening != CONTROL);
    let seen: BTreeSet<_> = seen.map(|result| &result.weakening).collect();
    print(&format!("{} of {} weakenings are as declared", seen.len(), weakenings.len()));
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where models are built, and how long each may run.
struct Place {
    /// Shared with the sources themselves: all that the models depend on is built once.
    target: PathBuf,
    limit: Duration,
}

impl Place {
    /// Runs every model that a weakening names, without any.
    fn control(&self, root: &Path, weakenings: &[Weakening]) -> anyhow::Result<Vec<Result>> {
        let mut results = Vec::new();
        for checker in Checker::ALL {
            let models: BTreeSet<_> =
                weakenings.iter().flat_map(|one| one.models(checker)).collect();
            if models.is_empty() {
                continue;
            }
            let program = checker.build(root, &self.target)?;
            for model in models {
                let ended = self.run(&program, root, checker, model)?;
                let is_right = ended == Ended::Passed;
                let (weakening, model) = (CONTROL.to_owned(), model.clone());
                results.push(Result { weakening, checker, model, ended, is_right });
            }
        }
        Ok(results)
    }

    /// Runs the models that a weakening names, with it planted.
    fn weakened(&self, root: &Path, one: &Weakening) -> anyhow::Result<Vec<Result>> {
        let mut results = Vec::new();
        for checker in Checker::ALL {
            if one.models(checker).is_empty() {
                continue;
            }
            let program = checker.build(root, &self.target)?;
            for model in one.models(checker) {
                let ended = self.run(&program, root, checker, model)?;
                // A model that says nothing has not seen it.
                let is_right = match one.unseen {
                    Some(_) => ended == Ended::Passed,
                    None => matches!(ended, Ended::Failed(_)),
                };
                let (weakening, model) = (one.name.clone(), model.clone());
                results.push(Result { weakening, checker, model, ended, is_right });
            }
        }
        Ok(results)
    }

    fn run(
        &self,
        program: &Path,
        root: &Path,
        checker: Checker,
        model: &str,
    ) -> anyhow::Result<Ended> {
        let environment: &[_] = match checker {
            Checker::Loom => &[],
            Checker::Shuttle => &SHUTTLE,
        };
        model::run(program, &package(root), model, self.limit, environment)
    }
}

fn choose(filter: &[String]) -> anyhow::Result<Vec<Weakening>> {
    let mut weakenings = weakening::all()?;
    weakenings.retain(|one| chosen(&one.name, filter));
    ensure!(!weakenings.is_empty(), "no weakening is called like {}", filter.join(" or "));
    Ok(weakenings)
}

fn table(header: [&str; 3]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header);
    table
}
