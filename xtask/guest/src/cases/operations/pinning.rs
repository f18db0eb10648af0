//! Pinned pages.

use anyhow::{Context as _, bail, ensure};
use firsttouch::memory::LockLimit;
use firsttouch::{HugePageSize, JobError, MemoryError, PagePin, PageSize, Pool, Region};
use firsttouch_guest::machine::Machine;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::{own_memory, told};
use crate::case::{Case, without_balancing};
use crate::cases::page_init::huge::huge_pages;
use crate::cases::page_init::initialise::{
    BYTES_PER_CPU, PAGE, bytes_by_cpus, filled, pages_by_cpus,
};
use crate::condition::Condition;
use crate::left_behind;
use crate::read_back::{page_nodes, pages_by_node};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "pinned_base_pages_are_locked_and_split_by_node",
        given: |_| without_balancing([]),
        check: |machine| pinned(machine, PageSize::Base),
    },
    Case {
        name: "pinned_transparent_huge_pages_are_locked_and_split_by_node",
        given: |_| without_balancing([Condition::TransparentHugePages("madvise")]),
        check: |machine| pinned(machine, PageSize::Transparent),
    },
    Case {
        name: "pinned_huge_pages_are_split_by_node_and_count_against_no_limit",
        given: |machine| {
            let pages = |(node, cpus)| (node, (cpus * BYTES_PER_CPU / (2 << 20)) as u64);
            huge_pages(filled(machine).into_iter().map(pages))
        },
        check: huge,
    },
    Case {
        name: "pinned_pages_beyond_the_limit_are_an_error_that_touches_nothing",
        given: |_| without_balancing([]),
        check: limited,
    },
    Case {
        name: "pinned_pages_are_unlocked_where_others_cannot_be_had",
        given: |_| without_balancing([]),
        check: undone,
    },
];

fn pinned(machine: &Machine, size: PageSize) -> anyhow::Result<()> {
    let bytes = bytes_by_cpus(machine);
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let mut region = Region::builder(bytes).page_size(size).build()?;
        let before = own_memory("VmLck")?;
        let pinned = PagePin::new(&mut region).run(&pool)?;
        // Not before: of huge pages it would be a view, and the region no longer fresh.
        let address = pinned.as_ptr() as usize;
        let locked = own_memory("VmLck")? - before;
        ensure!(locked == bytes && pinned.report().locked == bytes, "{locked} of {bytes} locked");
        let (found, expected) = (pages_by_node(pinned.as_slice())?, pages_by_cpus(machine));
        ensure!(found == expected, "pages lie on {found:?}; the CPUs' shares are {expected:?}");
        let told = told(pinned.report().residency.as_ref().context("nothing was read back")?);
        ensure!(told == found, "the report says {told:?}");
        ensure!(pinned.report().local_chunks == pinned.report().chunks, "{:?}", pinned.report());
        drop(pinned);
        let left = own_memory("VmLck")?;
        ensure!(left == before, "{left} bytes are still locked; {before} were before");
        Ok(((), vec![address]))
    })
}

fn huge(machine: &Machine) -> anyhow::Result<()> {
    without_capability(1 << 20)?;
    let bytes = bytes_by_cpus(machine);
    let pool = Pool::new()?;
    let size = PageSize::Huge(HugePageSize::MIB_2);
    let mut region = Region::builder(bytes).page_size(size).build()?;
    let pinned = PagePin::new(&mut region).run(&pool)?;
    ensure!(own_memory("VmLck")? == 0 && pinned.report().locked == 0, "they count as locked");
    let (found, expected) = (pages_by_node(pinned.as_slice())?, pages_by_cpus(machine));
    ensure!(found == expected, "pages lie on {found:?}; the CPUs' shares are {expected:?}");
    Ok(())
}

/// Lets this process, which has no other thread, lock so many bytes as one without privileges.
fn without_capability(bytes: u64) -> anyhow::Result<()> {
    setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
    let mut sets = capabilities(None)?;
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    sets.permitted.remove(CapabilitySet::IPC_LOCK);
    sets.inheritable.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets)?;
    Ok(())
}

fn limited(machine: &Machine) -> anyhow::Result<()> {
    const LIMIT: usize = 3 << 20;
    without_capability(LIMIT as u64)?;
    let limit = LockLimit::current();
    ensure!(limit.bytes == Some(LIMIT as u64) && limit.locked == 0, "{limit:?}");
    let pool = Pool::new()?;
    let mut small = Region::builder(2 << 20).build()?;
    let small = PagePin::new(&mut small).run(&pool).context("what the limit allows")?;
    let mut large = Region::builder(bytes_by_cpus(machine).max(4 << 20)).build()?;
    // Together they are too much, the first one counts.
    let needed = large.len() as u64;
    match PagePin::new(&mut large).run(&pool) {
        Err(JobError::Lock(MemoryError::LockLimit { needed: n, locked, limit }))
            if (n, locked, limit) == (needed, 2 << 20, LIMIT as u64) => {}
        other => bail!("beyond the limit there came {other:?}"),
    }
    let touched = page_nodes(large.as_slice())?.into_iter().flatten().count();
    ensure!(touched == 0 && large.is_fresh(), "{touched} pages were touched before the refusal");
    let locked = own_memory("VmLck")?;
    ensure!(locked == 2 << 20, "{locked} bytes are locked after the refusal");
    drop(small);
    ensure!(own_memory("VmLck")? == 0, "not all is unlocked");
    Ok(())
}

/// One page of the region cannot be had: all others are unlocked again.
fn undone(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let bytes = bytes_by_cpus(machine);
    for fresh in [true, false] {
        let mut region = Region::builder(bytes).build()?;
        if !fresh {
            region.as_mut_slice()[0] = 1;
        }
        let hole = region.as_ptr().wrapping_add(bytes / 2).cast_mut();
        let empty = memfd_create("empty", MemfdFlags::empty())?;
        let (access, kind) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
        // SAFETY: the page is the region's, which is unmapped with whatever is
        // mapped there; and nobody looks at its bytes.
        let mapped = unsafe { rustix::mm::mmap(hole.cast(), PAGE, access, kind, &empty, 0) }?;
        ensure!(mapped == hole.cast(), "it is mapped elsewhere");
        let before = own_memory("VmLck")?;
        match PagePin::new(&mut region).run(&pool) {
            Err(JobError::Init { .. }) if fresh => {}
            Err(JobError::Populate { .. }) if !fresh => {}
            other => bail!("with a hole there came {other:?}"),
        }
        let after = own_memory("VmLck")?;
        ensure!(after == before, "{after} bytes are locked; {before} were before");
    }
    Ok(())
}
