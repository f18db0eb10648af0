//! `cargo xtask bench memory`.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use bytesize::ByteSize;
use firsttouch::Topology;
use firsttouch_benches::comparison::{Comparison, Outcome};
use firsttouch_benches::operations::{Case, Operation, Plan, obstacle};
use firsttouch_benches::page_init::Pages;
use firsttouch_benches::room::Room;
use firsttouch_benches::suite::{Effort, Suite};
use firsttouch_benches::target::OURS;
use firsttouch_benches::{Busy, machine, size};

use super::page_init::{repetitions, size_in_bytes};
use super::record::{Files, Outputs};
use super::{beside, comparison_table, measure_program, plot};

/// Options of `cargo xtask bench memory`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these operations: release, pin, migrate, replicate, locality [default: all that this process can do].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    operations: Vec<Operation>,

    /// Bytes, such as 512MiB or 64MiB,1GiB [default: 1GiB, or 64MiB with --brief].
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = size_in_bytes)]
    size: Vec<ByteSize>,

    /// Kinds of page: base, thp, huge [default: base and thp, where they can be had].
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pages: Vec<Pages>,

    /// Repetitions of every row, interleaved.
    #[arg(long, alias = "rounds", value_name = "N", default_value = "5", value_parser = repetitions)]
    reps: NonZeroUsize,

    /// Only these beside firsttouch: one-thread, threads [default: both].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    runtimes: Vec<String>,

    /// Number of threads [default: all CPUs].
    #[arg(long, value_name = "N", value_parser = beside::threads)]
    threads: Option<NonZeroUsize>,

    /// Do as little as shows that everything works; the figures then say nothing.
    #[arg(long)]
    brief: bool,

    #[command(flatten)]
    files: Files,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Whatever can be refused is refused before minutes are spent.
    let outputs = Outputs::prepare(&args.files)?;
    let topology = Topology::discover().context("cannot read this machine")?;
    let room = Room::read(&topology)?;
    let (cases, cannot) = cases_to_measure(args, &topology, &room)?;
    let cpus = topology.allowed().parallelism();
    let threads = beside::threads_to_measure(args.threads.as_slice(), cpus)?;
    let program = measure_program::build(Suite::Memory)?;
    let (runtimes, left_out) =
        beside::runtimes_to_measure(&args.runtimes, &[OURS], &program.runtimes)?;
    let plan = Plan {
        cases,
        runtimes: runtimes.iter().map(|known| known.name.clone()).collect(),
        threads: threads.last().copied().unwrap_or(cpus),
        effort: if args.brief { Effort::Brief } else { Effort::Full },
    };
    let comparison = Comparison {
        suite: Suite::Memory,
        program: program.path,
        runtimes: beside::names_and_versions(&runtimes),
        rounds: args.reps,
        requests: plan.requests(),
    };

    let mut facts = machine::facts(&topology, &room);
    facts.extend(legend(&plan));
    facts.extend(beside::runtime_facts(&runtimes, &left_out));
    facts.extend(cannot.into_iter().map(|why| ("left out", why)));
    print_header(args, &facts);
    let busy = Busy::start();
    let outcome = beside::measure(&comparison)?;
    print_outcome(&outcome, &plan, busy.and_then(|busy| busy.others()));
    outputs.write(&outcome.record(), || plot::comparison(&outcome))?;
    Ok(ExitCode::SUCCESS)
}

