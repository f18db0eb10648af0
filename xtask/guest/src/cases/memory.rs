//! Regions: pages lie where their policy or the first touch puts them.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use firsttouch::memory::ThreadPolicy;
use firsttouch::topology::affinity;
use firsttouch::{CpuId, HugePageSize, MemoryError, NodeId, PageSize, Policy, Region};
use firsttouch_guest::machine::Machine;

use crate::case::{Case, Given, as_booted, skip};
use crate::condition::{Answer, Call, Condition};
use crate::read_back::{page_nodes, pages_by_node};

const PAGE: usize = 4096;
const BYTES: usize = 8 << 20;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "bound_pages_lie_on_their_node",
        given: as_booted,
        check: |machine| bound(machine, PageSize::Base),
    },
    Case {
        name: "bound_transparent_huge_pages_lie_on_their_node",
        given: |_| Given::Conditions(vec![Condition::TransparentHugePages("madvise")]),
        check: |machine| bound(machine, PageSize::Transparent),
    },
    Case {
        name: "bound_pages_lie_on_their_node_on_a_kernel_without_populate_write",
        given: |_| {
            let (call, answer) = (Call::PopulateWrite, Answer::Invalid);
            Given::Conditions(vec![Condition::Filtered { call, answer }])
        },
        check: |machine| bound(machine, PageSize::Base),
    },
    Case {
        name: "untold_pages_lie_on_the_node_of_the_first_touch",
        given: as_booted,
        check: first_touch,
    },
    Case { name: "interleaved_pages_are_spread_exactly", given: as_booted, check: interleaved },
    Case {
        name: "huge_pages_come_from_the_one_node_that_has_them",
        given: |machine| {
            Given::Conditions(vec![Condition::HugePages {
                node: last_with_memory(machine),
                pages: 4,
            }])
        },
        check: huge_pages_on_one_node,
    },
    Case {
        name: "without_a_pool_huge_pages_are_an_error_and_the_fallback_is_granted",
        given: as_booted,
        check: no_huge_pages,
    },
    Case {
        name: "transparent_huge_pages_that_are_off_are_an_error",
        given: |_| Given::Conditions(vec![Condition::TransparentHugePages("never")]),
        check: no_transparent_huge_pages,
    },
    Case {
        name: "a_refused_mbind_is_an_error_that_says_so",
        given: |_| {
            let (call, answer) = (Call::Mbind, Answer::NotAllowed);
            Given::Conditions(vec![Condition::Filtered { call, answer }])
        },
        check: refused_mbind,
    },
    Case {
        name: "a_refused_set_mempolicy_is_an_error_that_says_so",
        given: |_| {
            let (call, answer) = (Call::SetMempolicy, Answer::NotAllowed);
            Given::Conditions(vec![Condition::Filtered { call, answer }])
        },
        check: refused_set_mempolicy,
    },
    Case {
        name: "a_refused_reading_back_is_an_error_that_says_so",
        given: |_| {
            let (call, answer) = (Call::MovePages, Answer::NoSuchCall);
            Given::Conditions(vec![Condition::Filtered { call, answer }])
        },
        check: refused_reading_back,
    },
    Case {
        name: "preferred_memory_spills_where_its_node_is_full",
        given: |machine| {
            let node = last_with_memory(machine);
            match machine.seen().nodes_with_memory().count() {
                0 | 1 => skip("there is no other node to spill to"),
                _ => Given::Conditions(vec![Condition::FilledNode { node, left: 24 << 20 }]),
            }
        },
        check: spilled,
    },
];

fn last_with_memory(machine: &Machine) -> usize {
    machine.seen().nodes_with_memory().last().unwrap_or_default()
}

fn id(node: usize) -> NodeId {
    NodeId::new(node as u32)
}

fn bound(machine: &Machine, size: PageSize) -> anyhow::Result<()> {
    for node in machine.seen().nodes_with_memory() {
        let policy = Policy::Bind([id(node)].into_iter().collect());
        let mut region = Region::builder(BYTES).page_size(size).policy(policy).build()?;
        region.populate(0..BYTES)?;
        lies_on(&region, &BTreeMap::from([(node, BYTES)]))?;
        if size == PageSize::Transparent {
            let sizes: Vec<_> = region.residency(0..BYTES)?.page_sizes().collect();
            let huge = region.page_bytes();
            ensure!(sizes == [(huge, BYTES as u64)], "pages of {sizes:?} bytes on node {node}");
        }
    }
    Ok(())
}

fn first_touch(machine: &Machine) -> anyhow::Result<()> {
    let machine = machine.seen();
    for node in machine.nodes_with_cpus() {
        let Some(cpu) = machine.online_cpus_of(node).last() else { continue };
        affinity::set_current(&[CpuId::new(cpu)].into_iter().collect())?;
        let mut region = Region::builder(BYTES).build()?;
        region.as_mut_slice().fill(1);
        // A node without memory takes it from the nearest that has some.
        let nearest = machine.nodes_with_memory().min_by_key(|&to| machine.distance(node, to));
        let nearest = nearest.context("no node has memory")?;
        lies_on(&region, &BTreeMap::from([(nearest, BYTES)]))
            .with_context(|| format!("touched by CPU {cpu} of node {node}"))?;
    }
    Ok(())
}

