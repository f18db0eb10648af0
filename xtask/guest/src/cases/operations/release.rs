//! Memory that is given back.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use firsttouch::{PageInit, PageRelease, PageSize, Pool, Region, ReleaseOnDrop};
use firsttouch_guest::machine::Machine;

use super::{number, resident};
use crate::case::{Case, without_balancing};
use crate::cases::page_init::initialise::{PAGE, filled};
use crate::cases::room::{Has, Shares, half_of_free};
use crate::condition::Condition;
use crate::left_behind;
use crate::read_back::pages_by_node;
use crate::sysfs;

/// At most so many times the share of a CPU in a page initialisation, so that the kernel's own memory does not hide it.
const TIMES: usize = 4;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "release_gives_every_base_page_back_by_node",
        given: |_| without_balancing([]),
        check: |machine| by_node(machine, PageSize::Base),
    },
    Case {
        name: "release_gives_every_transparent_huge_page_back_by_node",
        given: |_| without_balancing([Condition::TransparentHugePages("madvise")]),
        check: |machine| by_node(machine, PageSize::Transparent),
    },
    Case {
        name: "release_on_drop_gives_every_page_back",
        given: |_| without_balancing([]),
        check: on_drop,
    },
];

/// How far the kernel's counts can be off: each CPU keeps some of its own for a while.
const OFF: u64 = 4 << 20;

/// What each node has in use by processes, in bytes; CPUs keep free pages aside that do not count as free.
fn used(machine: &Machine) -> anyhow::Result<BTreeMap<usize, u64>> {
    let nodes = filled(machine).into_keys();
    nodes.map(|node| Ok((node, sysfs::node_memory(node, "AnonPages")?))).collect()
}

fn by_node(machine: &Machine, size: PageSize) -> anyhow::Result<()> {
    let shares = Shares::that_fit(machine, TIMES, Has::Share, half_of_free);
    let shares = shares.context("nodes have no room for a huge page of each share")?.pages();
    let expected: BTreeMap<usize, usize> =
        shares.into_iter().map(|(node, pages)| (node, pages as usize * PAGE)).collect();
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let bytes: usize = expected.values().sum();
        let seen = expected.values().all(|&bytes| bytes as u64 > OFF);
        ensure!(seen, "of {expected:?} bytes nobody would see whether they are back");
        // What the helpers need for themselves the first time, their stacks and heaps, is no part of it.
        let mut other = Region::builder(bytes / 8).build()?;
        PageInit::new(&mut other).min_chunk(PAGE).fill(&pool, 1_u8)?;
        ensure!(PageRelease::new(other).min_chunk(PAGE).run(&pool).kept == 0, "it is kept");
        let mut region = Region::builder(bytes).page_size(size).build()?;
        let before = resident()?;
        PageInit::new(&mut region).fill(&pool, 1_u8)?;
        let address = region.as_ptr() as usize;
        let found = pages_by_node(region.as_slice())?;
        let placed =
            found.iter().all(|(node, &pages)| expected.get(node) == Some(&(pages as usize * PAGE)));
        ensure!(placed, "pages lie on {found:?}; they belong on {expected:?}");
        let full = used(machine)?;
        let report = PageRelease::new(region).min_chunk(1 << 20).run(&pool);
        ensure!(report.bytes == bytes && report.kept == 0, "{report:?}");
        let after = resident()?;
        ensure!(after < before + (4 << 20), "{after} bytes are resident; {before} were before");
        for (node, used) in used(machine)? {
            let back = full[&node].saturating_sub(used);
            let given = expected[&node] as u64;
            ensure!(back + OFF > given, "node {node} has {back} bytes back of {given}");
        }
        if machine.seen().nodes_with_memory().count() > 1 {
            let rows = report.nodes.iter();
            let rows: BTreeMap<_, _> =
                rows.filter_map(|row| Some((number(row.node?), row.size))).collect();
            // One page in 512 is asked, so a part may begin and end that far from where it should.
            let near = |(node, &bytes): (&usize, &usize)| {
                expected.get(node).is_some_and(|&lie| bytes.abs_diff(lie) < 2 * 512 * PAGE)
            };
            let all = rows.len() == expected.len() && rows.values().sum::<usize>() == bytes;
            ensure!(
                all && rows.iter().all(near),
                "parts of {rows:?} bytes; the pages lie so: {expected:?}"
            );
        }
        Ok(((), vec![address]))
    })
}

fn on_drop(machine: &Machine) -> anyhow::Result<()> {
    left_behind::nothing(|| {
        let pool = Arc::new(Pool::new()?);
        let bytes = filled(machine).len() * (16 << 20);
        let mut region = ReleaseOnDrop::new(Region::builder(bytes).build()?, pool);
        let address = region.as_ptr() as usize;
        let before = resident()?;
        region.as_mut_slice().fill(1);
        let full = resident()?;
        ensure!(full > before + bytes / 2, "{full} bytes are resident, {before} before");
        drop(region);
        let after = resident().context("after the drop")?;
        ensure!(after < before + (4 << 20), "{after} bytes are resident; {before} were before");
        Ok(((), vec![address]))
    })
}
