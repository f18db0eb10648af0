//! `cargo xtask bench page-init`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use firsttouch::{PageSize, Pool, Topology};
use firsttouch_benches::page_init::{CannotBeHad, Outcome, Pages, Suite};
use firsttouch_benches::room::Room;
use firsttouch_benches::{machine, size};
use indicatif::{ProgressBar, ProgressStyle};

use super::record::Record;
use super::table;

/// Options of `cargo xtask bench page-init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bytes to initialise, such as 512MiB or 4GiB [default: what fits and stays warm, at most 8GiB].
    #[arg(long, value_name = "SIZE", value_parser = size_in_bytes)]
    size: Option<ByteSize>,

    /// Kinds of page: base, thp, huge [default: base and thp, and huge where a pool has enough free pages].
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pages: Vec<Pages>,

    /// Repetitions of every row, interleaved.
    #[arg(long, value_name = "N", default_value = "5", value_parser = repetitions)]
    reps: NonZeroUsize,

    /// Show and record each node's own time too.
    #[arg(long)]
    per_node: bool,

    /// Write the rows to this file as one JSON array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the rows to this file as comma-separated values.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// Reads a size; the crate's own refusals speak of how it parses, not of what to write.
fn size_in_bytes(text: &str) -> Result<ByteSize, &'static str> {
    text.parse().map_err(|_| "a size is a number and a unit, such as 512MiB or 4GiB")
}

