//! `cargo xtask bench page-init`.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytesize::ByteSize;
use clap::ValueEnum;
use firsttouch::{PageSize, Pool, Topology};
use firsttouch_benches::comparison::{self, Comparison};
use firsttouch_benches::page_init::{
    ByShare, CannotBeHad, Fill, MACHINE, Outcome, Pages, Plan, SERIAL, SMALL, limit,
};
use firsttouch_benches::room::Room;
use firsttouch_benches::suite::{Effort, Suite};
use firsttouch_benches::{Busy, machine, size};
use indicatif::{ProgressBar, ProgressStyle};

use super::record::{Files, Outputs};
use super::{beside, comparison_table, measure_program, page_init_table, plot, table};

/// Options of `cargo xtask bench page-init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bytes to initialise, such as 512MiB or 1GiB,4GiB [default: those of 1MiB, 64MiB, 1GiB and 4GiB that fit and stay warm].
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = size_in_bytes)]
    size: Vec<ByteSize>,

    /// Kinds of page: base, thp, huge [default: base and thp, and huge where a pool has enough free pages].
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pages: Vec<Pages>,

    /// What the memory is to hold beside rivals: zero, nonzero [default: both, one after the other].
    #[arg(long, value_name = "FILL", value_delimiter = ',')]
    fill: Vec<Fill>,

    /// Repetitions of every row, interleaved.
    #[arg(long, alias = "rounds", value_name = "N", default_value = "5", value_parser = repetitions)]
    reps: NonZeroUsize,

    /// Only these rivals beside firsttouch, such as `rayon-fill,gomp-touch` [default: all that can be had].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    runtimes: Vec<String>,

    /// Numbers of threads beside rivals [default: 1, 2, 4 and so on, up to all CPUs]; most cases use the largest only.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = beside::threads)]
    threads: Vec<NonZeroUsize>,

    /// Measure one part only [default: both].
    #[arg(long, value_name = "PART")]
    only: Option<Part>,

    /// Do as little as shows that everything works; the figures then say little.
    #[arg(long)]
    brief: bool,

    /// Show and record each node's own time too, by share of CPUs.
    #[arg(long)]
    per_node: bool,

    #[command(flatten)]
    files: Files,
}

/// A part of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The table of the kernel series, by share of each node's CPUs.
    ByShare,
    /// The comparison with rivals.
    Rivals,
}

/// Reads a size; the crate's own refusals speak of how it parses, not of what to write.
pub(super) fn size_in_bytes(text: &str) -> Result<ByteSize, &'static str> {
    text.parse().map_err(|_| "a size is a number and a unit, such as 512MiB or 4GiB")
}

/// Reads a count; the standard refusal of 0 speaks of types.
pub(super) fn repetitions(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "a row needs at least 1 repetition, and a whole number of them")
}

/// The sizes that are measured unless told.
const SIZES: [u64; 4] = [SMALL, 64 << 20, 1 << 30, 4 << 30];

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Whatever can be refused is refused before minutes are spent.
    let outputs = Outputs::prepare(&args.files)?;
    let topology = Arc::new(Topology::discover().context("cannot read this machine")?);
    let room = Room::read(&topology)?;
    let wanted = Wanted::of(args, &topology, &room)?;
    let threads = beside::threads_to_measure(&args.threads, topology.allowed().parallelism())?;
    let rivals = (args.only != Some(Part::ByShare))
        .then(|| Rivals::prepare(args, &wanted, threads))
        .transpose()?;

    print_header(args, &topology, &room, &wanted, rivals.as_ref());
    let busy = Busy::start();
    let (mut rows, mut by_share, mut compared) = (Vec::new(), Vec::new(), None);
    if args.only != Some(Part::Rivals) {
        let pool = Pool::builder().topology(Arc::clone(&topology)).build();
        let pool = pool.context("cannot start the pool")?;
        print_by_share(&pool);
        for part in wanted.by_share(args.reps)? {
            for outcome in measure_by_share(&part, &pool)? {
                print_outcome(&outcome, args.per_node);
                rows.extend(outcome.record(args.per_node));
                by_share.push(outcome);
            }
        }
    }
    if let Some(rivals) = &rivals {
        let outcome = beside::measure(&rivals.comparison)?;
        print_rivals(&outcome, &rivals.plan, &topology);
        rows.extend(outcome.record());
        compared = Some(outcome);
    }
    if let Some(others) = busy.and_then(|busy| busy.others()) {
        print_others(others);
    }
    outputs.write(&rows, || plot::page_init(compared.as_ref(), &by_share))?;
    Ok(ExitCode::SUCCESS)
}

