//! Pages that move to another placement.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, bail, ensure};
use firsttouch::{
    Binding, HugePageSize, JobError, MigrationReport, NodeSet, PageInit, PageMigration, PageSize,
    Placement, Pool, Region,
};
use firsttouch_guest::machine::Machine;

use super::{moving_part, told};
use crate::case::{Case, Given, without_balancing};
use crate::cases::page_init::huge::huge_pages;
use crate::cases::page_init::initialise::{
    BYTES_PER_CPU, PAGE, bytes_by_cpus, count, filled, id, last_with_memory, number, only,
    pages_by_cpus,
};
use crate::cases::room::{
    HUGE, Has, LEFT, Shares, half_of_free, last_node_full_on_two_cpus, quarter_of_free, set_aside,
    too_much_for, two_cpus,
};
use crate::condition::{Answer, Call, Condition};
use crate::left_behind;
use crate::read_back::page_nodes;
use crate::sysfs;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "migration_moves_base_pages_from_blocks_to_turns_to_one_node",
        given: |_| without_balancing([]),
        check: |machine| there_and_on(machine, PageSize::Base, PAGE),
    },
    Case {
        name: "migration_moves_blocks_of_base_pages_from_blocks_to_turns_to_one_node",
        given: |_| without_balancing([]),
        check: |machine| there_and_on(machine, PageSize::Base, 4 * PAGE),
    },
    Case {
        name: "migration_moves_base_pages_that_the_kernel_is_watching",
        given: |machine| Given::Conditions(vec![two_cpus(machine), Condition::NumaBalancing(true)]),
        check: watched,
    },
    Case {
        name: "migration_moves_transparent_huge_pages_whole",
        given: |_| without_balancing([Condition::TransparentHugePages("madvise")]),
        check: |machine| there_and_on(machine, PageSize::Transparent, HUGE),
    },
    Case {
        name: "migration_moves_huge_pages_whole",
        given: |machine| {
            // Every node can have all of them.
            let shares = Shares::that_fit(machine, 1, Has::All, quarter_of_free);
            let pages = shares.unwrap_or_else(|| Shares::smallest(machine)).huge_pages() as u64;
            let nodes: Vec<_> = machine.seen().nodes_with_memory().collect();
            huge_pages(nodes.into_iter().map(|node| (node, pages)))
        },
        check: |machine| there_and_on(machine, PageSize::Huge(HugePageSize::MIB_2), HUGE),
    },
    Case {
        name: "migration_to_a_full_node_leaves_what_does_not_fit_and_counts_it",
        given: last_node_full_on_two_cpus,
        check: spilled,
    },
    Case {
        name: "migration_bound_to_a_full_node_is_an_error_that_names_it",
        given: last_node_full_on_two_cpus,
        check: bound,
    },
    Case {
        name: "migration_leaves_pages_that_a_child_shares_and_counts_them",
        given: |_| without_balancing([]),
        check: shared,
    },
    Case {
        name: "migration_that_is_refused_is_an_error_that_says_so",
        given: |_| {
            let (call, answer) = (Call::MovePages, Answer::NotAllowed);
            Given::Conditions(vec![Condition::Filtered { call, answer }])
        },
        check: refused,
    },
];

/// Fills a region so that every page tells where it belongs.
fn filled_region(pool: &Pool, bytes: usize, size: PageSize) -> anyhow::Result<Region> {
    let mut region = Region::builder(bytes).page_size(size).build()?;
    PageInit::new(&mut region).fill_with(pool, |first, words: &mut [u64]| {
        for (word, index) in words.iter_mut().zip(first as u64..) {
            *word = index * 3;
        }
    })?;
    Ok(region)
}

/// A region to move.
#[derive(Debug)]
struct Blocked {
    bytes: usize,
    /// The base pages of each node where it is blocked.
    pages: BTreeMap<usize, u64>,
    /// Whether nodes have whole huge pages enough, of which the kernel splits none then.
    whole: bool,
}

fn blocked(machine: &Machine, size: PageSize) -> anyhow::Result<Blocked> {
    if size == PageSize::Base {
        let pages = pages_by_cpus(machine).into_iter();
        let part = moving_part(machine);
        let pages = pages.map(|(node, pages)| (node, pages / part as u64)).collect();
        return Ok(Blocked { bytes: bytes_by_cpus(machine) / part, pages, whole: true });
    }
    let (has, room): (_, fn(usize) -> usize) = match size {
        PageSize::Transparent => (Has::Moving, half_of_free),
        _ => (Has::All, set_aside),
    };
    let smallest = Shares::smallest(machine);
    let shares = Shares::that_fit(machine, 1, has, room);
    let whole = shares.is_some();
    let last = machine.seen().nodes[last_with_memory(machine)].memory.bytes();
    let small = last < 8 * smallest.bytes() as u64;
    ensure!(whole || small, "the last node of {last} bytes has no room for {smallest:?}");
    if !whole {
        crate::say("nodes have too few whole huge pages: that none is split is not asked here");
    }
    let shares = shares.unwrap_or(smallest);
    Ok(Blocked { bytes: shares.bytes(), pages: shares.pages(), whole })
}

