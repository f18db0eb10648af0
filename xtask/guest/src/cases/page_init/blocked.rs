//! A block for each node, in proportion to its CPUs.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Mutex;

use anyhow::{Context as _, ensure};
use firsttouch::topology::affinity;
use firsttouch::{MemoryError, PageInit, PageSize, Placement, Pool, Region, Steal};
use firsttouch_guest::machine::Machine;

use super::initialise::{BYTES_PER_CPU, bytes_by_cpus, filled, id, initialise, pages_by_cpus};
use crate::case::{Case, Given, as_booted, skip, without_balancing};
use crate::condition::Condition;
use crate::left_behind;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "page_init_places_every_base_page",
        given: as_booted,
        check: |machine| blocked(machine, PageSize::Base),
    },
    Case {
        name: "page_init_places_every_base_page_under_numa_balancing",
        given: |_| Given::Conditions(vec![Condition::NumaBalancing(true)]),
        check: |machine| blocked(machine, PageSize::Base),
    },
    Case {
        name: "page_init_places_every_base_page_without_numa_balancing",
        given: |_| Given::Conditions(vec![Condition::NumaBalancing(false)]),
        check: |machine| blocked(machine, PageSize::Base),
    },
    Case {
        name: "page_init_places_every_transparent_huge_page",
        given: |_| without_balancing([Condition::TransparentHugePages("madvise")]),
        check: transparent,
    },
    Case {
        name: "page_init_places_every_page_where_transparent_huge_pages_are_always_used",
        given: |_| without_balancing([Condition::TransparentHugePages("always")]),
        check: |machine| {
            blocked(machine, PageSize::Base).context("base pages")?;
            transparent(machine).context("transparent huge pages")
        },
    },
    Case {
        name: "page_init_places_every_page_where_transparent_huge_pages_are_never_used",
        given: |_| without_balancing([Condition::TransparentHugePages("never")]),
        check: never_transparent,
    },
    Case {
        name: "page_init_is_done_by_threads_kept_to_the_nodes_of_their_pages",
        given: |_| without_balancing([]),
        check: kept_to_their_nodes,
    },
    Case {
        name: "page_init_with_stealing_allowed_places_every_page",
        given: |_| without_balancing([]),
        check: stealing,
    },
    Case {
        name: "page_init_by_one_thread_places_every_page_all_the_same",
        given: |_| without_balancing([]),
        check: one_thread,
    },
    Case {
        name: "page_init_by_memory_fills_every_node_from_the_nearest_cpus",
        given: |_| without_balancing([]),
        check: by_memory,
    },
    Case {
        name: "page_init_from_a_node_without_memory_fills_the_nearest_that_has_some",
        given: |machine| match without_memory(machine) {
            Some((_, cpus)) => without_balancing([Condition::Affinity { cpus }]),
            None => skip("every node with CPUs has memory"),
        },
        check: from_a_node_without_memory,
    },
];

/// Each node has exactly its CPUs' share, and every page was initialised by one of them.
fn blocked(machine: &Machine, size: PageSize) -> anyhow::Result<()> {
    let came = initialise(bytes_by_cpus(machine), size, |init| init.placement(Placement::Blocked))?;
    let (found, expected) = (came.pages(), pages_by_cpus(machine));
    ensure!(found == expected, "pages lie on {found:?}; the CPUs' shares are {expected:?}");
    came.all_placed_and_local()
}

fn transparent(machine: &Machine) -> anyhow::Result<()> {
    blocked(machine, PageSize::Transparent)
}

fn never_transparent(machine: &Machine) -> anyhow::Result<()> {
    blocked(machine, PageSize::Base)?;
    let bytes = bytes_by_cpus(machine);
    match Region::builder(bytes).page_size(PageSize::Transparent).build() {
        Err(MemoryError::NoTransparentHugePages { .. }) => {}
        other => anyhow::bail!("with transparent huge pages off there came {other:?}"),
    }
    let fallback = Region::builder(bytes)
        .page_size(PageSize::Transparent)
        .or_page_size(PageSize::Base)
        .build()?;
    ensure!(fallback.page_size() == PageSize::Base, "granted: {:?}", fallback.page_size());
    Ok(())
}