/// What of all that could be asked for is measured.
#[derive(Debug)]
struct Wanted {
    /// Kinds of page with their sizes in bytes, and the page size each comes down to.
    sizes: Vec<(Pages, u64, PageSize)>,
    /// What is left out, and why.
    left_out: Vec<String>,
}

impl Wanted {
    /// What was asked for must be had; of what was not, some may be left out with a word.
    fn of(args: &Args, topology: &Topology, room: &Room) -> anyhow::Result<Self> {
        let mut kinds = args.pages.clone();
        if kinds.is_empty() {
            kinds = Pages::ALL.to_vec();
        }
        kinds.sort_unstable();
        kinds.dedup();
        let mut left_out = Vec::new();
        let sizes = sizes_to_measure(args, &kinds, topology, room, &mut left_out)?;
        let mut found = Vec::new();
        let mut refused = Vec::new();
        for &pages in &kinds {
            for &bytes in &sizes {
                match pages.page_size(topology, bytes) {
                    Ok(page_size) => found.push((pages, bytes, page_size)),
                    // The small job is one of base pages.
                    Err(_) if args.size.is_empty() && bytes <= SMALL => {}
                    Err(refusal) if !args.pages.is_empty() && !args.size.is_empty() => {
                        bail!(refusal)
                    }
                    Err(refusal) => refused.push((bytes, refusal)),
                }
            }
        }
        if found.is_empty() {
            // Of each kind the smallest size, which is the easiest to have.
            refused.dedup_by_key(|(_, refusal)| refusal.pages);
            let refused: Vec<_> = refused.iter().map(|(_, refusal)| refusal.to_string()).collect();
            bail!("nothing can be measured: {}", refused.join("; "));
        }
        for (bytes, CannotBeHad { pages, why, remedy, .. }) in refused {
            left_out.push(format!("{pages} pages, {}: {why}", size::exact(bytes)));
            left_out.extend(remedy.map(|remedy| format!("to have them, as root: {remedy}")));
        }
        Ok(Self { sizes: found, left_out })
    }

    /// The table by share of CPUs: the largest size of each kind of page.
    fn by_share(&self, repetitions: NonZeroUsize) -> anyhow::Result<Vec<ByShare>> {
        let largest = |pages| {
            let sizes = self.sizes.iter().filter(move |(kind, ..)| *kind == pages);
            sizes.max_by_key(|(_, bytes, _)| *bytes)
        };
        let found = Pages::ALL.into_iter().filter_map(largest);
        let part = |&(pages, bytes, page_size): &(Pages, u64, PageSize)| {
            let bytes = usize::try_from(bytes)?;
            Ok(ByShare { bytes, pages: vec![(pages, page_size)], repetitions })
        };
        found.map(part).collect()
    }
}