fn interleaved(machine: &Machine) -> anyhow::Result<()> {
    let nodes: Vec<_> = machine.seen().nodes_with_memory().collect();
    let bytes = nodes.len() * 512 * PAGE;
    let policy = Policy::Interleave(nodes.iter().copied().map(id).collect());
    let mut region = Region::builder(bytes).policy(policy).build()?;
    region.populate(0..bytes)?;
    lies_on(&region, &nodes.iter().map(|&node| (node, 512 * PAGE)).collect())?;
    let order = page_nodes(region.as_slice())?;
    let alternate = order.windows(2).all(|pair| nodes.len() == 1 || pair[0] != pair[1]);
    ensure!(alternate, "two pages in a row lie on one node: {:?}", &order[..16]);
    Ok(())
}

fn huge_pages_on_one_node(machine: &Machine) -> anyhow::Result<()> {
    let node = last_with_memory(machine);
    let size = PageSize::Huge(HugePageSize::MIB_2);
    let mut region = Region::builder(BYTES).page_size(size).build()?;
    region.as_mut_slice().fill(1);
    lies_on(&region, &BTreeMap::from([(node, BYTES)]))?;
    let sizes: Vec<_> = region.residency(0..BYTES)?.page_sizes().collect();
    ensure!(sizes == [(2 << 20, BYTES as u64)], "pages of {sizes:?} bytes");
    Ok(())
}

fn no_huge_pages(_: &Machine) -> anyhow::Result<()> {
    let size = PageSize::Huge(HugePageSize::MIB_2);
    match Region::builder(BYTES).page_size(size).build() {
        Err(error @ MemoryError::HugePagesShort { .. }) => {
            ensure!(error.is_page_size_unavailable(), "it does not count as unavailable: {error}");
        }
        other => anyhow::bail!("without a pool there came {other:?}"),
    }
    let region = Region::builder(BYTES).page_size(size).or_page_size(PageSize::Base).build()?;
    ensure!(region.page_size() == PageSize::Base, "granted: {:?}", region.page_size());
    Ok(())
}

fn no_transparent_huge_pages(_: &Machine) -> anyhow::Result<()> {
    match Region::builder(BYTES).page_size(PageSize::Transparent).build() {
        Err(MemoryError::NoTransparentHugePages { .. }) => Ok(()),
        other => anyhow::bail!("with transparent huge pages off there came {other:?}"),
    }
}

fn refused_mbind(machine: &Machine) -> anyhow::Result<()> {
    let policy = Policy::Bind([id(last_with_memory(machine))].into_iter().collect());
    let mut region = Region::builder(BYTES).build()?;
    match region.set_policy(0..BYTES, &policy) {
        Err(error) if error.is_refused() => {}
        other => anyhow::bail!("mbind is filtered, and there came {other:?}"),
    }
    region.populate(0..BYTES)?;
    let present = region.residency(0..BYTES)?.present();
    ensure!(present == (BYTES / PAGE) as u64, "{present} pages are present");
    Ok(())
}

fn refused_set_mempolicy(_: &Machine) -> anyhow::Result<()> {
    match ThreadPolicy::set(&Policy::Local) {
        Err(error) if error.is_refused() => Ok(()),
        other => anyhow::bail!("set_mempolicy is filtered, and there came {other:?}"),
    }
}

fn refused_reading_back(_: &Machine) -> anyhow::Result<()> {
    let mut region = Region::builder(BYTES).build()?;
    region.populate(0..BYTES)?;
    match region.residency(0..BYTES) {
        Err(error) if error.is_refused() => Ok(()),
        other => anyhow::bail!("move_pages is filtered, and there came {other:?}"),
    }
}

fn spilled(machine: &Machine) -> anyhow::Result<()> {
    let node = last_with_memory(machine);
    let bytes = 6 * BYTES;
    let mut region = Region::builder(bytes).policy(Policy::Preferred(id(node))).build()?;
    region.populate(0..bytes)?;
    let counts = pages_by_node(region.as_slice())?;
    let all: u64 = counts.values().sum();
    ensure!(all == (bytes / PAGE) as u64, "{all} pages of {} are present", bytes / PAGE);
    // How much still fits is the kernel's to say: it keeps reserves, and may keep the node's rest.
    let elsewhere = all - counts.get(&node).copied().unwrap_or(0);
    ensure!(elsewhere > 0, "nothing spilled from node {node}: {counts:?}");
    agrees(&region, &counts)
}

/// Makes sure that a region's pages lie as expected, says the kernel, and that the library says the same.
fn lies_on(region: &Region, bytes: &BTreeMap<usize, usize>) -> anyhow::Result<()> {
    let expected = bytes.iter().map(|(&node, &bytes)| (node, (bytes / PAGE) as u64)).collect();
    let found = pages_by_node(region.as_slice())?;
    ensure!(found == expected, "pages lie on {found:?}; they should lie on {expected:?}");
    agrees(region, &found)
}

fn agrees(region: &Region, found: &BTreeMap<usize, u64>) -> anyhow::Result<()> {
    let residency = region.residency(0..region.len())?;
    let told: BTreeMap<_, _> =
        residency.nodes().map(|(node, pages)| (node.os_index() as usize, pages)).collect();
    ensure!(told == *found, "the region says {told:?}; the kernel says {found:?}");
    Ok(())
}
