//! Memory of other kinds: copies, shared memory, files, huge pages by file and by collapse.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use firsttouch::{
    FileView, HugePageSize, MemoryError, PageCollapse, PageInit, PageRead, PageSize, Placement,
    Policy, Pool, Region, RegionBuilder,
};
use firsttouch_guest::machine::Machine;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::huge::huge_pages;
use super::initialise::{
    BYTES_PER_CPU, PAGE, bytes_by_cpus, filled, id, last_with_memory, only, pages_by_cpus,
};
use crate::case::{Case, Given, skip, without_balancing};
use crate::cases::room::HUGE;
use crate::condition::{Answer, Call, Condition};
use crate::left_behind;
use crate::read_back::pages_by_node;
use crate::sysfs;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "page_init_by_copy_places_every_page_and_is_local",
        given: |_| without_balancing([]),
        check: copied,
    },
    Case {
        name: "page_init_of_shared_memory_places_every_page",
        given: |_| without_balancing([]),
        check: |machine| blocked(machine, Region::builder(bytes_by_cpus(machine)).shared()),
    },
    Case {
        name: "page_init_of_shared_huge_pages_takes_from_each_nodes_pool",
        given: every_pool,
        check: shared_huge,
    },
    Case {
        name: "page_init_of_shared_huge_pages_by_fallocate_takes_from_each_nodes_pool",
        given: |machine| without_populate(every_pool(machine)),
        check: shared_huge,
    },
    Case {
        name: "an_exhausted_pool_of_huge_pages_is_named_with_its_node",
        given: elsewhere,
        check: |machine| exhausted(machine, false),
    },
    Case {
        name: "an_exhausted_pool_of_huge_pages_is_named_with_its_node_by_fallocate",
        given: |machine| without_populate(elsewhere(machine)),
        check: |machine| exhausted(machine, true),
    },
    Case {
        name: "bound_shared_memory_and_files_of_a_tmpfs_lie_on_their_node",
        given: |_| without_balancing([]),
        check: bound,
    },
    Case {
        name: "page_init_of_a_tmpfs_file_places_every_page",
        given: |_| without_balancing([]),
        check: tmpfs_file,
    },
    Case {
        name: "a_file_that_is_read_lies_on_the_nodes_of_its_readers",
        given: |_| without_balancing([]),
        check: page_cache,
    },
    Case {
        name: "collapsed_pages_are_huge_and_stay_on_their_node",
        given: |_| without_balancing([Condition::TransparentHugePages("madvise")]),
        check: collapsed,
    },
];

/// Huge pages on each node for its CPUs' share.
fn every_pool(machine: &Machine) -> Given {
    let pages = |(node, cpus)| (node, (cpus * BYTES_PER_CPU / HUGE) as u64);
    huge_pages(filled(machine).into_iter().map(pages))
}

/// Huge pages on the last of several nodes alone.
fn elsewhere(machine: &Machine) -> Given {
    match machine.seen().nodes_with_memory().count() {
        0 | 1 => skip("there is one node only"),
        _ => huge_pages([(last_with_memory(machine), 4)]),
    }
}

/// The same without `MADV_POPULATE_WRITE`, so that files are asked for their pages with `fallocate`.
fn without_populate(given: Given) -> Given {
    match given {
        Given::Conditions(mut conditions) => {
            let (call, answer) = (Call::PopulateWrite, Answer::Invalid);
            conditions.push(Condition::Filtered { call, answer });
            Given::Conditions(conditions)
        }
        skipped => skipped,
    }
}

fn copied(machine: &Machine) -> anyhow::Result<()> {
    let bytes = bytes_by_cpus(machine);
    let expected = pages_by_cpus(machine);
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        // On all nodes in turn: one alone may be too small for all of it.
        let mut source = Region::builder(bytes).build()?;
        let in_turn = Placement::Interleaved { block: PAGE };
        PageInit::new(&mut source).placement(in_turn).fill_with(
            &pool,
            |first, words: &mut [u32]| {
                for (word, index) in words.iter_mut().zip(first as u32..) {
                    *word = index ^ 0xABCD_1234;
                }
            },
        )?;
        let source_address = source.as_ptr() as usize;
        let source = source.as_slice_of::<u32>();
        let mut region = Region::builder(bytes).build()?;
        let report = PageInit::new(&mut region).copy_from(&pool, source)?;
        ensure!(region.as_slice_of::<u32>() == source, "the copy differs from its source");
        let found = pages_by_node(region.as_slice())?;
        ensure!(found == expected, "pages lie on {found:?}; the CPUs' shares are {expected:?}");
        let pages = report.pages.context("nothing was read back")?;
        ensure!(pages.local == pages.total(), "not all are local: {pages:?}");
        Ok(((), vec![region.as_ptr() as usize, source_address]))
    })
}