fn sizes_to_measure(
    args: &Args,
    kinds: &[Pages],
    topology: &Topology,
    room: &Room,
    left_out: &mut Vec<String>,
) -> anyhow::Result<Vec<u64>> {
    // Pages that are set aside already take nothing from the memory that others use.
    let common = kinds.iter().any(|&pages| pages != Pages::Huge);
    if args.size.is_empty() {
        let most = if common {
            room.default_size()?
        } else {
            // With nothing set aside, the refusal for a common size says how to get some.
            Pages::Huge.set_aside(topology).filter(|&bytes| bytes > 0).unwrap_or(1 << 30)
        };
        let (fit, too_much): (Vec<u64>, Vec<u64>) = SIZES.iter().partition(|&&size| size <= most);
        let why = match room.taken_back && room.check(most * 2).is_ok() {
            true => "free memory goes back to the hypervisor, and so much would not stay warm",
            false => "there is not the room for it",
        };
        let word = |bytes: u64| format!("{0}: {why}; --size {0} asks for it", size::exact(bytes));
        left_out.extend(too_much.into_iter().map(word));
        return Ok(fit);
    }
    let mut sizes: Vec<u64> = args.size.iter().map(|size| size.as_u64()).collect();
    sizes.sort_unstable();
    sizes.dedup();
    ensure!(sizes[0] > 0, "--size 0: there is nothing to initialise; 1GiB would do");
    if common {
        sizes.iter().try_for_each(|&bytes| room.check(bytes))?;
    }
    Ok(sizes)
}

