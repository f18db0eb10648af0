//! Copies on every node.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use firsttouch::{Binding, JobError, PageSize, Pool, Replicate};
use firsttouch_guest::machine::Machine;

use super::{number, told};
use crate::case::{Case, Given, skip, without_balancing};
use crate::cases::page_init::initialise::{PAGE, filled, id, last_with_memory, only};
use crate::cases::room::{LEFT, too_much_for};
use crate::condition::{Answer, Call, Condition};
use crate::left_behind;
use crate::read_back::pages_by_node;

const ELEMENTS: usize = 300_000;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "replicas_lie_on_every_node_with_memory",
        given: |_| without_balancing([]),
        check: |machine| on_every_node(machine, PageSize::Base),
    },
    Case {
        name: "replicas_of_transparent_huge_pages_lie_on_every_node_with_memory",
        given: |_| without_balancing([Condition::TransparentHugePages("madvise")]),
        check: |machine| on_every_node(machine, PageSize::Transparent),
    },
    Case { name: "replicas_are_near_to_who_asks", given: |_| without_balancing([]), check: near },
    Case {
        name: "replicas_bound_to_a_full_node_are_an_error_that_names_it",
        given: |machine| match machine.seen().nodes_with_memory().count() {
            0 | 1 => skip("the one node is not to be filled"),
            _ => {
                let node = last_with_memory(machine);
                without_balancing([Condition::FilledNode { node, left: LEFT }])
            }
        },
        check: bound,
    },
    Case {
        name: "replicas_are_made_by_first_touch_where_policies_are_refused",
        given: |_| {
            let (call, answer) = (Call::Mbind, Answer::NotAllowed);
            let filter = Condition::Filtered { call, answer };
            Given::Conditions(vec![filter, Condition::NumaBalancing(false)])
        },
        check: without_policies,
    },
];

fn source() -> Vec<u64> {
    (0..ELEMENTS as u64).map(|index| index * 5).collect()
}

fn on_every_node(machine: &Machine, size: PageSize) -> anyhow::Result<()> {
    let nodes: Vec<_> = machine.seen().nodes_with_memory().collect();
    left_behind::nothing(|| {
        let pool = Pool::new()?;
        let source = source();
        let all = nodes.iter().copied().map(id).collect();
        let replicas = Replicate::new(&source).nodes(all).page_size(size).run(&pool)?;
        let mut addresses = Vec::new();
        for &node in &nodes {
            let copy = replicas.on(id(node)).with_context(|| format!("no copy on {node}"))?;
            ensure!(copy == source, "the copy on node {node} is not equal");
            let found = pages_by_node(bytes_of(copy))?;
            let pages = (copy.len() * 8).div_ceil(PAGE) as u64;
            ensure!(found == BTreeMap::from([(node, pages)]), "node {node}'s lies on {found:?}");
            addresses.push(copy.as_ptr() as usize);
        }
        let report = replicas.report();
        for (row, &node) in report.replicas.iter().zip(&nodes) {
            ensure!(number(row.node) == node && row.is_placed() == Some(true), "{row:?}");
            let told = told(row.residency.as_ref().context("nothing was read back")?);
            ensure!(told.keys().eq([&node]), "the report says {told:?} of node {node}");
        }
        ensure!(report.local_chunks == report.chunks, "{report:?}");
        Ok(((), addresses))
    })
}

/// Helpers of each node are given that node's copy, or the nearest.
fn near(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let source = source();
    let replicas = Replicate::new(&source).run(&pool)?;
    let copies: Vec<_> = replicas.nodes().map(number).collect();
    ensure!(filled(machine).keys().all(|node| copies.contains(node)), "copies on {copies:?}");
    let machine = machine.seen();
    let given = pool.broadcast(|member| {
        let node = member.helper().map(|helper| number(helper.node));
        (node, replicas.local().as_ptr() as usize)
    });
    for (node, address) in given {
        let node = node.context("a helper took part")?;
        let away = |copy: &&usize| (**copy != node, machine.distance(node, **copy));
        let nearest = *copies.iter().min_by_key(away).context("there is a copy")?;
        let copy = replicas.on(id(nearest)).context("it is one of them")?;
        ensure!(copy.as_ptr() as usize == address, "a helper on {node} is not given {nearest}'s");
    }
    Ok(())
}

fn bound(machine: &Machine) -> anyhow::Result<()> {
    let full = last_with_memory(machine);
    let pool = Pool::new()?;
    let source = vec![1_u8; too_much_for(full)?];
    match Replicate::new(&source).nodes(only(full)).binding(Binding::Bind).run(&pool) {
        Err(JobError::NotEnoughFree { node, .. }) if number(node) == full => Ok(()),
        other => bail!("node {full} is full, and there came {other:?}"),
    }
}

/// Each copy is written by helpers of its node, and so lies there all the same.
fn without_policies(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let source = source();
    let nodes = filled(machine).into_keys();
    let replicas = Replicate::new(&source).nodes(nodes.map(id).collect()).run(&pool)?;
    let report = replicas.report();
    for row in &report.replicas {
        ensure!(row.is_placed() == Some(true), "{row:?}");
    }
    Ok(())
}

fn bytes_of(words: &[u64]) -> &[u8] {
    let (start, len) = (words.as_ptr().cast(), size_of_val(words));
    // SAFETY: the bytes are the words', and any byte is a u8.
    unsafe { std::slice::from_raw_parts(start, len) }
}