/// The cases, and what is left out with a word; what was asked for by name must be possible.
fn cases_to_measure(
    args: &Args,
    topology: &Topology,
    room: &Room,
) -> anyhow::Result<(Vec<Case>, Vec<String>)> {
    let mut sizes: Vec<u64> = args.size.iter().map(|size| size.as_u64()).collect();
    if sizes.is_empty() {
        let wanted = if args.brief { 64 << 20 } else { 1 << 30 };
        sizes.push(wanted.min(room.default_size()?));
    }
    sizes.sort_unstable();
    sizes.dedup();
    ensure!(sizes[0] > 0, "--size 0: there is nothing to measure; 1GiB would do");
    let mut operations = args.operations.clone();
    if operations.is_empty() {
        operations = Operation::ALL.to_vec();
    }
    operations.sort_unstable();
    operations.dedup();
    let mut kinds = args.pages.clone();
    if kinds.is_empty() {
        kinds = vec![Pages::Base, Pages::Thp];
    }
    kinds.sort_unstable();
    kinds.dedup();
    // A replication holds its source and a copy for each node.
    let copies = topology.nodes().len().max(1) as u64 + 1;
    let (mut cases, mut left_out) = (Vec::new(), Vec::new());
    for operation in operations {
        for &bytes in &sizes {
            let needed = match operation {
                Operation::Replicate => bytes.saturating_mul(copies),
                _ => bytes,
            };
            room.check(needed).with_context(|| format!("{operation}, {}", size::exact(bytes)))?;
            if let Some(why) = obstacle(operation, bytes, topology) {
                ensure!(args.operations.is_empty(), "{operation}: {why}");
                left_out.push(format!("{operation}, {}: {why}", size::exact(bytes)));
                continue;
            }
            for &pages in &kinds {
                match pages.page_size(topology, bytes) {
                    Ok(_) => cases.push(Case { operation, pages, bytes }),
                    Err(refusal) if !args.pages.is_empty() => bail!(refusal),
                    Err(refusal) => left_out.push(format!("{operation}: {refusal}")),
                }
            }
        }
    }
    ensure!(!cases.is_empty(), "nothing can be measured: {}", left_out.join("; "));
    Ok((cases, left_out))
}

fn legend(plan: &Plan) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("threads", format!("{}, the caller included", plan.threads)),
        ("ratio", "firsttouch's time over the row's, median of the repetitions".to_owned()),
        (
            "warm",
            "before each repetition, as much as it measures is populated and freed".to_owned(),
        ),
        (
            "given",
            "the same to all: memory that plain threads have populated, or fresh memory".to_owned(),
        ),
        ("checked", "after each repetition: what was to be done was done".to_owned()),
    ];
    for operation in Operation::ALL {
        if plan.cases.iter().any(|case| case.operation == operation) {
            facts.push(("operation", format!("{operation}: {}", operation.what())));
        }
    }
    facts
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_header(args: &Args, facts: &[(&'static str, String)]) {
    let repetitions = match args.reps.get() {
        1 => "1 repetition".to_owned(),
        n => format!("{n} repetitions, interleaved"),
    };
    println!("memory: {repetitions}, a process for each runtime and case");
    if args.brief {
        println!("brief: everything works, and the figures say nothing");
    }
    println!();
    beside::print_facts(facts);
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_outcome(outcome: &Outcome, plan: &Plan, others: Option<f64>) {
    for table in comparison_table::groups(outcome) {
        println!("\n{table}");
    }
    println!("\ntargets\n{}", comparison_table::targets(outcome, &plan.targets()));
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

    fn cases(options: &[&str]) -> anyhow::Result<(Vec<Case>, Vec<String>)> {
        let topology = Topology::discover().expect("this machine can be read");
        let room = Room::read(&topology).expect("every Linux tells");
        cases_to_measure(&parse(options).expect("all of these are options"), &topology, &room)
    }

    #[test]
    fn bad_options_are_refused_with_what_would_be_right() {
        let refusal = |options: &[&str]| parse(options).expect_err("the option is wrong");
        assert!(refusal(&["--operations", "burn"]).contains("release, pin, migrate"));
        assert!(refusal(&["--size", "lots"]).contains("512MiB or 4GiB"));
        assert!(refusal(&["--reps", "0"]).contains("at least 1 repetition"));
        let error = cases(&["--size", "0"]).expect_err("there is nothing to measure");
        assert!(error.to_string().contains("1GiB would do"), "{error}");
        let error = cases(&["--size", "9000TiB"]).expect_err("nobody has so much");
        assert!(format!("{error:#}").contains("does not fit"), "{error:#}");
    }

    #[test]
    fn operations_and_kinds_of_page_are_measured_in_order_and_once() {
        let options = ["--operations", "release,release", "--pages", "base", "--size", "1MiB"];
        let (cases, left_out) = cases(&options).expect("every machine can do this");
        let names: Vec<_> = cases.iter().map(ToString::to_string).collect();
        assert_eq!((names, left_out), (vec!["release/base/1MiB".to_owned()], Vec::new()));
    }
}
