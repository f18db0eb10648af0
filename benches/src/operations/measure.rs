//! One repetition of one case.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use firsttouch::job::{Locality, PageMigration, PagePin, PageRelease, Replicate};
use firsttouch::memory::Parts;
use firsttouch::{CpuSet, PageSize, Placement, Policy, Pool, Region, Topology};
use procfs::process::Process;
use rustix::mm::Advice;

use super::plan::nodes_with_memory;
use super::{Case, ONE_THREAD, Operation, THREADS, two_nodes};
use crate::Stats;
use crate::measure::{Request, Sample};
use crate::pieces::{PIECE, for_each_piece};
use crate::target::OURS;
use crate::warm::{populated, warm_by_threads};

/// What memory holds that is copied.
const VALUE: u8 = 0x5A;

/// Measures the cases that are asked for; one that has no counterpart is left out.
pub(crate) fn measure(request: &Request) -> anyhow::Result<Vec<Sample>> {
    let topology = Arc::new(Topology::discover().context("cannot read this machine")?);
    let who = Who::start(&request.runtime, request.threads, &topology)?;
    let mut samples = Vec::new();
    for name in &request.cases {
        let case: Case = name.parse()?;
        let given = Given {
            bytes: usize::try_from(case.bytes)?,
            page_size: case.pages.page_size(&topology, case.bytes)?,
            threads: request.threads,
            topology: &topology,
        };
        let passes = request.effort.choose(if given.bytes < 512 << 20 { 5 } else { 2 }, 1);
        let mut times = Vec::new();
        for _ in 0..passes {
            warm_by_threads(given.bytes, given.page_size, given.threads)?;
            let elapsed = match case.operation {
                Operation::Release => given.release(&who),
                Operation::Pin => given.pin(&who),
                Operation::Migrate => given.migrate(&who),
                Operation::Replicate => given.replicate(&who),
                Operation::Locality => given.locality(&who),
            };
            let elapsed = elapsed.with_context(|| name.clone())?;
            times.extend(elapsed.map(|elapsed| elapsed.as_secs_f64() * 1e3));
        }
        samples.extend(Stats::of(times).map(|times| Sample::new(name, "ms", times.median)));
    }
    Ok(samples)
}

/// Who does it.
enum Who {
    Ours(Pool),
    OneThread,
    Threads(NonZeroUsize),
}

impl Who {
    fn start(name: &str, threads: NonZeroUsize, topology: &Arc<Topology>) -> anyhow::Result<Self> {
        match name {
            OURS => {
                let allowed = topology.allowed().cpus();
                let cpus: CpuSet = allowed.iter().take(threads.get()).collect();
                let mut builder = Pool::builder().topology(Arc::clone(topology));
                if cpus.len() < allowed.len() {
                    builder = builder.cpus(cpus);
                }
                Ok(Self::Ours(builder.build().context("firsttouch starts no pool")?))
            }
            ONE_THREAD => Ok(Self::OneThread),
            THREADS => Ok(Self::Threads(threads)),
            name => bail!("there is no {name:?} in the suite memory"),
        }
    }
}

/// What everybody is given.
struct Given<'a> {
    bytes: usize,
    page_size: PageSize,
    threads: NonZeroUsize,
    topology: &'a Topology,
}

