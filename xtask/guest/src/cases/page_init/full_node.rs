//! A node with little memory left.

use anyhow::{Context as _, bail, ensure};
use firsttouch::{Binding, JobError, PageInit, PageSize, Placement, Pool, Region};
use firsttouch_guest::machine::Machine;

use super::initialise::{PAGE, initialise, last_with_memory, number, only};
use crate::case::Case;
use crate::cases::room::{LEFT, last_node_full, last_node_full_on_two_cpus, too_much_for};
use crate::left_behind;
use crate::read_back::page_nodes;
use crate::sysfs;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "page_init_bound_to_a_full_node_is_an_error_that_names_it",
        given: last_node_full,
        check: bound,
    },
    Case {
        name: "page_init_bound_to_all_that_is_free_places_it_or_is_an_error",
        // All its memory is one node's, and more helpers would only take longer over it.
        given: last_node_full_on_two_cpus,
        check: bound_to_the_last_page,
    },
    Case {
        name: "page_init_spills_from_a_full_node_and_says_how_much",
        given: last_node_full,
        check: spilled,
    },
];

fn bound(machine: &Machine) -> anyhow::Result<()> {
    let full = last_with_memory(machine);
    let bytes = too_much_for(full)?;
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let mut region = Region::builder(bytes).build()?;
        let address = region.as_ptr() as usize;
        let placement = Placement::Nodes(only(full));
        let init = PageInit::new(&mut region).placement(placement).binding(Binding::Bind);
        match init.zero(&pool) {
            Err(JobError::NotEnoughFree { node, needed, free: Some(free) })
                if number(node) == full && needed == bytes as u64 && free < needed => {}
            other => bail!("node {full} is full, and there came {other:?}"),
        }
        let placed = page_nodes(region.as_slice())?.into_iter().flatten().count();
        ensure!(placed == 0, "{placed} pages were placed before the refusal");
        Ok(((), vec![address]))
    })
}

/// The kernel keeps some of what it counts as free; asking for it must not end in its OOM killer.
fn bound_to_the_last_page(machine: &Machine) -> anyhow::Result<()> {
    let full = last_with_memory(machine);
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let mut addresses = Vec::new();
        let mut granted = 0;
        for less in (0..LEFT >> 20).step_by(3) {
            let free = sysfs::node_memory(full, "MemFree")? as usize;
            let bytes = free.saturating_sub((less as usize) << 20).next_multiple_of(PAGE).max(PAGE);
            let mut region = Region::builder(bytes).build()?;
            addresses.push(region.as_ptr() as usize);
            let placement = Placement::Nodes(only(full));
            let init = PageInit::new(&mut region).placement(placement).binding(Binding::Bind);
            match init.zero(&pool) {
                Ok(report) => {
                    let pages = report.pages.context("nothing was read back")?;
                    ensure!(pages.placed == (bytes / PAGE) as u64, "{pages:?}");
                    granted += 1;
                }
                Err(JobError::NotEnoughFree { node, .. }) if number(node) == full => {}
                Err(error) => return Err(error).context("neither placed nor refused beforehand"),
            }
        }
        ensure!(granted > 0, "not even the least of what is free was granted");
        Ok(((), addresses))
    })
}

fn spilled(machine: &Machine) -> anyhow::Result<()> {
    let full = last_with_memory(machine);
    let bytes = too_much_for(full)?;
    let came =
        initialise(bytes, PageSize::Base, |init| init.placement(Placement::Nodes(only(full))))?;
    let (found, all) = (came.pages(), (bytes / PAGE) as u64);
    let there = found.get(&full).copied().unwrap_or(0);
    ensure!(found.values().sum::<u64>() == all, "of {all} pages there are {found:?}");
    // How much still fits is the kernel's to say: it keeps reserves.
    ensure!(there > 0 && there < all, "nothing, or nothing else, was spilled: {found:?}");
    let pages = came.report.pages.context("nothing was read back")?;
    ensure!(
        pages.placed == there && pages.total() == all,
        "{there} of {all} pages lie on node {full}; the report says {} of {}",
        pages.placed,
        pages.total(),
    );
    Ok(())
}