/// While a page is initialised, its thread may run on CPUs of its node and on no others.
fn kept_to_their_nodes(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let mut region = Region::builder(bytes_by_cpus(machine)).build()?;
    let seen = Mutex::new(BTreeSet::new());
    PageInit::new(&mut region).fill_with(&pool, |first, bytes: &mut [u8]| {
        bytes.fill(1);
        let mask: Option<BTreeSet<u32>> =
            affinity::current().ok().map(|mask| mask.iter().map(u32::from).collect());
        let mut seen = seen.lock().expect("nobody panics while it is held");
        seen.insert((first / BYTES_PER_CPU, mask));
    })?;
    let (filled, machine) = (filled(machine), machine.seen());
    // The node that each CPU's share belongs to, in order.
    let owners: Vec<usize> =
        filled.iter().flat_map(|(&node, &cpus)| std::iter::repeat_n(node, cpus)).collect();
    let seen = seen.into_inner().expect("nobody panicked");
    ensure!(!seen.is_empty(), "nothing was initialised");
    for (share, mask) in seen {
        let mask = mask.context("a thread cannot read where it may run")?;
        let node = owners[share];
        let own: BTreeSet<u32> = machine.online_cpus_of(node).collect();
        ensure!(
            mask.is_subset(&own),
            "a page of node {node}, whose CPUs are {own:?}, was initialised by a thread that may \
             run on {mask:?}"
        );
    }
    Ok(())
}

fn stealing(machine: &Machine) -> anyhow::Result<()> {
    let bytes = bytes_by_cpus(machine);
    for size in [PageSize::Base, PageSize::Transparent] {
        let came = initialise(bytes, size, |init| init.steal(Steal::Anywhere).min_chunk(1))?;
        let (found, expected) = (came.pages(), pages_by_cpus(machine));
        ensure!(found == expected, "pages lie on {found:?}; they belong on {expected:?}");
        let pages = came.report.pages.context("nothing was read back")?;
        ensure!(pages.placed == pages.total(), "{} of {}", pages.placed, pages.total());
    }
    Ok(())
}

/// One thread on one node touches the pages of all: their policy and not luck decides where they lie.
fn one_thread(machine: &Machine) -> anyhow::Result<()> {
    let bytes = bytes_by_cpus(machine);
    let expected = pages_by_cpus(machine);
    for steal in [Steal::Node, Steal::Anywhere] {
        let came = initialise(bytes, PageSize::Base, |init| {
            init.steal(steal).max_threads(NonZeroUsize::MIN)
        })?;
        let found = came.pages();
        ensure!(found == expected, "{steal:?}: pages lie on {found:?}, not on {expected:?}");
        let pages = came.report.pages.context("nothing was read back")?;
        let remote = expected.len() > 1;
        ensure!(
            pages.placed == pages.total() && (pages.local < pages.total()) == remote,
            "{steal:?}: of {} pages {} are placed and {} local to the one thread",
            pages.total(),
            pages.placed,
            pages.local,
        );
    }
    Ok(())
}

/// Nodes without CPUs are filled too, by the CPUs that are local to them.
fn by_memory(machine: &Machine) -> anyhow::Result<()> {
    let nodes: Vec<_> = machine.seen().nodes_with_memory().collect();
    let bytes = nodes.len() * (4 << 20);
    let came =
        initialise(bytes, PageSize::Base, |init| init.placement(Placement::BlockedByMemory))?;
    let found = came.pages();
    let on: Vec<_> = found.keys().copied().collect();
    ensure!(on == nodes, "pages lie on nodes {on:?}; those with memory are {nodes:?}");
    came.all_placed_and_local()
}

/// The first node that has CPUs and no memory, and its CPUs.
fn without_memory(machine: &Machine) -> Option<(usize, BTreeSet<u32>)> {
    let machine = machine.seen();
    let bare = |node: &usize| machine.nodes[*node].memory.bytes() == 0;
    let node = machine.nodes_with_cpus().find(bare)?;
    Some((node, machine.online_cpus_of(node).collect()))
}

fn from_a_node_without_memory(machine: &Machine) -> anyhow::Result<()> {
    let (from, _) = without_memory(machine).context("every node with CPUs has memory")?;
    let machine = machine.seen();
    let nearest = machine.nodes_with_memory().min_by_key(|&to| machine.distance(from, to));
    let nearest = nearest.context("no node has memory")?;
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let mut region = Region::builder(8 << 20).build()?;
        let address = region.as_ptr() as usize;
        let report = PageInit::new(&mut region).zero(&pool)?;
        let pages = report.pages.context("nothing was read back")?;
        let there = pages.residency.pages_on(id(nearest));
        ensure!(
            there == pages.total() && pages.placed == there,
            "from node {from} the nearest memory is node {nearest}'s, and pages lie so: {pages:?}"
        );
        Ok(((), vec![address]))
    })
}