/// Initialises a region by its CPUs' shares, and makes sure that they lie so.
fn blocked(machine: &Machine, builder: RegionBuilder) -> anyhow::Result<()> {
    let expected = pages_by_cpus(machine);
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let mut region = builder.build()?;
        let report = PageInit::new(&mut region).fill(&pool, 7_u8)?;
        ensure!(region.as_slice().iter().all(|&byte| byte == 7), "the fill is not whole");
        let found = pages_by_node(region.as_slice())?;
        ensure!(found == expected, "pages lie on {found:?}; the CPUs' shares are {expected:?}");
        let pages = report.pages.context("nothing was read back")?;
        ensure!(pages.placed == pages.total() && pages.local == pages.total(), "{pages:?}");
        Ok(((), vec![region.as_ptr() as usize]))
    })
}

fn shared_huge(machine: &Machine) -> anyhow::Result<()> {
    let free = |node: usize| -> anyhow::Result<u64> {
        sysfs::parse(format!("{}/hugepages/hugepages-2048kB/free_hugepages", sysfs::node(node)))
    };
    let size = PageSize::Huge(HugePageSize::MIB_2);
    let builder = Region::builder(bytes_by_cpus(machine)).page_size(size).shared();
    blocked(machine, builder)?;
    for (&node, cpus) in &filled(machine) {
        let (free, expected) = (free(node)?, (cpus * BYTES_PER_CPU / HUGE) as u64);
        ensure!(free == expected, "{free} huge pages of {expected} are back on node {node}");
    }
    Ok(())
}

/// A region of huge pages is bound to a node that has none.
fn exhausted(machine: &Machine, shared: bool) -> anyhow::Result<()> {
    let first = filled(machine).into_keys().next().context("no node has CPUs and memory")?;
    let builder = Region::builder(2 * HUGE).page_size(PageSize::Huge(HugePageSize::MIB_2));
    let builder = if shared { builder.shared() } else { builder };
    let mut region = builder.policy(Policy::Bind(only(first))).build()?;
    let error = match region.populate(0..2 * HUGE) {
        Err(error) => error,
        Ok(()) => bail!("node {first} has no huge pages, and there were some"),
    };
    let told = error.to_string();
    let path = format!("node{first}/hugepages/hugepages-2048kB/nr_hugepages");
    match error {
        MemoryError::HugePagesExhausted { nodes: Some(nodes), pools, .. }
            if nodes == only(first)
                && pools.contains(&(id(first), 0))
                && pools.contains(&(id(last_with_memory(machine)), 4))
                && told.contains(&path) =>
        {
            Ok(())
        }
        other => bail!("node {first} has no huge pages, and there came {other:?}: {told}"),
    }
}

/// A file without a name of so many bytes.
fn nameless(directory: &Path, len: usize) -> anyhow::Result<File> {
    let path = directory.join("file");
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    file.set_len(len as u64)?;
    Ok(file)
}

fn bound(machine: &Machine) -> anyhow::Result<()> {
    const BYTES: usize = 4 << 20;
    for node in machine.seen().nodes_with_memory() {
        let policy = Policy::Bind(only(node));
        let file = nameless(Path::new("/tmp"), BYTES)?;
        // SAFETY: [long], [exclusive] nobody else has the file; [room] it is small.
        let of_file = unsafe { Region::map_file(&file, 0..BYTES as u64)? };
        for mut region in [Region::builder(BYTES).shared().build()?, of_file] {
            region.set_policy(0..BYTES, &policy)?;
            region.populate(0..BYTES)?;
            let found = pages_by_node(region.as_slice())?;
            let expected = BTreeMap::from([(node, (BYTES / PAGE) as u64)]);
            ensure!(found == expected, "pages lie on {found:?}, and not on node {node}");
        }
    }
    Ok(())
}