/// The comparison with rivals, ready to be run.
struct Rivals {
    plan: Plan,
    comparison: Comparison,
    facts: Vec<(&'static str, String)>,
}

impl Rivals {
    fn prepare(args: &Args, wanted: &Wanted, threads: Vec<NonZeroUsize>) -> anyhow::Result<Self> {
        let program = measure_program::build(Suite::PageInit)?;
        let always = [firsttouch_benches::target::OURS, SERIAL, MACHINE];
        let (runtimes, left_out) =
            beside::runtimes_to_measure(&args.runtimes, &always, &program.runtimes)?;
        let mut fills = args.fill.clone();
        if fills.is_empty() {
            fills = Fill::ALL.to_vec();
        }
        fills.sort_unstable();
        fills.dedup();
        let plan = Plan {
            sizes: wanted.sizes.iter().map(|&(pages, bytes, _)| (pages, bytes)).collect(),
            fills,
            runtimes: runtimes.iter().map(|known| known.name.clone()).collect(),
            threads,
            effort: if args.brief { Effort::Brief } else { Effort::Full },
        };
        let comparison = Comparison {
            suite: Suite::PageInit,
            program: program.path,
            runtimes: beside::names_and_versions(&runtimes),
            rounds: args.reps,
            requests: plan.requests(),
        };
        Ok(Self { plan, comparison, facts: beside::runtime_facts(&runtimes, &left_out) })
    }
}

fn measure_by_share(part: &ByShare, pool: &Pool) -> anyhow::Result<Vec<Outcome>> {
    // Draws on standard error, and nothing at all where that is no terminal.
    let bar = ProgressBar::new(part.measurements(pool) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed}  {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(500));
    let mut started = 0;
    let outcomes = part.run(pool, |next| {
        bar.set_position(started);
        bar.set_message(next.to_owned());
        started += 1;
    });
    bar.finish_and_clear();
    outcomes
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_header(
    args: &Args,
    topology: &Topology,
    room: &Room,
    wanted: &Wanted,
    rivals: Option<&Rivals>,
) {
    let mut sizes: Vec<u64> = wanted.sizes.iter().map(|&(_, bytes, _)| bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let sizes = sizes.into_iter().map(size::exact).collect::<Vec<_>>().join(", ");
    let repetitions = match args.reps.get() {
        1 => "1 repetition".to_owned(),
        n => format!("{n} repetitions, interleaved"),
    };
    println!("page-init: {sizes} of fresh memory, {repetitions}");
    if args.brief {
        println!("brief: everything works, and the figures say little");
    }
    println!();
    let mut facts = machine::facts(topology, room);
    facts.extend([
        (
            "warm",
            "before each repetition, as much as it measures is populated and freed".to_owned(),
        ),
        ("time", "from the fresh mapping until the last page is initialised; median".to_owned()),
        ("checked", "after each repetition: every page is there, every byte is right".to_owned()),
    ]);
    if let Some(rivals) = rivals {
        facts.extend(page_init_table::legend(&rivals.plan));
        facts.extend(rivals.facts.iter().cloned());
    }
    facts.extend(wanted.left_out.iter().map(|why| ("left out", why.clone())));
    beside::print_facts(&facts);
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_by_share(pool: &Pool) {
    println!();
    println!("by share of each node's CPUs, in this process");
    let nodes = pool.nodes().map(|(node, helpers)| format!("{helpers} on node {node}"));
    let nodes = nodes.collect::<Vec<_>>().join(", ");
    beside::print_facts(&[
        ("helpers", format!("{} ({nodes})", pool.helpers().len())),
        ("serial, (0)", "one thread writes zeros through a fresh mapping".to_owned()),
        (
            "node%, (threads)",
            "of the helpers of the node with the most, the caller included".to_owned(),
        ),
        ("speedup", "share of the serial row's time that was saved".to_owned()),
        ("time_ms", "until the slowest node's last page".to_owned()),
        ("local %", "pages local to the CPU that initialised them, as the kernel tells".to_owned()),
    ]);
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

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_rivals(outcome: &comparison::Outcome, plan: &Plan, topology: &Topology) {
    println!("\nbeside rivals, each in a process of its own");
    let kind = |bytes| limit::largest_pages(topology, bytes);
    println!("\nthe machine's own limits\n{}", page_init_table::limits(outcome, kind));
    for case in plan.cases() {
        println!("\n{}", page_init_table::case(outcome, case));
    }
    if let Some(table) = comparison_table::scaling(outcome) {
        println!("\nby number of threads\n{table}");
    }
    println!("\ntargets\n{}", comparison_table::targets(outcome, &plan.targets()));
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
fn print_others(others: f64) {
    println!("\n{}", comparison_table::others(others));
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
        let args = parse(&["--size", "512MiB,1GiB", "--pages", "thp,base", "--reps", "2"]);
        let args = args.expect("all of these are documented");
        assert_eq!(args.size, [ByteSize::mib(512), ByteSize::gib(1)]);
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
        assert!(refusal(&["--fill", "one"]).contains("zero and nonzero"));
        assert!(refusal(&["--threads", "0"]).contains("at least 1 thread"));
        assert!(refusal(&["--only", "half"]).contains("by-share, rivals"));
    }

    #[test]
    fn a_size_that_is_nothing_or_too_much_is_refused_and_never_left_out() {
        let topology = Topology::discover().expect("this machine can be read");
        let room = Room::read(&topology).expect("every Linux tells");
        let refusal = |size: &str| {
            let args = parse(&["--size", size]).expect("it is a size");
            Wanted::of(&args, &topology, &room).expect_err("it cannot be measured").to_string()
        };
        assert!(refusal("0").contains("1GiB would do"));
        assert!(refusal("64MiB,9000TiB").contains("does not fit"));
        assert!(refusal("4097").contains("not a whole number of"));
    }

    #[test]
    fn by_default_the_small_job_has_base_pages_only() {
        let topology = Topology::discover().expect("this machine can be read");
        let room = Room::read(&topology).expect("every Linux tells");
        let args = parse(&[]).expect("every option has a default");
        let wanted = Wanted::of(&args, &topology, &room).expect("there is some room");
        let small: Vec<_> = wanted.sizes.iter().filter(|(_, bytes, _)| *bytes == SMALL).collect();
        assert_eq!(small, [&(Pages::Base, SMALL, PageSize::Base)]);
        let parts = wanted.by_share(NonZeroUsize::MIN).expect("sizes are of this machine");
        assert!(parts.iter().all(|part| part.bytes as u64 > SMALL), "{parts:?}");
    }
}