impl Given<'_> {
    fn fresh(&self) -> anyhow::Result<Region> {
        Ok(Region::builder(self.bytes).page_size(self.page_size).build()?)
    }

    fn populated(&self) -> anyhow::Result<Region> {
        populated(self.bytes, self.page_size, self.threads)
    }

    /// Bytes of the pieces that plain threads take.
    fn piece(region: &Region) -> usize {
        PIECE.next_multiple_of(region.page_bytes())
    }

    fn release(&self, who: &Who) -> anyhow::Result<Option<Duration>> {
        let mut region = self.populated()?;
        let before = used_bytes()?;
        let start = Instant::now();
        match who {
            Who::Ours(pool) => drop(PageRelease::new(region).run(pool)),
            Who::OneThread => drop(region),
            Who::Threads(threads) => {
                let piece = Self::piece(&region);
                let start = Address(region.as_mut_slice().as_mut_ptr());
                for_each_piece(self.bytes, piece, *threads, |range| start.give_back(&range))?;
                drop(region);
            }
        }
        let elapsed = start.elapsed();
        let gone = before.saturating_sub(used_bytes()?);
        // The kernel counts in batches for each CPU, and other things come and go.
        let most = self.bytes as u64 / 10 * 9;
        ensure!(gone >= most, "of {} bytes {gone} were given back", self.bytes);
        Ok(Some(elapsed))
    }

    fn pin(&self, who: &Who) -> anyhow::Result<Option<Duration>> {
        let mut region = self.fresh()?;
        let start = Instant::now();
        let elapsed;
        match who {
            Who::Ours(pool) => {
                let pinned = PagePin::new(&mut region).read_back(false).run(pool)?;
                elapsed = start.elapsed();
                self.check_locked()?;
                drop(pinned);
            }
            Who::OneThread => {
                let at = Address(region.as_mut_slice().as_mut_ptr());
                at.lock(&(0..self.bytes))?;
                elapsed = start.elapsed();
                self.check_locked()?;
            }
            Who::Threads(threads) => {
                let piece = Self::piece(&region);
                let at = Address(region.as_mut_slice().as_mut_ptr());
                for_each_piece(self.bytes, piece, *threads, |range| at.lock(&range))?;
                elapsed = start.elapsed();
                self.check_locked()?;
            }
        }
        Ok(Some(elapsed))
    }

    /// Makes sure that as much as was asked for is locked, and there.
    fn check_locked(&self) -> anyhow::Result<()> {
        let status = Process::myself()?.status()?;
        let locked = status.vmlck.unwrap_or(0) << 10;
        let hugetlb = matches!(self.page_size, PageSize::Huge(_));
        // Hugetlb pages are never paged out, and the kernel does not count them.
        ensure!(
            hugetlb || locked >= self.bytes as u64,
            "of {} bytes {locked} are locked",
            self.bytes
        );
        let most = self.bytes as u64 / 10 * 9;
        let used = used_bytes()?;
        ensure!(used >= most, "of {} bytes {used} are there", self.bytes);
        Ok(())
    }

    fn migrate(&self, who: &Who) -> anyhow::Result<Option<Duration>> {
        let (from, to) = two_nodes(self.topology).context("there is one node only")?;
        let mut region = self.fresh()?;
        region.set_policy(0..self.bytes, &Policy::Preferred(from))?;
        region.populate(0..self.bytes)?;
        let start = Instant::now();
        match who {
            Who::Ours(pool) => {
                let migration = PageMigration::new(&mut region).read_back(false);
                migration.placement(Placement::Nodes([to].into_iter().collect())).run(pool)?;
            }
            Who::OneThread => {
                region.migrate(0..self.bytes, to)?;
            }
            Who::Threads(threads) => {
                let (piece, parts) = (Self::piece(&region), region.parts());
                for_each_piece(self.bytes, piece, *threads, |range| {
                    parts.migrate([range], to).map(drop)
                })?;
            }
        }
        let elapsed = start.elapsed();
        let residency = region.residency(0..self.bytes)?;
        let (there, all) = (residency.pages_on(to), residency.present());
        ensure!(there == all && all > 0, "of {all} pages {there} came to node {to}");
        Ok(Some(elapsed))
    }

    fn replicate(&self, who: &Who) -> anyhow::Result<Option<Duration>> {
        let mut source = self.populated()?;
        source.as_mut_slice().fill(VALUE);
        let source = source.as_slice();
        // As many as ours makes by default: one for each node that has memory and CPUs.
        let has_cpus = |&id: &firsttouch::NodeId| {
            self.topology.node(id).is_some_and(|node| !node.cpus().is_empty())
        };
        let nodes = nodes_with_memory(self.topology).filter(has_cpus).count().max(1);
        let start = Instant::now();
        let elapsed;
        match who {
            Who::Ours(pool) => {
                let replicate = Replicate::new(source).page_size(self.page_size).read_back(false);
                let replicas = replicate.run(pool)?;
                elapsed = start.elapsed();
                check_copy(replicas.local())?;
            }
            Who::OneThread => {
                let mut copies = Vec::new();
                for _ in 0..nodes {
                    let mut copy = self.fresh()?;
                    copy.as_mut_slice().copy_from_slice(source);
                    copies.push(copy);
                }
                elapsed = start.elapsed();
                copies.iter().try_for_each(|copy| check_copy(copy.as_slice()))?;
            }
            Who::Threads(threads) => {
                let mut copies = Vec::new();
                for _ in 0..nodes {
                    let mut copy = self.fresh()?;
                    let (piece, parts) = (Self::piece(&copy), copy.parts());
                    for_each_piece(self.bytes, piece, *threads, |range| {
                        // SAFETY: [disjoint] each piece is handed out once.
                        let mut part = unsafe { parts.part(range.clone()) };
                        part.as_mut_slice().copy_from_slice(&source[range]);
                        Ok::<(), std::convert::Infallible>(())
                    })?;
                    copies.push(copy);
                }
                elapsed = start.elapsed();
                copies.iter().try_for_each(|copy| check_copy(copy.as_slice()))?;
            }
        }
        Ok(Some(elapsed))
    }

    fn locality(&self, who: &Who) -> anyhow::Result<Option<Duration>> {
        let mut region = self.populated()?;
        let start = Instant::now();
        let found = match who {
            Who::Ours(pool) => {
                let locality = Locality::of(pool, region.as_slice())?;
                locality.nodes().map(|(_, bytes)| bytes as u64).sum()
            }
            Who::OneThread => pages_in_bytes(region.parts(), 0..self.bytes)?,
            Who::Threads(threads) => {
                let (piece, parts) = (Self::piece(&region), region.parts());
                let found = std::sync::atomic::AtomicU64::new(0);
                for_each_piece(self.bytes, piece, *threads, |range| {
                    let bytes = pages_in_bytes(parts, range)?;
                    // Relaxed: it is read when all threads have ended.
                    found.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
                    Ok::<(), firsttouch::MemoryError>(())
                })?;
                found.into_inner()
            }
        };
        let elapsed = start.elapsed();
        ensure!(found == self.bytes as u64, "of {} bytes {found} were found", self.bytes);
        Ok(Some(elapsed))
    }
}