fn is_filled(region: &Region) -> anyhow::Result<()> {
    let odd = region.as_slice_of::<u64>().iter().zip(0_u64..).find(|(word, i)| **word != i * 3);
    ensure!(odd.is_none(), "word {:?} is not what it was", odd.map(|(_, index)| index));
    Ok(())
}

/// Moves a region, and makes sure that the report counts what the kernel says before and after.
fn migrate(
    pool: &Pool,
    region: &mut Region,
    placement: Placement,
) -> anyhow::Result<(MigrationReport, Vec<Option<usize>>)> {
    let before = page_nodes(region.as_slice())?;
    let report = PageMigration::new(region).placement(placement).run(pool)?;
    let after = page_nodes(region.as_slice())?;
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    let pages = &report.pages;
    ensure!(
        pages.moved == moved as u64 && pages.there() == after.len() as u64,
        "{moved} of {} pages moved; the report says {pages:?}",
        after.len(),
    );
    let (found, told) = (count(&after), told(report.residency.as_ref().context("no residency")?));
    ensure!(found == told, "the kernel says {found:?}; the report says {told:?}");
    is_filled(region)?;
    Ok((report, after))
}

fn there_and_on(machine: &Machine, size: PageSize, block: usize) -> anyhow::Result<()> {
    let Blocked { bytes, pages: in_blocks, whole } = blocked(machine, size)?;
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let mut region = filled_region(&pool, bytes, size)?;
        let address = region.as_ptr() as usize;
        let found = count(&page_nodes(region.as_slice())?);
        ensure!(found == in_blocks, "it begins with pages on {found:?}");

        let (report, _) = migrate(&pool, &mut region, Placement::Blocked)?;
        ensure!(report.pages.moved == 0, "nothing needs to move: {:?}", report.pages);

        let placement = Placement::Interleaved { block };
        let (_, lies) = migrate(&pool, &mut region, placement).context("to turns")?;
        let nodes: Vec<usize> = filled(machine).into_keys().collect();
        for (page, lies) in lies.iter().enumerate() {
            let meant = nodes[page * PAGE / block % nodes.len()];
            ensure!(*lies == Some(meant), "page {page} lies on {lies:?} and belongs on {meant}");
        }

        let last = last_with_memory(machine);
        let placement = Placement::Nodes(only(last));
        let (report, lies) = migrate(&pool, &mut region, placement).context("to one node")?;
        ensure!(lies.iter().all(|lies| *lies == Some(last)), "not all on {last}");
        let rows: Vec<_> = report.nodes.iter().map(|row| row.row.node.map(number)).collect();
        ensure!(rows == [Some(last)], "rows for {rows:?}");
        ensure!(report.local_chunks == report.chunks, "{report:?}");
        let sizes = report.residency.context("no residency")?;
        let sizes: Vec<_> = sizes.page_sizes().map(|(size, _)| size).collect();
        let as_before = sizes == [region.page_bytes()];
        ensure!(as_before || !whole, "pages of {sizes:?} bytes came of it");

        // The policies moved too: a page that is given back comes on the new node.
        let page = region.page_bytes();
        region.discard(0..page)?;
        region.populate(0..page)?;
        let anew = page_nodes(&region.as_slice()[..page])?;
        ensure!(anew.iter().all(|node| *node == Some(last)), "anew on {anew:?}");
        region.as_mut_slice_of::<u64>()[..page / 8]
            .iter_mut()
            .zip(0_u64..)
            .for_each(|(word, index)| *word = index * 3);

        let (_, lies) = migrate(&pool, &mut region, Placement::Blocked).context("back")?;
        ensure!(count(&lies) == in_blocks, "back on {:?}", count(&lies));
        Ok(((), vec![address]))
    })
}

/// While the kernel balances, it hides pages on some kernels, and may move others meanwhile: all are moved or counted.
fn watched(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let Blocked { bytes, .. } = blocked(machine, PageSize::Base)?;
    let mut region = filled_region(&pool, bytes, PageSize::Base)?;
    let last = last_with_memory(machine);
    for _ in 0..2 {
        for placement in [Placement::Nodes(only(last)), Placement::Blocked] {
            let report = PageMigration::new(&mut region).placement(placement).run(&pool)?;
            let pages = report.pages;
            let all = (region.len() / PAGE) as u64;
            ensure!(pages.there() == all, "{pages:?} of {all}");
            // Accesses, so that there is something to balance.
            is_filled(&region)?;
        }
    }
    Ok(())
}

/// A region on other nodes with room for it, which the full one surely has no room for.
fn elsewhere(machine: &Machine, pool: &Pool) -> anyhow::Result<Region> {
    let full = last_with_memory(machine);
    let mut region = Region::builder(too_much_for(full)?).build()?;
    let placement = Placement::Nodes(with_room(machine, full, region.len() as u64)?);
    PageInit::new(&mut region).placement(placement).fill(pool, 7_u8)?;
    let lies = count(&page_nodes(region.as_slice())?);
    let all = lies.values().sum::<u64>() == (region.len() / PAGE) as u64;
    ensure!(all && !lies.contains_key(&full), "it begins with pages on {lies:?}");
    Ok(region)
}