fn tmpfs_file(machine: &Machine) -> anyhow::Result<()> {
    let (bytes, expected) = (bytes_by_cpus(machine), pages_by_cpus(machine));
    let file = nameless(Path::new("/tmp"), bytes)?;
    let pool = Pool::new()?;
    // SAFETY: [long], [exclusive] nobody else has the file; [room] it is small.
    let mut region = unsafe { Region::map_file(&file, 0..bytes as u64)? };
    // What it had lies on one node, and is to be placed anew.
    region.as_mut_slice().fill(1);
    PageInit::new(&mut region).fill(&pool, 2_u8)?;
    let found = pages_by_node(region.as_slice())?;
    ensure!(found == expected, "pages lie on {found:?}; the CPUs' shares are {expected:?}");
    drop(region);
    // SAFETY: [long], [unchanged] nobody else has the file.
    let view = unsafe { FileView::map(&file, 0..bytes as u64)? };
    PageRead::new(&view).run(&pool)?;
    ensure!(view.as_slice().iter().all(|&byte| byte == 2), "the file has not what was written");
    Ok(())
}

/// The page cache of a file system whose files ignore the policies of mappings.
fn page_cache(machine: &Machine) -> anyhow::Result<()> {
    let directory = Path::new("/tmp/ramfs");
    std::fs::create_dir_all(directory)?;
    mount("ramfs", directory, "ramfs", MountFlags::empty(), None)?;
    let read = || -> anyhow::Result<()> {
        let (bytes, expected) = (bytes_by_cpus(machine), pages_by_cpus(machine));
        let file = nameless(directory, bytes)?;
        // SAFETY: [long], [exclusive] nobody else has the file; [room] it is small.
        let mut region = unsafe { Region::map_file(&file, 0..bytes as u64)? };
        let policy = Policy::Bind(only(last_with_memory(machine)));
        match region.set_policy(0..bytes, &policy) {
            Err(MemoryError::PolicyIgnored) => {}
            other => bail!("the page cache ignores policies, and there came {other:?}"),
        }
        drop(region);
        let pool = Pool::new()?;
        // SAFETY: [long], [unchanged] nobody else has the file.
        let view = unsafe { FileView::map(&file, 0..bytes as u64)? };
        let report = PageRead::new(&view).placement(Placement::Blocked).run(&pool)?;
        ensure!(report.local_chunks == report.chunks, "not all chunks are local: {report:?}");
        let found = pages_by_node(view.as_slice())?;
        ensure!(found == expected, "pages lie on {found:?}; the CPUs' shares are {expected:?}");
        Ok(())
    };
    let came = read();
    unmount(directory, UnmountFlags::empty())?;
    came
}

fn collapsed(machine: &Machine) -> anyhow::Result<()> {
    const BYTES: usize = 4 * HUGE;
    let pool = Pool::new()?;
    for node in machine.seen().nodes_with_memory() {
        let builder = Region::builder(BYTES).page_size(PageSize::Transparent);
        let mut region = builder.policy(Policy::Bind(only(node))).build()?;
        let start = region.as_mut_slice().as_mut_ptr();
        let advise = |advice| {
            // SAFETY: the range is the region's, and its bytes stay as they are.
            let answer = unsafe { libc::madvise(start.cast(), BYTES, advice) };
            ensure!(answer == 0, "madvise: {}", std::io::Error::last_os_error());
            Ok(())
        };
        advise(libc::MADV_NOHUGEPAGE)?;
        for (index, byte) in region.as_mut_slice().iter_mut().enumerate() {
            *byte = (index % 251) as u8;
        }
        let sizes = |region: &Region| -> anyhow::Result<Vec<_>> {
            Ok(region.residency(0..BYTES)?.page_sizes().collect())
        };
        let before = sizes(&region)?;
        ensure!(before == [(PAGE, BYTES as u64)], "pages of {before:?} bytes to begin with");
        // From here on the kernel's own thread may collapse some, too.
        advise(libc::MADV_HUGEPAGE)?;
        let report = PageCollapse::new(&mut region).run(&pool)?;
        let after = sizes(&region)?;
        ensure!(
            report.huge == BYTES && after == [(HUGE, BYTES as u64)],
            "of {BYTES} bytes {} were collapsed, and pages are of {after:?} bytes",
            report.huge
        );
        let found = pages_by_node(region.as_slice())?;
        let expected = BTreeMap::from([(node, (BYTES / PAGE) as u64)]);
        ensure!(found == expected, "pages lie on {found:?}, and not on node {node}");
        let is_kept = |(index, &byte): (usize, &u8)| byte == (index % 251) as u8;
        ensure!(region.as_slice().iter().enumerate().all(is_kept), "a byte has changed");
    }
    Ok(())
}