/// Bytes of the pages of a range that the kernel names a node for.
fn pages_in_bytes(
    parts: Parts<'_>,
    range: std::ops::Range<usize>,
) -> Result<u64, firsttouch::MemoryError> {
    let residency = parts.residency(range)?;
    Ok(residency.present() * residency.page_bytes() as u64)
}

fn check_copy(copy: &[u8]) -> anyhow::Result<()> {
    // Without an early end, so that the compiler can compare many at once.
    let differs = |bytes: &[u8]| bytes.iter().fold(0, |acc, &byte| acc | (byte ^ VALUE)) != 0;
    ensure!(!copy.chunks(4096).any(differs), "a copy is not what was copied");
    Ok(())
}

/// Bytes of memory that this process has now, in pages of any kind.
fn used_bytes() -> anyhow::Result<u64> {
    let status = Process::myself()?.status()?;
    let kib = status.vmrss.unwrap_or(0) + status.hugetlbpages.unwrap_or(0);
    Ok(kib << 10)
}

/// Where a region starts, for calls that several threads make on pieces of it.
#[derive(Clone, Copy)]
struct Address(*mut u8);

// SAFETY: the address alone reaches no byte; the calls below change no byte that is in use.
unsafe impl Sync for Address {}

impl Address {
    fn at(self, range: &std::ops::Range<usize>) -> *mut std::ffi::c_void {
        self.0.wrapping_add(range.start).cast()
    }

    /// Gives the pages of a range back to the kernel, whose bytes are then zero.
    fn give_back(self, range: &std::ops::Range<usize>) -> rustix::io::Result<()> {
        // SAFETY: the range is a piece of a region of ours, whose bytes nobody looks at any more.
        unsafe { rustix::mm::madvise(self.at(range), range.len(), Advice::LinuxDontNeed) }
    }

    /// Populates and locks the pages of a range; they are unlocked when they are unmapped.
    fn lock(self, range: &std::ops::Range<usize>) -> rustix::io::Result<()> {
        // SAFETY: the range is a piece of a region of ours; no byte changes.
        unsafe { rustix::mm::mlock(self.at(range), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::{catalogue, obstacle};
    use crate::page_init::Pages;
    use crate::suite::{Effort, Group};

    /// What came of it is checked inside, for everybody.
    #[test]
    fn everybody_does_all_that_this_machine_can() {
        let topology = Topology::discover().expect("this machine can be read");
        for operation in Operation::ALL {
            let case = Case { operation, pages: Pages::Base, bytes: 20 << 20 };
            if obstacle(operation, case.bytes, &topology).is_some() {
                continue;
            }
            for known in catalogue() {
                let request = Request {
                    group: Group::Memory,
                    cases: vec![case.to_string()],
                    runtime: known.name.clone(),
                    threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
                    effort: Effort::Brief,
                };
                let samples = request.measure();
                let samples = samples.unwrap_or_else(|e| panic!("{}: {e:#}", known.name));
                assert_eq!(samples.len(), 1, "{known:?}: {samples:?}");
            }
        }
    }

    #[test]
    fn a_copy_with_another_byte_is_found_out() {
        let mut copy = vec![VALUE; 10_000];
        assert!(check_copy(&copy).is_ok());
        copy[9_999] ^= 1;
        assert!(check_copy(&copy).is_err());
    }
}
