//! `cargo xtask bench fork-join` and `cargo xtask bench tasks`.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use firsttouch::Topology;
use firsttouch_benches::comparison::{Comparison, Outcome};
use firsttouch_benches::measure::clock_ns;
use firsttouch_benches::requests::Selection;
use firsttouch_benches::room::Room;
use firsttouch_benches::suite::{Effort, Suite};
use firsttouch_benches::target::Target;
use firsttouch_benches::{Busy, machine, size};

use super::record::{Files, Outputs};
use super::{beside, comparison_table, measure_program, plot};

/// Options of `cargo xtask bench fork-join` and `cargo xtask bench tasks`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often everything is measured, interleaved.
    #[arg(long, value_name = "N", default_value = "5", value_parser = rounds)]
    rounds: NonZeroUsize,

    /// Only cases whose name contains one of these words, such as `cold` or `fib` [default: all].
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    cases: Vec<String>,

    /// Only these runtimes, such as `firsttouch,rayon` [default: all that are in this build].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    runtimes: Vec<String>,

    /// Numbers of threads [default: 1, 2, 4 and so on, up to all CPUs]; most cases use the largest only.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = beside::threads)]
    threads: Vec<NonZeroUsize>,

    /// Do as little as shows that everything works; the figures then say nothing.
    #[arg(long)]
    brief: bool,

    #[command(flatten)]
    files: Files,
}

/// Reads a count; the standard refusal of 0 speaks of types.
fn rounds(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "at least 1 round is needed, and a whole number of them")
}

pub(crate) fn run(suite: Suite, args: &Args) -> anyhow::Result<ExitCode> {
    // Whatever can be refused is refused before minutes are spent.
    let outputs = Outputs::prepare(&args.files)?;
    let topology = Topology::discover().context("cannot read this machine")?;
    let room = Room::read(&topology)?;
    let effort = if args.brief { Effort::Brief } else { Effort::Full };
    if suite == Suite::Tasks {
        room.check(3 * effort.array_bytes() as u64)?;
    }
    let cpus = topology.allowed().parallelism();
    let threads = beside::threads_to_measure(&args.threads, cpus)?;
    let program = measure_program::build(suite)?;
    let (runtimes, left_out) = beside::runtimes_to_measure(&args.runtimes, &[], &program.runtimes)?;
    let selection = Selection {
        suite,
        runtimes: runtimes.iter().map(|known| known.name.clone()).collect(),
        threads,
        cases: args.cases.clone(),
        effort,
    };
    let comparison = Comparison {
        suite,
        program: program.path,
        runtimes: beside::names_and_versions(&runtimes),
        rounds: args.rounds,
        requests: selection.requests(),
    };
    ensure!(
        comparison.measurements() > 0,
        "no case of {suite} contains {}; its cases are {}",
        args.cases.join(" or "),
        names_of_cases(suite, effort)
    );

    let runtimes = beside::runtime_facts(&runtimes, &left_out);
    print_header(&selection, args.rounds, machine::facts(&topology, &room), runtimes);
    let busy = Busy::start();
    let outcome = beside::measure(&comparison)?;
    print_outcome(&outcome, effort, busy.and_then(|busy| busy.others()));
    outputs.write(&outcome.record(), || plot::comparison(&outcome))?;
    Ok(ExitCode::SUCCESS)
}

fn names_of_cases(suite: Suite, effort: Effort) -> String {
    let cases = suite.groups().iter().flat_map(|group| group.cases(effort));
    cases.collect::<Vec<_>>().join(", ")
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_header(
    selection: &Selection,
    rounds: NonZeroUsize,
    machine: Vec<(&'static str, String)>,
    runtimes: Vec<(&'static str, String)>,
) {
    let Selection { suite, effort, .. } = selection;
    let rounds = match rounds.get() {
        1 => "1 round".to_owned(),
        n => format!("{n} rounds, interleaved"),
    };
    println!("{suite}: {rounds}, a process for each runtime and group of cases");
    if *effort == Effort::Brief {
        println!("brief: everything works, and the figures say nothing");
    }
    println!();
    let threads: Vec<_> = selection.threads.iter().map(ToString::to_string).collect();
    let mut facts = machine;
    facts.push(("threads", format!("{}, the caller included", threads.join(", "))));
    facts.push(("ratio", "firsttouch over the row's runtime, median of the rounds".to_owned()));
    facts.extend(comparison_table::legend(*suite, *effort, size::exact));
    if *suite == Suite::ForkJoin {
        facts
            .push(("clock", format!("p50, p90 and p99 include a reading of {:.0} ns", clock_ns())));
    }
    facts.extend(runtimes);
    beside::print_facts(&facts);
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_outcome(outcome: &Outcome, effort: Effort, others: Option<f64>) {
    for table in comparison_table::groups(outcome) {
        println!("\n{table}");
    }
    if let Some(table) = comparison_table::scaling(outcome) {
        println!("\nby number of threads\n{table}");
    }
    let targets = Target::of(outcome.suite, effort);
    println!("\ntargets\n{}", comparison_table::targets(outcome, &targets));
    if let Some(others) = others {
        println!("\n{}", comparison_table::others(others));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(options: &[&str]) -> Result<Args, String> {
        let words = std::iter::once("bench").chain(options.iter().copied());
        Cli::try_parse_from(words).map(|cli| cli.args).map_err(|error| error.to_string())
    }

    fn count(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).expect("a test asks for something")
    }

    #[test]
    fn options_are_read_as_people_write_them() {
        let args = parse(&["--rounds", "3", "--cases", "cold,fib", "--threads", "1,2"]);
        let args = args.expect("all of these are documented");
        assert_eq!(args.rounds.get(), 3);
        assert_eq!(args.cases, ["cold", "fib"]);
        assert_eq!(args.threads, [count(1), count(2)]);
        let default = parse(&[]).expect("every option has a default");
        assert_eq!((default.rounds.get(), default.brief), (5, false));
    }

    #[test]
    fn bad_counts_are_refused_with_what_would_be_right() {
        let refusal = |options: &[&str]| parse(options).expect_err("the option is wrong");
        assert!(refusal(&["--rounds", "0"]).contains("at least 1 round"));
        assert!(refusal(&["--threads", "2,many"]).contains("at least 1 thread"));
    }

    #[test]
    fn two_records_in_one_file_are_refused_before_anything_is_built() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("rows").display().to_string();
        let args = parse(&["--json", &file, "--csv", &file]).expect("each is a path");
        let error = run(Suite::Tasks, &args).expect_err("one would replace the other");
        assert!(error.to_string().contains("name two"), "{error:#}");
    }
}
