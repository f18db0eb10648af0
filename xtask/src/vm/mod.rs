//! `cargo xtask vm`: tests in emulated machines with many nodes.
//!
//! A boot takes a machine file, one of Debian's kernels and an archive that
//! holds little more than `firsttouch-guest`, which is the guest's first
//! process, runs the cases and says on a serial line how each ended.

mod boot;
mod cache;
mod command;
mod debian;
mod emulator;
mod guest_program;
mod hwloc;
mod initramfs;
mod kernel;
mod lab;
mod machine;
mod qemu_arguments;
mod self_check;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use firsttouch_guest::machine::Machine;

use self::kernel::Kernel;
use self::lab::{Lab, Order};

/// The machines of the quick set, which `cargo xtask test` runs.
const QUICK: [&str; 2] = ["dual", "memory-only"];

/// Options of `cargo xtask vm`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").args(["machine", "all", "quick", "self_check", "list"]).required(true)))]
pub(crate) struct Args {
    /// Boot this machine; may be given several times.
    #[arg(long, value_name = "NAME")]
    machine: Vec<String>,

    /// Boot every machine.
    #[arg(long)]
    all: bool,

    /// Boot the few machines that `cargo xtask test` boots.
    #[arg(long)]
    quick: bool,

    /// Plant the faults in `xtask/faults/` one by one, and make sure that each makes its cases fail.
    #[arg(long)]
    self_check: bool,

    /// List the machines and boot none.
    #[arg(long)]
    list: bool,

    /// Give a shell on the machine in place of running the cases; `poweroff -f` ends it.
    #[arg(long, requires = "machine")]
    shell: bool,

    /// The kernel to run; may be given several times. All of them with --all, the older one otherwise.
    #[arg(long, value_enum, value_name = "VERSION")]
    kernel: Vec<Kernel>,

    /// How many machines run at once; as many as this machine has CPUs unless given.
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,

    /// How many seconds a guest may take before it is killed.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    limit: u64,

    /// The Debian mirror to fetch from; the one that this machine's apt names unless given.
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,

    /// Run only the cases whose name contains one of these; with --self-check, plant only these faults.
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let machines = machine::all()?;
    if args.list {
        list(&machines);
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = match (args.all, args.quick) {
        (true, _) => machines.clone(),
        (_, true) => machine::named(&machines, &QUICK.map(str::to_owned))?,
        _ => machine::named(&machines, &args.machine)?,
    };
    let kernels = match args.kernel.as_slice() {
        [] if args.all => Kernel::ALL.to_vec(),
        [] => vec![Kernel::V6_1],
        given => given.to_vec(),
    };
    let limit = Duration::from_secs(args.limit);
    let jobs = args.jobs.map_or_else(all_cpus, Into::into);
    let lab = Lab::open(&kernels, args.mirror.as_deref(), limit)?;
    if args.self_check {
        return self_check::run(&lab, &machines, &args.filter, jobs);
    }
    let content = lab.content()?;
    if args.shell {
        for machine in chosen {
            lab.shell(machine, kernels[0], &content)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let filter = &args.filter;
    let orders: Vec<_> = chosen
        .iter()
        .flat_map(|machine| lab.kernels().map(move |kernel| (machine, kernel)))
        .map(|(machine, kernel)| Order { machine, kernel, content: &content, filter })
        .collect();
    let boots = lab.run_all(&orders, jobs)?;
    print(table::report(&boots).trim_end());
    let ran = boots.iter().any(|boot| !boot.cases.is_empty() || boot.trouble.is_some());
    anyhow::ensure!(ran, "no case was run: no name contains {}", args.filter.join(" or "));
    match boots.iter().all(boot::Booted::is_good) {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

fn all_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn list(machines: &[Machine]) {
    for machine in machines {
        print(&format!("{:12} {}", machine.name, machine.about));
    }
}

#[expect(clippy::print_stdout, reason = "a command's result goes to standard output")]
fn print(text: &str) {
    println!("{text}");
}
