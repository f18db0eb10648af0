//! `cargo xtask test`: everything the project checks, step by step.
//!
//! A step is one [`Step`] in [`STEPS`]: a name, what it makes sure of, and a
//! function. A step that cannot run on this machine is skipped aloud with what
//! it lacks; only one that ran and found nothing wrong counts as passed.

mod cargo;
mod command;
mod comparison;
mod fork_union;
mod hwloc;
mod layering;
mod msrv;
mod numa_lab;
mod operations;
mod page_init;
mod project;
mod recorded;
mod step;
mod summary;
mod thread_sanitizer;

use std::process::ExitCode;
use std::time::Instant;

use command::say;
use project::Project;
use step::{Finding, Step, Verdict};
use summary::{Line, Outcome};

/// Every check, in the order they run: quick ones first.
const STEPS: &[Step] = &[
    Step { name: "fmt", what: "every file is formatted", run: cargo::fmt },
    Step {
        name: "layering",
        what: "crates depend one way, and the library builds no C",
        run: layering::check,
    },
    Step { name: "msrv", what: "the oldest compiler named builds it all", run: msrv::check },
    Step { name: "clippy", what: "no lint has anything to say", run: cargo::clippy },
    Step { name: "tests", what: "unit, integration and documentation tests", run: cargo::tests },
    Step {
        name: "recorded-machines",
        what: "recorded machines read as hwloc reads them",
        run: recorded::check,
    },
    Step { name: "docs", what: "the documentation builds without a warning", run: cargo::docs },
    Step { name: "hwloc", what: "lints and tests with the feature hwloc", run: hwloc::check },
    Step {
        name: "fork-union",
        what: "lints and tests with fork_union, a rival that needs a C++ compiler",
        run: fork_union::check,
    },
    Step { name: "loom", what: "lock-free protocols under every schedule", run: cargo::loom },
    Step {
        name: "shuttle",
        what: "whole pools and loops under random schedules",
        run: cargo::shuttle,
    },
    Step {
        name: "thread-sanitizer",
        what: "no data race in what a pool can run; needs a nightly compiler",
        run: thread_sanitizer::check,
    },
    Step {
        name: "bench-page-init",
        what: "a small page-init benchmark beside rivals, its record and its plot sound",
        run: page_init::check,
    },
    Step {
        name: "bench-fork-join",
        what: "a brief fork-join benchmark beside rivals, its record sound",
        run: comparison::fork_join,
    },
    Step {
        name: "bench-tasks",
        what: "a brief tasks benchmark beside rivals, its record sound",
        run: comparison::tasks,
    },
    Step {
        name: "bench-memory",
        what: "a brief memory benchmark beside rivals, its record sound",
        run: operations::check,
    },
    Step {
        name: "numa-lab",
        what: "placement on emulated machines with several nodes",
        run: numa_lab::check,
    },
];

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name the steps and what each makes sure of; run none.
    #[arg(long)]
    list: bool,

    /// Run only these steps.
    #[arg(long, value_name = "STEP", num_args = 1.., value_delimiter = ',', value_parser = names())]
    only: Vec<String>,

    /// Go on after a step that failed.
    #[arg(long)]
    keep_going: bool,
}

fn names() -> clap::builder::PossibleValuesParser {
    STEPS.iter().map(|step| step.name).collect::<Vec<_>>().into()
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.list {
        let width = STEPS.iter().map(|step| step.name.len()).max().unwrap_or(0);
        for step in STEPS {
            say(&format!("{:width$}  {}", step.name, step.what));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let project = Project::find()?;
    let chosen = |step: &&Step| args.only.is_empty() || args.only.iter().any(|n| n == step.name);
    let mut lines = Vec::new();
    let mut stopped = false;
    for step in STEPS.iter().filter(chosen) {
        let started = Instant::now();
        let outcome =
            if stopped { Outcome::NotRun } else { Outcome::Ran(run_step(step, &project)) };
        stopped |= outcome.failed() && !args.keep_going;
        lines.push(Line { name: step.name, outcome, took: started.elapsed() });
    }
    say(&format!("\n{}", summary::table(&lines)));
    say(&summary::counts(&lines));
    let failed = lines.iter().any(|line| line.outcome.failed());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_step(step: &Step, project: &Project) -> Finding {
    say(&format!("== {}: {}", step.name, step.what));
    let finding = match (step.run)(project) {
        Ok(finding) => finding,
        // What went wrong in a command is printed already; this says which command.
        Err(error) => Finding { verdict: Verdict::Failed, note: format!("{error:#}") },
    };
    match finding.verdict {
        Verdict::Passed => {}
        Verdict::Skipped => say(&format!("SKIPPED: {}", finding.note)),
        Verdict::Failed => say(&format!("FAILED: {}", finding.note)),
    }
    finding
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_steps_share_a_name() {
        let names: BTreeSet<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
    }
}
