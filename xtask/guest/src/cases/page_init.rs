//! Page initialisation: every page on its node, touched by a CPU local to it.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use firsttouch::{PageInit, PageSize, Placement, Pool, Region};
use firsttouch_guest::machine::Machine;

use crate::case::{Case, Given, as_booted};
use crate::condition::Condition;
use crate::read_back::pages_by_node;

const BYTES_PER_NODE: usize = 4 << 20;

pub(super) const CASES: &[Case] = &[
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
        given: |_| Given::Conditions(vec![Condition::TransparentHugePages("madvise")]),
        check: |machine| blocked(machine, PageSize::Transparent),
    },
];

fn blocked(machine: &Machine, size: PageSize) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let bytes = machine.seen().nodes_with_memory().count() * BYTES_PER_NODE;
    let mut region = Region::builder(bytes).page_size(size).build()?;
    let report = PageInit::new(&mut region).placement(Placement::Blocked).zero(&pool)?;
    let pages = report.pages.as_ref().context("nothing was read back")?;
    let found = pages_by_node(region.as_slice())?;
    let told: BTreeMap<_, _> =
        pages.residency.nodes().map(|(node, pages)| (node.os_index() as usize, pages)).collect();
    ensure!(found == told, "the kernel says {found:?}; the report says {told:?}");
    ensure!(
        pages.placed == pages.total() && pages.local == pages.total(),
        "of {} pages {} are placed and {} local: {report:?}",
        pages.total(),
        pages.placed,
        pages.local,
    );
    Ok(())
}
