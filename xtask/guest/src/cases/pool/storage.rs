//! What a pool and its jobs write lies on the node of those who write it.

use std::collections::BTreeSet;
use std::sync::Mutex;

use anyhow::{Context as _, ensure};
use firsttouch::{Job, Location, NodeId, NodeSet, Pin, Pool, Steal};
use firsttouch_guest::machine::Machine;

use super::{nodes_of, number};
use crate::case::{Case, Given, without_balancing};
use crate::events::Events;
use crate::read_back::node_of_address;
use crate::threads;

pub(in crate::cases) const CASES: &[Case] = &[
    Case { name: "a_pools_structures_lie_on_their_nodes", given: unmoved, check: structures },
    Case {
        name: "a_later_pools_structures_lie_on_their_nodes",
        given: unmoved,
        check: structures_of_later_pools,
    },
    Case { name: "a_jobs_cursors_lie_on_their_nodes", given: unmoved, check: cursors },
];

const UNITS: usize = 1 << 12;

/// The kernel's balancing moves pages to whoever uses them most, and a test's calls come from every node.
fn unmoved(_: &Machine) -> Given {
    without_balancing([])
}

/// Returns the node that a node's helpers take memory from: their own, or the nearest that has some.
fn memory_of(machine: &Machine, node: NodeId) -> anyhow::Result<usize> {
    let machine = machine.seen();
    let nearest = machine.nodes_with_memory().min_by_key(|&to| machine.distance(number(node), to));
    nearest.context("no node has memory")
}

fn structures(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    pool.broadcast(|_| pool.join(|| (), || ()));
    lie_on_their_nodes(machine, &pool)
}

/// Later pools get what the heap has of earlier ones, whose helpers were on other nodes.
fn structures_of_later_pools(machine: &Machine) -> anyhow::Result<()> {
    let all = nodes_of(&Pool::new()?);
    for &node in all.iter().rev() {
        for pin in [Pin::Node, Pin::Cpu] {
            let nodes = NodeSet::from_iter([node]);
            lie_on_their_nodes(machine, &Pool::builder().pin(pin).nodes(nodes).build()?)?;
        }
    }
    lie_on_their_nodes(machine, &Pool::new()?)
}

fn lie_on_their_nodes(machine: &Machine, pool: &Pool) -> anyhow::Result<()> {
    let storage = pool.storage();
    for what in ["node", "helper"] {
        let there = storage.iter().filter(|storage| storage.what == what).count();
        let expected = if what == "node" { nodes_of(pool).len() } else { pool.helpers().len() };
        ensure!(there == expected, "{there} structures of {expected}: {what}");
    }
    for storage in storage {
        let node = memory_of(machine, storage.node)?;
        for page in (storage.address..storage.address + storage.bytes).step_by(4096) {
            let found = node_of_address(page)?;
            ensure!(found == Some(node), "on node {found:?}, not {node}: {storage:?}");
        }
    }
    Ok(())
}

fn cursors(machine: &Machine) -> anyhow::Result<()> {
    let pool = Pool::new()?;
    let nodes = nodes_of(&pool);
    let events = Events::listen()?;
    // From every node, as the caller's own memory is where the cursors are not to be.
    for &caller in &nodes {
        threads::keep_to(super::cpus_of(machine, caller))?;
        // Again with the cache lines that were given back.
        for _ in 0..2 {
            placed(machine, &pool, &events).with_context(|| format!("called on node {caller}"))?;
        }
    }
    Ok(())
}

fn placed(machine: &Machine, pool: &Pool, events: &Events) -> anyhow::Result<()> {
    let writers = Mutex::new(BTreeSet::new());
    drop(events.take(""));
    let job = Job::new(0, UNITS).min_chunk(16).location(Location::Spread).steal(Steal::Node);
    job.run(pool, |chunk| {
        let mut writers = writers.lock().expect("nobody panics with the lock");
        writers.extend(chunk.cpu_node);
    })?;
    let writers = writers.into_inner().expect("nobody panicked with the lock");
    let nodes = nodes_of(pool);
    ensure!(writers.iter().eq(&nodes), "only {writers:?} took chunks");
    let events = events.take("address");
    // With one node to choose nothing needs to be placed.
    let several = machine.seen().nodes_with_memory().count() > 1;
    let mut expected = Vec::new();
    if several {
        let of = |&node| memory_of(machine, node);
        expected = nodes.iter().map(of).collect::<anyhow::Result<_>>()?;
        expected.sort_unstable();
    }
    for what in ["cursor", "arrivals"] {
        let mut found = Vec::new();
        for event in events.iter().filter(|event| event.get("what").is_some_and(|w| w == what)) {
            let text = |field| event.get(field).with_context(|| format!("no {field}: {event:?}"));
            let (writers, address): (u32, usize) =
                (text("node")?.parse()?, text("address")?.parse()?);
            let node = memory_of(machine, NodeId::new(writers))?;
            let lies = node_of_address(address)?;
            ensure!(lies == Some(node), "{what} on node {lies:?}, not {node}");
            found.push(node);
        }
        found.sort_unstable();
        // A node whose only helper the caller stands in for counts no arrivals.
        let all = what == "arrivals" && found.iter().all(|node| expected.contains(node));
        ensure!(all || found == expected, "{what} on nodes {found:?}; written on {expected:?}");
    }
    Ok(())
}