/// The fewest other nodes that have room for so many bytes, each for an even part.
fn with_room(machine: &Machine, full: usize, bytes: u64) -> anyhow::Result<NodeSet> {
    let seen = machine.seen();
    let others = seen.nodes_with_memory().filter(|&node| node != full);
    let free = |node| Ok((sysfs::node_memory(node, "MemFree")?, node));
    let mut others: Vec<(u64, usize)> = others.map(free).collect::<anyhow::Result<_>>()?;
    others.sort_unstable_by(|one, other| other.cmp(one));
    let has_room = |&nodes: &usize| others[nodes - 1].0 >= bytes / nodes as u64 + LEFT;
    let nodes = (1..=others.len()).find(has_room).unwrap_or(others.len());
    Ok(others[..nodes].iter().map(|&(_, node)| id(node)).collect())
}

fn spilled(machine: &Machine) -> anyhow::Result<()> {
    let full = last_with_memory(machine);
    let pool = Pool::new()?;
    let mut region = elsewhere(machine, &pool)?;
    let migration = PageMigration::new(&mut region).placement(Placement::Nodes(only(full)));
    let report = migration.run(&pool)?;
    let found = count(&page_nodes(region.as_slice())?);
    let there = found.get(&full).copied().unwrap_or(0);
    let all = (region.len() / PAGE) as u64;
    ensure!(there < all, "all of it fits: {found:?}");
    ensure!(
        report.pages.there() == there && report.pages.no_room == all - there,
        "{there} of {all} pages lie on node {full}; the report says {:?}",
        report.pages,
    );
    ensure!(region.as_slice().iter().all(|&byte| byte == 7), "the contents changed");
    Ok(())
}

fn bound(machine: &Machine) -> anyhow::Result<()> {
    let full = last_with_memory(machine);
    let pool = Pool::new()?;
    let mut region = elsewhere(machine, &pool)?;
    let migration = PageMigration::new(&mut region)
        .placement(Placement::Nodes(only(full)))
        .binding(Binding::Bind);
    let (told_there, told_moved) = match migration.run(&pool) {
        Err(JobError::NodeFull { node, there, left, pages })
            if number(node) == full && left > 0 =>
        {
            let all = (region.len() / PAGE) as u64;
            ensure!(pages.total() == all, "of {all} pages it counts {pages:?}");
            (there, pages.moved * PAGE as u64)
        }
        other => bail!("node {full} is full, and there came {other:?}"),
    };
    let found = count(&page_nodes(region.as_slice())?);
    let there = found.get(&full).copied().unwrap_or(0) * PAGE as u64;
    ensure!(
        told_there == there && told_moved == there,
        "{there} bytes lie there; the error says {told_there}, and {told_moved} moved"
    );
    ensure!(region.as_slice().iter().all(|&byte| byte == 7), "the contents changed");
    Ok(())
}

/// Pages that a child has too stay; those that the parent has written to since are its own, and move.
fn shared(machine: &Machine) -> anyhow::Result<()> {
    let nodes: Vec<_> = machine.seen().nodes_with_memory().collect();
    let [first, .., last] = nodes[..] else { return Ok(()) };
    let mut region = Region::builder(BYTES_PER_CPU).build()?;
    let on_first = Pool::new()?;
    PageInit::new(&mut region).placement(Placement::Nodes(only(first))).fill(&on_first, 1_u8)?;
    let (mut reader, writer) = UnixStream::pair()?;
    // SAFETY: the child calls nothing but read and _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(writer);
        let mut byte = [0_u8];
        let _ = reader.read(&mut byte);
        // SAFETY: it ends the child, and nothing else runs in it.
        unsafe { libc::_exit(0) };
    }
    ensure!(child > 0, "fork is refused");
    let own = 64;
    region.as_mut_slice()[..own * PAGE].fill(2);
    let migration = PageMigration::new(&mut region).placement(Placement::Nodes(only(last)));
    let report = migration.run(&on_first);
    // The child's read ends, and with it the child.
    drop(writer);
    let mut status = 0;
    // SAFETY: the status is written to an int of this frame.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    ensure!(waited == child && status == 0, "the child ended with {status:#x}");
    let pages = report?.pages;
    let found = count(&page_nodes(region.as_slice())?);
    let all = (region.len() / PAGE) as u64;
    ensure!(
        pages.moved == own as u64 && pages.fixed == all - own as u64,
        "of {all} pages {own} are not shared; the report says {pages:?}"
    );
    ensure!(found.get(&last) == Some(&(own as u64)), "pages lie on {found:?}");
    Ok(())
}

fn refused(_: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let mut region = Region::builder(BYTES_PER_CPU).build()?;
    region.as_mut_slice().fill(1);
    match PageMigration::new(&mut region).run(&pool) {
        Err(error @ JobError::Migrate { .. }) => {
            ensure!(error.is_refused(), "it does not count as refused: {error}");
        }
        other => bail!("move_pages is filtered, and there came {other:?}"),
    }
    Ok(())
}
