//! Blocks that go round the nodes.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use firsttouch::{HugePageSize, PageSize, Placement};
use firsttouch_guest::machine::Machine;

use super::huge::huge_pages;
use super::initialise::{Initialised, PAGE, filled, initialise};
use crate::case::{Case, without_balancing};
use crate::cases::room::HUGE;
use crate::condition::Condition;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "page_init_interleaves_base_pages_exactly",
        given: |_| without_balancing([]),
        check: |machine| interleaved(machine, PageSize::Base, PAGE, 1024),
    },
    Case {
        name: "page_init_interleaves_blocks_of_base_pages_exactly",
        given: |_| without_balancing([]),
        check: |machine| interleaved(machine, PageSize::Base, 16 * PAGE, 64),
    },
    Case {
        name: "page_init_interleaves_transparent_huge_pages_exactly",
        given: |_| without_balancing([Condition::TransparentHugePages("madvise")]),
        check: |machine| interleaved(machine, PageSize::Transparent, HUGE, 2),
    },
    Case {
        name: "page_init_interleaves_blocks_of_transparent_huge_pages_exactly",
        given: |_| without_balancing([Condition::TransparentHugePages("madvise")]),
        check: |machine| interleaved(machine, PageSize::Transparent, 2 * HUGE, 2),
    },
    Case {
        name: "page_init_interleaves_huge_pages_exactly",
        given: |machine| huge_pages(filled(machine).into_keys().map(|node| (node, 3))),
        check: |machine| interleaved(machine, PageSize::Huge(HugePageSize::MIB_2), HUGE, 3),
    },
];

/// Every node of the pool has exactly so many blocks, and each block lies on one node.
fn interleaved(
    machine: &Machine,
    size: PageSize,
    block: usize,
    blocks_per_node: usize,
) -> anyhow::Result<()> {
    let nodes: Vec<usize> = filled(machine).into_keys().collect();
    let bytes = nodes.len() * blocks_per_node * block;
    let came = initialise(bytes, size, |init| init.placement(Placement::Interleaved { block }))?;
    let each = (blocks_per_node * block / PAGE) as u64;
    let expected: BTreeMap<_, _> = nodes.iter().map(|&node| (node, each)).collect();
    let found = came.pages();
    ensure!(found == expected, "pages lie on {found:?}; their shares are {expected:?}");
    in_turn(&came, block, nodes.len())?;
    let pages = came.report.pages.as_ref().context("nothing was read back")?;
    ensure!(pages.placed == pages.total(), "placed {} of {}", pages.placed, pages.total());
    Ok(())
}

/// Each block lies on one node, and any so many blocks in a row on as many nodes.
fn in_turn(came: &Initialised, block: usize, nodes: usize) -> anyhow::Result<()> {
    let blocks: Vec<_> = came.nodes.chunks(block / PAGE).collect();
    for (index, pages) in blocks.iter().enumerate() {
        let whole = pages.iter().all(|node| *node == pages[0]);
        ensure!(whole, "block {index} lies on several nodes: {pages:?}");
        let again = blocks.get(index + nodes).is_none_or(|later| later[0] == pages[0]);
        ensure!(again, "block {} is not where block {index} is", index + nodes);
    }
    Ok(())
}
