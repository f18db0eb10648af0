//! `cargo xtask models`: the protocols of pools and jobs under loom and shuttle.
//!
//! With `--self-check`, each weakening in `xtask/weakenings/` is planted in a
//! copy of the sources, and the models that it names must fail. The copy
//! without one is the control: there the same models must pass.

mod checker;
mod model;
mod self_check;
mod weakening;

use std::process::ExitCode;
use std::time::{Duration, Instant};

pub(crate) use checker::{CRATES, Checker};
use model::Ended;

/// Options of `cargo xtask models`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plant the weakenings in `xtask/weakenings/` one by one, and make sure that each makes its models fail.
    #[arg(long)]
    self_check: bool,

    /// List the weakenings, and which models must see each; run nothing.
    #[arg(long)]
    list: bool,

    /// How many seconds one model may take; one that takes longer has neither passed nor failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit: u64,

    /// Run only the models whose name contains one of these; with --self-check or --list, only these weakenings.
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let limit = Duration::from_secs(args.limit);
    if args.list {
        self_check::list(&args.filter)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.self_check {
        return self_check::run(limit, &args.filter);
    }
    run_models(limit, &args.filter)
}

/// Runs the models of this workspace one by one.
fn run_models(limit: Duration, filter: &[String]) -> anyhow::Result<ExitCode> {
    let (root, target) = (crate::workspace::root(), crate::workspace::target()?);
    let (mut ran, mut wrong) = (0, 0);
    for checker in Checker::ALL {
        for program in checker.build(root, &target, &CRATES)? {
            for name in model::list(&program)?.iter().filter(|name| chosen(name, filter)) {
                let began = Instant::now();
                let ended = model::run(&program, name, limit, &[])?;
                let took = began.elapsed().as_secs_f32();
                ran += 1;
                wrong += usize::from(ended != Ended::Passed);
                let ended = match ended {
                    Ended::Passed => "ok".to_owned(),
                    Ended::Failed(reason) => format!("FAILED: {reason}"),
                    Ended::Late => format!("LATE: not done in {} s", limit.as_secs()),
                };
                print(&format!("{} {name} ... {ended} ({took:.1} s)", checker.name()));
            }
        }
    }
    anyhow::ensure!(ran > 0, "no model is called like {}", filter.join(" or "));
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(name: &str, filter: &[String]) -> bool {
    filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()))
}

#[expect(clippy::print_stdout, reason = "a command's result goes to standard output")]
fn print(text: &str) {
    println!("{text}");
}