/// Reads a count; the standard refusal of 0 speaks of types.
fn repetitions(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "a row needs at least 1 repetition, and a whole number of them")
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Whatever can be refused is refused before minutes are spent.
    let (json, csv) = Record::prepare_both(args.json.as_deref(), args.csv.as_deref())?;
    let topology = Arc::new(Topology::discover().context("cannot read this machine")?);
    let room = Room::read(&topology)?;
    let bytes = size_to_measure(args, &topology, &room)?;
    let (pages, left_out) = pages_to_measure(&args.pages, &topology, bytes)?;
    let pool = Pool::builder().topology(Arc::clone(&topology)).build();
    let pool = pool.context("cannot start the pool")?;
    let suite = Suite { bytes: usize::try_from(bytes)?, pages, repetitions: args.reps };

    print_header(&suite, &pool, &room, &left_out);
    let outcomes = measure(&suite, &pool)?;
    for outcome in &outcomes {
        print_outcome(outcome, args.per_node);
    }
    let rows: Vec<_> = outcomes.iter().flat_map(|outcome| outcome.record(args.per_node)).collect();
    for record in [json, csv].into_iter().flatten() {
        record.write(&rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn size_to_measure(args: &Args, topology: &Topology, room: &Room) -> anyhow::Result<u64> {
    // Pages that are set aside already take nothing from the memory that others use.
    let common = args.pages.is_empty() || args.pages.iter().any(|&pages| pages != Pages::Huge);
    match args.size.map(|size| size.as_u64()) {
        Some(0) => bail!("--size 0: there is nothing to initialise; 1GiB would do"),
        Some(bytes) if common => room.check(bytes).map(|()| bytes).map_err(Into::into),
        Some(bytes) => Ok(bytes),
        None if common => Ok(room.default_size()?),
        None => {
            let most = Pages::Huge.set_aside(topology).unwrap_or(0);
            let fits = most.checked_ilog2().map_or(0, |log| 1 << log);
            // With nothing set aside, the refusal for a common size says how to get some.
            Ok(if fits == 0 { 1 << 30 } else { fits.min(8 << 30) })
        }
    }
}

/// The kinds to measure with the page size of each, and the kinds that are left out.
type PagesToMeasure = (Vec<(Pages, PageSize)>, Vec<CannotBeHad>);

/// A kind that was asked for must be had; one that was not is left out with a word.
fn pages_to_measure(
    asked: &[Pages],
    topology: &Topology,
    bytes: u64,
) -> anyhow::Result<PagesToMeasure> {
    let mut kinds = asked.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    if !kinds.is_empty() {
        let found = kinds.into_iter().map(|pages| Ok((pages, pages.page_size(topology, bytes)?)));
        return Ok((found.collect::<anyhow::Result<_>>()?, Vec::new()));
    }
    let mut found = Vec::new();
    let mut left_out = Vec::new();
    for pages in Pages::ALL {
        match pages.page_size(topology, bytes) {
            Ok(page_size) => found.push((pages, page_size)),
            Err(refusal) => left_out.push(refusal),
        }
    }
    if found.is_empty() {
        let left_out = left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        bail!("nothing can be measured: {left_out}");
    }
    Ok((found, left_out))
}

fn measure(suite: &Suite, pool: &Pool) -> anyhow::Result<Vec<Outcome>> {
    // Draws on standard error, and nothing at all where that is no terminal.
    let bar = ProgressBar::new(suite.measurements(pool) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed}  {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(500));
    let mut started = 0;
    let outcomes = suite.run(pool, |next| {
        bar.set_position(started);
        bar.set_message(next.to_owned());
        started += 1;
    });
    bar.finish_and_clear();
    outcomes
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_header(suite: &Suite, pool: &Pool, room: &Room, left_out: &[CannotBeHad]) {
    let bytes = suite.bytes as u64;
    let repetitions = match suite.repetitions.get() {
        1 => "1 repetition".to_owned(),
        n => format!("{n} repetitions, interleaved"),
    };
    println!("page-init: {} of fresh memory, {repetitions}", size::exact(bytes));
    println!();
    let nodes = pool.nodes().map(|(node, helpers)| format!("{helpers} on node {node}"));
    let nodes = nodes.collect::<Vec<_>>().join(", ");
    let mut facts = machine::facts(pool.topology(), room);
    facts.extend([
        ("helpers", format!("{} ({nodes})", pool.helpers().len())),
        ("serial, (0)", "one thread writes zeros through a fresh mapping".to_owned()),
        (
            "node%, (threads)",
            "of the helpers of the node with the most, the caller included".to_owned(),
        ),
        ("speedup", "share of the serial row's time that was saved".to_owned()),
        ("time", "from the fresh mapping until the slowest node's last page; median".to_owned()),
        ("warm", "each repetition first populates and frees as much as it measures".to_owned()),
        ("local %", "pages local to the CPU that initialised them, as the kernel tells".to_owned()),
    ]);
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        println!("{name:width$}  {value}");
    }
    for CannotBeHad { pages, why, remedy, .. } in left_out {
        println!("{:width$}  {pages} pages: {why}", "left out");
        if let Some(remedy) = remedy {
            println!("{:width$}  to have them, as root: {remedy}", "");
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_outcome(outcome: &Outcome, per_node: bool) {
    println!();
    println!("{}", table::title(outcome));
    println!("{}", table::rows(outcome));
    if per_node {
        println!("{}", table::nodes(outcome));
    }
    println!("{}", table::closing(outcome));
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

    #[test]
    fn options_are_read_as_people_write_them() {
        let args = parse(&["--size", "512MiB", "--pages", "thp,base", "--reps", "2"]);
        let args = args.expect("all of these are documented");
        assert_eq!(args.size, Some(ByteSize::mib(512)));
        assert_eq!(args.pages, [Pages::Thp, Pages::Base]);
        assert_eq!(args.reps.get(), 2);
        assert_eq!(parse(&[]).expect("every option has a default").reps.get(), 5);
    }

    #[test]
    fn two_records_in_one_file_are_refused_before_anything_is_measured() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("rows").display().to_string();
        let same = folder.path().join(".").join("rows").display().to_string();
        let args = parse(&["--json", &file, "--csv", &same]).expect("each is a path");
        let error = run(&args).expect_err("one would replace the other");
        assert!(error.to_string().contains("name two"), "{error:#}");
    }

    #[test]
    fn bad_options_are_refused_with_what_would_be_right() {
        let refusal = |options: &[&str]| parse(options).expect_err("the option is wrong");
        assert!(refusal(&["--pages", "tiny"]).contains("base, thp and huge"));
        for wrong in ["0", "1.5", "many"] {
            assert!(refusal(&["--reps", wrong]).contains("at least 1 repetition"));
        }
        assert!(refusal(&["--size", "lots"]).contains("512MiB or 4GiB"));
    }
}
