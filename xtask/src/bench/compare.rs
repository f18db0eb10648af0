//! `cargo xtask bench fork-join` and `cargo xtask bench tasks`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use firsttouch::Topology;
use firsttouch_benches::comparison::{Comparison, Outcome};
use firsttouch_benches::measure::clock_ns;
use firsttouch_benches::room::Room;
use firsttouch_benches::runtime::Known;
use firsttouch_benches::suite::{Effort, Suite};
use firsttouch_benches::target::Target;
use firsttouch_benches::{Busy, machine, size};
use indicatif::{ProgressBar, ProgressStyle};

use super::comparison_table;
use super::measure_program;
use super::record::Record;

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
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = threads)]
    threads: Vec<NonZeroUsize>,

    /// Do as little as shows that everything works; the figures then say nothing.
    #[arg(long)]
    brief: bool,

    /// Write the rows to this file as one JSON array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the rows to this file as comma-separated values.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// Reads a count; the standard refusal of 0 speaks of types.
fn rounds(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "at least 1 round is needed, and a whole number of them")
}

fn threads(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "at least 1 thread is needed, and a whole number of them")
}

pub(crate) fn run(suite: Suite, args: &Args) -> anyhow::Result<ExitCode> {
    // Whatever can be refused is refused before minutes are spent.
    let (json, csv) = Record::prepare_both(args.json.as_deref(), args.csv.as_deref())?;
    let topology = Topology::discover().context("cannot read this machine")?;
    let room = Room::read(&topology)?;
    let effort = if args.brief { Effort::Brief } else { Effort::Full };
    if suite == Suite::Tasks {
        room.check(3 * effort.array_bytes() as u64)?;
    }
    let cpus = topology.allowed().parallelism();
    let threads = threads_to_measure(&args.threads, cpus)?;
    let program = measure_program::build()?;
    let (runtimes, left_out) = runtimes_to_measure(&args.runtimes, &program.runtimes)?;
    let comparison = Comparison {
        suite,
        program: program.path,
        runtimes,
        threads,
        rounds: args.rounds,
        cases: args.cases.clone(),
        effort,
    };
    ensure!(
        comparison.measurements() > 0,
        "no case of {suite} contains {}; its cases are {}",
        args.cases.join(" or "),
        names_of_cases(suite, effort)
    );

    print_header(&comparison, &machine::facts(&topology, &room), &left_out);
    let busy = Busy::start();
    let outcome = measure(&comparison)?;
    print_outcome(&outcome, effort, busy.and_then(|busy| busy.others()));
    let rows = outcome.record();
    for record in [json, csv].into_iter().flatten() {
        record.write(&rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn names_of_cases(suite: Suite, effort: Effort) -> String {
    let cases = suite.groups().iter().flat_map(|group| group.cases(effort));
    cases.collect::<Vec<_>>().join(", ")
}

fn threads_to_measure(
    asked: &[NonZeroUsize],
    cpus: NonZeroUsize,
) -> anyhow::Result<Vec<NonZeroUsize>> {
    let mut threads = asked.to_vec();
    if threads.is_empty() {
        let doubled = |n: &NonZeroUsize| n.checked_mul(NonZeroUsize::MIN.saturating_add(1));
        let powers = std::iter::successors(Some(NonZeroUsize::MIN), doubled);
        threads.extend(powers.take_while(|&n| n < cpus));
        threads.push(cpus);
    }
    threads.sort_unstable();
    threads.dedup();
    if let Some(&most) = threads.last().filter(|&&most| most > cpus) {
        bail!(
            "--threads {most}: {cpus} can run at once here; more would measure the kernel's turns"
        );
    }
    Ok(threads)
}

/// The runtimes to measure with their versions, and those that are left out with a word.
type RuntimesToMeasure = (Vec<(String, Option<String>)>, Vec<Known>);

/// A runtime that was asked for must be there; one that was not is left out with a word.
fn runtimes_to_measure(asked: &[String], known: &[Known]) -> anyhow::Result<RuntimesToMeasure> {
    for name in asked {
        let Some(found) = known.iter().find(|known| known.name == *name) else {
            let names: Vec<_> = known.iter().map(|known| known.name.as_str()).collect();
            bail!("there is no runtime {name:?}; the runtimes are {}", names.join(", "));
        };
        if let Some(needs) = &found.needs {
            bail!("{name} is not in this build: it needs {needs}");
        }
    }
    let wanted = known.iter().filter(|known| asked.is_empty() || asked.contains(&known.name));
    let (there, left_out): (Vec<&Known>, Vec<&Known>) =
        wanted.partition(|known| known.needs.is_none());
    let named = there.into_iter().map(|known| (known.name.clone(), known.version.clone()));
    Ok((named.collect(), left_out.into_iter().cloned().collect()))
}

fn measure(comparison: &Comparison) -> anyhow::Result<Outcome> {
    // Draws on standard error, and nothing at all where that is no terminal.
    let bar = ProgressBar::new(comparison.measurements() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed}  {msg}")?);
    let mut started = 0;
    let outcome = comparison.run(|next| {
        bar.set_position(started);
        bar.set_message(next.to_owned());
        // Drawn here and not by a thread: nothing but the measurement runs meanwhile.
        bar.tick();
        started += 1;
    });
    bar.finish_and_clear();
    outcome
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_header(comparison: &Comparison, machine: &[(&'static str, String)], left_out: &[Known]) {
    let Comparison { suite, rounds, effort, .. } = comparison;
    let rounds = match rounds.get() {
        1 => "1 round".to_owned(),
        n => format!("{n} rounds, interleaved"),
    };
    println!("{suite}: {rounds}, a process for each runtime and group of cases");
    if *effort == Effort::Brief {
        println!("brief: everything works, and the figures say nothing");
    }
    println!();
    let threads: Vec<_> = comparison.threads.iter().map(ToString::to_string).collect();
    let mut facts = machine.to_vec();
    facts.push(("threads", format!("{}, the caller included", threads.join(", "))));
    facts.push(("ratio", "firsttouch over the row's runtime, median of the rounds".to_owned()));
    facts.extend(comparison_table::legend(*suite, *effort, size::exact));
    if *suite == Suite::ForkJoin {
        facts
            .push(("clock", format!("p50, p90 and p99 include a reading of {:.0} ns", clock_ns())));
    }
    for (name, version) in &comparison.runtimes {
        facts.push(("runtime", format!("{name} {}", version.as_deref().unwrap_or_default())));
    }
    for Known { name, needs, .. } in left_out {
        facts.push(("left out", format!("{name}: needs {}", needs.as_deref().unwrap_or_default())));
    }
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        println!("{name:width$}  {value}");
    }
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
    fn threads_double_up_to_all_cpus() {
        let default = |cpus| {
            let threads = threads_to_measure(&[], count(cpus)).expect("nothing was asked");
            threads.into_iter().map(NonZeroUsize::get).collect::<Vec<_>>()
        };
        assert_eq!(default(1), [1]);
        assert_eq!(default(2), [1, 2]);
        assert_eq!(default(6), [1, 2, 4, 6]);
        assert_eq!(default(8), [1, 2, 4, 8]);
        let asked = threads_to_measure(&[count(2), count(1), count(2)], count(4));
        assert_eq!(asked.expect("there are as many"), [count(1), count(2)]);
        let error = threads_to_measure(&[count(5)], count(4)).expect_err("there are fewer");
        assert!(error.to_string().contains("4 can run at once"), "{error}");
    }

    #[test]
    fn runtimes_that_are_missing_are_refused_when_asked_for_and_left_out_when_not() {
        let known = |name: &str, needs: Option<&str>| Known {
            name: name.to_owned(),
            version: Some("1".to_owned()),
            needs: needs.map(str::to_owned),
        };
        let all = [known("firsttouch", None), known("onetbb", Some("oneTBB"))];
        let (there, left_out) = runtimes_to_measure(&[], &all).expect("nothing was asked");
        assert_eq!(there, [("firsttouch".to_owned(), Some("1".to_owned()))]);
        assert_eq!(left_out, [all[1].clone()]);
        let refusal = |name: &str| {
            let error = runtimes_to_measure(&[name.to_owned()], &all).expect_err("it is not there");
            error.to_string()
        };
        assert_eq!(refusal("onetbb"), "onetbb is not in this build: it needs oneTBB");
        assert!(refusal("slow").contains("the runtimes are firsttouch, onetbb"));
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
