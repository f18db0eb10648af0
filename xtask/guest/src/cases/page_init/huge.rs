//! Huge pages that were set aside (hugetlb).

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use firsttouch::{
    Binding, HugePageSize, JobError, PageInit, PageSize, Placement, Policy, Pool, Region,
};
use firsttouch_guest::machine::Machine;

use super::initialise::{
    BYTES_PER_CPU, PAGE, bytes_by_cpus, filled, id, initialise, last_with_memory, number, only,
    pages_by_cpus,
};
use crate::case::{Case, Given, skip, without_balancing};
use crate::cases::room::HUGE;
use crate::condition::Condition;
use crate::left_behind;
use crate::read_back::{page_nodes, pages_by_node};
use crate::sysfs;

const SIZE: PageSize = PageSize::Huge(HugePageSize::MIB_2);

/// Huge pages of the region in the cases where only one node has some.
const PAGES: u64 = 6;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "page_init_places_every_huge_page",
        given: |machine| {
            let pages = |(node, cpus)| (node, (cpus * BYTES_PER_CPU / HUGE) as u64);
            huge_pages(filled(machine).into_iter().map(pages))
        },
        check: blocked,
    },
    Case {
        name: "page_init_of_huge_pages_spills_to_the_one_node_that_has_them_and_says_so",
        given: |machine| huge_pages([(last_with_memory(machine), PAGES)]),
        check: spilled,
    },
    Case {
        name: "page_init_bound_to_a_node_without_huge_pages_is_an_error_that_names_it",
        given: on_the_last_of_several,
        check: bound_to_none,
    },
    Case {
        name: "page_init_bound_to_a_node_whose_huge_pages_run_out_says_how_much_was_placed",
        given: |machine| match several(machine) {
            true => {
                let first = filled(machine).into_keys().next().unwrap_or_default();
                // As many elsewhere as are taken away, or they could not be promised to both.
                huge_pages([(first, PAGES), (last_with_memory(machine), PAGES)])
            }
            false => skip("there is one node only"),
        },
        check: runs_out,
    },
];

/// Sets huge pages aside on each of these nodes.
pub(in crate::cases) fn huge_pages(pages: impl IntoIterator<Item = (usize, u64)>) -> Given {
    let condition = |(node, pages)| Condition::HugePages { node, pages };
    without_balancing(pages.into_iter().map(condition))
}

fn several(machine: &Machine) -> bool {
    machine.seen().nodes_with_memory().count() > 1
}

fn on_the_last_of_several(machine: &Machine) -> Given {
    match several(machine) {
        true => huge_pages([(last_with_memory(machine), PAGES)]),
        false => skip("there is one node only"),
    }
}

fn blocked(machine: &Machine) -> anyhow::Result<()> {
    let came = initialise(bytes_by_cpus(machine), SIZE, |init| init)?;
    let (found, expected) = (came.pages(), pages_by_cpus(machine));
    ensure!(found == expected, "pages lie on {found:?}; the CPUs' shares are {expected:?}");
    let sizes = came.report.pages.as_ref().context("nothing was read back")?;
    let sizes: Vec<_> = sizes.residency.page_sizes().collect();
    ensure!(sizes == [(HUGE, bytes_by_cpus(machine) as u64)], "pages of {sizes:?} bytes");
    came.all_placed_and_local()?;
    all_free(&expected)
}

/// Nodes without a pool have their part on the one with it, and the report counts what is where it was meant.
fn spilled(machine: &Machine) -> anyhow::Result<()> {
    let last = last_with_memory(machine);
    let came = initialise(PAGES as usize * HUGE, SIZE, |init| init)?;
    let (found, all) = (came.pages(), PAGES * (HUGE / PAGE) as u64);
    ensure!(found == BTreeMap::from([(last, all)]), "pages lie on {found:?}, not all on {last}");
    let own = came.report.nodes.iter().find(|part| part.node == Some(id(last)));
    let meant = own.map_or(0, |part| (part.size / PAGE) as u64);
    let pages = came.report.pages.context("nothing was read back")?;
    ensure!(
        pages.placed == meant && pages.total() == all,
        "{meant} of {all} pages were meant for node {last}; the report says {pages:?}"
    );
    all_free(&found)
}

fn bound_to_none(machine: &Machine) -> anyhow::Result<()> {
    let first = filled(machine).into_keys().next().context("no node has CPUs and memory")?;
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let mut region = Region::builder(PAGES as usize * HUGE).page_size(SIZE).build()?;
        let address = region.as_ptr() as usize;
        match bound(&mut region, first).zero(&pool) {
            Err(JobError::NotEnoughHugePages { node, needed: PAGES, free: Some(0), .. })
                if number(node) == first => {}
            other => bail!("node {first} has no huge pages, and there came {other:?}"),
        }
        let placed = page_nodes(region.as_slice())?.into_iter().flatten().count();
        ensure!(placed == 0, "{placed} pages were placed before the refusal");
        // The region is as good as before: it can be initialised where there is room.
        let report = PageInit::new(&mut region).zero(&pool)?;
        let pages = report.pages.context("nothing was read back")?;
        ensure!(pages.residency.not_present() == 0, "{pages:?}");
        Ok(((), vec![address]))
    })
}

/// Another mapping takes the node's pages once the first one is initialised.
fn runs_out(machine: &Machine) -> anyhow::Result<()> {
    let first = filled(machine).into_keys().next().context("no node has CPUs and memory")?;
    let there = BTreeMap::from([(first, PAGES * (HUGE / PAGE) as u64)]);
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let mut region = Region::builder(PAGES as usize * HUGE).page_size(SIZE).build()?;
        let address = region.as_ptr() as usize;
        let rest = (PAGES as usize - 1) * HUGE;
        let mut thief = Region::builder(rest).page_size(SIZE).build()?;
        thief.set_policy(0..rest, &Policy::Bind(only(first)))?;
        let addresses = vec![address, thief.as_ptr() as usize];
        let thief = std::sync::Mutex::new(thief);
        let came = bound(&mut region, first).max_threads(std::num::NonZeroUsize::MIN).fill_with(
            &pool,
            |_, bytes: &mut [u8]| {
                bytes.fill(1);
                let mut thief = thief.lock().expect("nobody panics while it is held");
                thief.populate(0..rest).expect("the node has as many free");
            },
        );
        let found = pages_by_node(region.as_slice())?;
        match came {
            Err(JobError::Init { node: Some(node), initialised, placed, .. })
                if number(node) == first && initialised == HUGE && placed == Some(HUGE as u64) => {}
            other => bail!("node {first} had one huge page left, and there came {other:?}"),
        }
        let one = BTreeMap::from([(first, (HUGE / PAGE) as u64)]);
        ensure!(found == one, "pages lie on {found:?}; the error says {one:?}");
        Ok(((), addresses))
    })?;
    all_free(&there)
}

fn bound(region: &mut Region, node: usize) -> PageInit<'_> {
    PageInit::new(region).placement(Placement::Nodes(only(node))).binding(Binding::Bind)
}

/// Makes sure that every huge page is back in its node's pool; counts are in base pages.
fn all_free(pages: &BTreeMap<usize, u64>) -> anyhow::Result<()> {
    for (&node, pages) in pages {
        let path = format!("{}/hugepages/hugepages-2048kB/free_hugepages", sysfs::node(node));
        let free: u64 = sysfs::parse(path)?;
        let expected = pages / (HUGE / PAGE) as u64;
        ensure!(free == expected, "{free} huge pages are free on node {node}, not {expected}");
    }
    Ok(())
}
