//! `cargo xtask models --self-check`: weakenings planted on purpose, which models must see.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfy_table::{Table, presets};

use super::checker::{CRATES, Checker};
use super::model::{self, Ended};
use super::weakening::{self, Weakening};
use super::{chosen, print};
use crate::planted::{CONTROL, Tree};
use crate::workspace;

/// Schedules that shuttle's models try, always from the same seed: a result is the same again.
///
/// A weakening that is rarely seen needs more than the control, which has to try them all.
const SEED: (&str, &str) = ("SHUTTLE_RANDOM_SEED", "1");
const CONTROLS: (&str, &str) = ("FIRSTTOUCH_SHUTTLE_ITERATIONS", "200");
const WEAKENED: (&str, &str) = ("FIRSTTOUCH_SHUTTLE_ITERATIONS", "2000");

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
    let folder = workspace::target()?.join("models");
    let tree = Tree::take(workspace::root(), folder.join("tree"))?;
    let place = Place { target: folder, limit };
    tree.refresh()?;
    let mut results = place.control(tree.root(), &weakenings)?;
    for one in &weakenings {
        results.extend(tree.with(&one.change(), |root| place.weakened(root, one))?);
    }
    let wrong: Vec<_> = results.iter().filter(|result| !result.is_right).collect();
    print("");
    for result in &wrong {
        print(&result.line(limit));
    }
    let not_as_declared: BTreeSet<_> = wrong.iter().map(|result| &result.weakening).collect();
    let right = weakenings.iter().filter(|one| !not_as_declared.contains(&one.name)).count();
    print(&format!("{right} of {} weakenings are as declared", weakenings.len()));
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is run of a crate's models.
#[derive(Clone, Copy, Debug)]
struct Run<'a> {
    weakening: &'a str,
    /// The crate, which is that of what is weakened.
    of: &'a str,
    checker: Checker,
    /// How many schedules shuttle tries.
    schedules: (&'static str, &'static str),
}

/// Where models are built, and how long each may run.
struct Place {
    /// The copy's own: to cargo, what is built of it has the names of what is built of the sources.
    target: PathBuf,
    limit: Duration,
}

impl Place {
    /// Runs every model that a weakening names, without any.
    fn control(&self, root: &Path, weakenings: &[Weakening]) -> anyhow::Result<Vec<Result>> {
        let mut results = Vec::new();
        for of in CRATES {
            for checker in Checker::ALL {
                let weakenings = weakenings.iter().filter(|one| one.of() == of);
                let models: BTreeSet<_> = weakenings.flat_map(|one| one.models(checker)).collect();
                let run = Run { weakening: CONTROL, of, checker, schedules: CONTROLS };
                let is_right = |ended: &Ended| *ended == Ended::Passed;
                results.extend(self.run(root, run, models.into_iter(), is_right)?);
            }
        }
        Ok(results)
    }

    /// Runs the models that a weakening names, with it planted.
    fn weakened(&self, root: &Path, one: &Weakening) -> anyhow::Result<Vec<Result>> {
        let mut results = Vec::new();
        for checker in Checker::ALL {
            // A model that says nothing has not seen it.
            let is_right = |ended: &Ended| match one.unseen {
                Some(_) => *ended == Ended::Passed,
                None => matches!(ended, Ended::Failed(_)),
            };
            let run = Run { weakening: &one.name, of: one.of(), checker, schedules: WEAKENED };
            results.extend(self.run(root, run, one.models(checker).iter(), is_right)?);
        }
        Ok(results)
    }

    /// Builds what a checker runs, and runs some of its models.
    fn run<'a>(
        &self,
        root: &Path,
        run: Run<'_>,
        models: impl ExactSizeIterator<Item = &'a String>,
        is_right: impl Fn(&Ended) -> bool,
    ) -> anyhow::Result<Vec<Result>> {
        if models.len() == 0 {
            return Ok(Vec::new());
        }
        let Run { weakening, of, checker, schedules } = run;
        let programs = checker.build(root, &self.target, &[of])?;
        let program = programs.first().with_context(|| format!("{of} has no models"))?;
        let environment: &[_] = match checker {
            Checker::Loom => &[],
            Checker::Shuttle => &[SEED, schedules],
        };
        let run = |model: &String| {
            let ended = model::run(program, model, self.limit, environment)?;
            let is_right = is_right(&ended);
            let result = Result {
                weakening: weakening.to_owned(),
                checker,
                model: model.clone(),
                ended,
                is_right,
            };
            print(&result.line(self.limit));
            Ok(result)
        };
        models.map(run).collect()
    }
}

impl Result {
    /// Says how the model ended, and whether it should have.
    fn line(&self, limit: Duration) -> String {
        let Self { weakening, checker, model, ended, is_right } = self;
        let said = match ended {
            Ended::Passed => "passes".to_owned(),
            Ended::Failed(reason) => {
                format!("fails: {}", reason.chars().take(80).collect::<String>())
            }
            Ended::Late => format!("says nothing in {} s", limit.as_secs()),
        };
        let is_control = weakening == CONTROL;
        let verdict = match (is_right, ended) {
            (true, _) => "",
            (false, _) if is_control => "  <- WRONG without a weakening",
            (false, Ended::Failed(_)) => "  <- SEEN, though said to be unseen",
            (false, _) => "  <- NOT SEEN",
        };
        format!("{weakening}: {} {model} {said}{verdict}", checker.name())
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
