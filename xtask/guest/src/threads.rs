//! Where this process's threads are and what else runs beside them, asked with the bare calls.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Returns the CPU that this thread is on.
pub(crate) fn cpu() -> u32 {
    sched_getcpu() as u32
}

/// Returns the CPUs that this thread may run on.
pub(crate) fn mask() -> anyhow::Result<BTreeSet<u32>> {
    let set = sched_getaffinity(None).context("sched_getaffinity is refused")?;
    let cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu));
    Ok(cpus.map(|cpu| cpu as u32).collect())
}

/// Computes for so many steps, of a nanosecond or a few each.
///
/// The processor's pause, which `spin_loop` is, would leave the emulated code for the emulator each
/// time, and there wait for a lock that all CPUs share.
pub(crate) fn compute(steps: usize) {
    (0..steps).for_each(|step| {
        std::hint::black_box(step);
    });
}

/// Keeps this thread to some CPUs.
pub(crate) fn keep_to(cpus: impl IntoIterator<Item = u32>) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(cpu as usize);
    }
    sched_setaffinity(None, &set).context("sched_setaffinity is refused")
}

/// One thread of this process, as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    /// Its name, of which the kernel keeps 15 bytes.
    pub(crate) name: String,
    /// `S` where it sleeps, `R` where it runs or could.
    pub(crate) state: char,
    /// The CPU it is on, or was on last.
    pub(crate) cpu: u32,
    /// The CPUs it may run on, as the kernel lists them.
    pub(crate) allowed: String,
}

/// Returns every thread of this process; those that end meanwhile are left out.
pub(crate) fn all() -> anyhow::Result<Vec<Thread>> {
    let tasks = fs::read_dir("/proc/self/task").context("cannot list this process's threads")?;
    let mut threads = Vec::new();
    for task in tasks {
        let path = task?.path();
        let read = |file: &str| fs::read_to_string(path.join(file));
        let (Ok(stat), Ok(status)) = (read("stat"), read("status")) else { continue };
        threads.push(parse(&stat, &status).with_context(|| format!("{stat}{status}"))?);
    }
    Ok(threads)
}

/// Waits until every helper of this process's pools sleeps, which each does when it finds no work.
pub(crate) fn wait_until_helpers_sleep() -> anyhow::Result<()> {
    let awake = |thread: &Thread| thread.name.starts_with("firsttouch-") && thread.state != 'S';
    while all()?.iter().any(awake) {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn parse(stat: &str, status: &str) -> anyhow::Result<Thread> {
    // The name is in parentheses and may hold any character, parentheses too.
    let (start, rest) = stat.rsplit_once(") ").context("no name")?;
    let name = start.split_once('(').context("no name")?.1.to_owned();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The state is the third field of the file and the processor the 39th.
    let state = fields.first().and_then(|state| state.chars().next()).context("no state")?;
    let cpu = fields.get(39 - 3).context("no processor")?.parse()?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    Ok(Thread { name, state, cpu, allowed: allowed.context("no mask")?.trim().to_owned() })
}

/// Threads that keep CPUs busy until they are dropped, one or more for each CPU.
#[derive(Debug)]
pub(crate) struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Hogs {
    /// Starts so many threads on each of these CPUs.
    pub(crate) fn on(cpus: impl IntoIterator<Item = u32>, each: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let hog = |cpu| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                keep_to([cpu])?;
                while !stop.load(Ordering::Relaxed) {
                    compute(1_000);
                }
                Ok(())
            })
        };
        let cpus = cpus.into_iter().flat_map(|cpu| std::iter::repeat_n(cpu, each));
        let threads = cpus.map(hog).collect();
        Self { stop, threads }
    }

    /// Stops them; an error where one was not where it was to be.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a hog panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Dropped on the way out of a case that has failed already.
            let _ = thread.join();
        }
    }
}
