//! Machines from hwloc's synthetic grammar, such as `node:4 core:8 pu:2`.
//!
//! [`grammar`] reads the text into levels, [`indexes`] numbers the objects of
//! a level, and this file turns levels into nodes, packages, cores and
//! caches. A description is symmetric, so an object is known by its level and
//! its place in it: object `i` of a level of `n` holds the `i`-th of `n` equal
//! runs of PUs.
//!
//! Where hwloc only warns (a wrong list of indexes) or stops the program
//! (a memory-side cache as a level), the description is refused here.

mod grammar;
mod indexes;
mod level;

use std::cmp::Reverse;

use self::grammar::{Description, Level};
use self::level::Kind;
use super::{AllowedPart, NodePart, Parts};
use crate::{Cache, CpuId, CpuSet, NodeId, Oddity, Package, PageSizes, Source, TopologyError};

/// The most CPUs of a description: the most that Linux can be built for.
const MAX_CPUS: usize = 8_192;
/// The most nodes of a description: the most that Linux can be built for.
const MAX_NODES: usize = 1_024;
/// The most levels, the machine's included; hwloc's own limit.
const MAX_LEVELS: usize = 127;

/// Reads a description.
pub(crate) fn read(description: &str) -> Result<Parts, TopologyError> {
    let Description { levels, attached_indexes, unused } = grammar::parse(description)?;
    let mut numbers = Vec::with_capacity(levels.len());
    for level in &levels {
        let limit = if level.kind == Kind::Node { MAX_NODES } else { MAX_CPUS };
        numbers.push(assign(level.indexes, level.width, limit, &levels)?);
    }
    let cpus = numbers.last().map_or(&[][..], Vec::as_slice);
    let nodes = match levels.iter().position(|level| level.kind == Kind::Node) {
        Some(depth) => level_nodes(&levels[depth], &numbers[depth], cpus),
        None => attached_nodes(&levels, attached_indexes, cpus)?,
    };
    let mut parts = Parts {
        source: Source::Synthetic(description.to_owned()),
        online: set(cpus),
        nodes,
        distances: None,
        cores: Vec::new(),
        packages: Vec::new(),
        core_kinds: Vec::new(),
        caches: Vec::new(),
        page_sizes: PageSizes {
            base: 4096,
            huge: Vec::new(),
            transparent: None,
            transparent_mode: None,
        },
        allowed: AllowedPart::default(),
        oddities: unused.into_iter().map(|unused| oddity(unused.0, unused.1)).collect(),
    };
    for (level, numbers) in levels.iter().zip(&numbers) {
        let objects = objects(level, cpus);
        match level.kind {
            Kind::Package => {
                let package = |(&id, cpus)| Package { id: Some(id), cpus };
                parts.packages = numbers.iter().zip(objects).map(package).collect();
            }
            Kind::Core => parts.cores = objects.collect(),
            Kind::Cache(depth) => {
                let cache = |cpus| Cache { level: depth, bytes: Some(level.bytes), cpus };
                parts.caches.extend(objects.map(cache));
            }
            // These only shape the tree.
            Kind::Machine
            | Kind::Group(_)
            | Kind::Node
            | Kind::Die
            | Kind::InstructionCache(_)
            | Kind::Pu => {}
        }
    }
    Ok(parts)
}

/// Returns the operating system's numbers of a level's objects.
fn assign(
    text: Option<&str>,
    total: usize,
    limit: usize,
    levels: &[Level<'_>],
) -> Result<Vec<u32>, TopologyError> {
    match text {
        None => Ok((0..total as u32).collect()),
        Some(text) => indexes::assign(text, total, limit, levels)
            .map_err(|reason| problem(&format!("indexes={text}"), reason)),
    }
}

/// Returns the CPUs of each of a level's objects.
fn objects<'a>(level: &Level<'_>, cpus: &'a [u32]) -> impl Iterator<Item = CpuSet> + 'a {
    cpus.chunks(cpus.len() / level.width).map(set)
}

fn set(cpus: &[u32]) -> CpuSet {
    cpus.iter().copied().map(CpuId::new).collect()
}

/// Returns the nodes of a level of nodes.
fn level_nodes(level: &Level<'_>, numbers: &[u32], cpus: &[u32]) -> Vec<NodePart> {
    let node = |(&number, cpus)| NodePart {
        memory_total: Some(level.bytes),
        ..NodePart::new(NodeId::new(number), cpus)
    };
    numbers.iter().zip(objects(level, cpus)).map(node).collect()
}

/// Returns the nodes attached to levels.
///
/// hwloc lets several nodes have the same CPUs; a kernel gives each CPU one
/// node. So the first node of the innermost level has the CPUs, as the
/// ordinary memory of such machines does, and the others are memory-only
/// nodes to which these CPUs are local.
fn attached_nodes(
    levels: &[Level<'_>],
    indexes: Option<&str>,
    cpus: &[u32],
) -> Result<Vec<NodePart>, TopologyError> {
    let innermost = levels.iter().rposition(|level| !level.attached.is_empty());
    let mut nodes = Vec::new();
    for (depth, level) in levels.iter().enumerate() {
        for (rank, &bytes) in level.attached.iter().enumerate() {
            let run = cpus.len() / level.width;
            for (object, cpus) in cpus.chunks(run).map(set).enumerate() {
                let has_cpus = Some(depth) == innermost && rank == 0;
                // hwloc numbers a node after all those inside its object.
                nodes.push((((object + 1) * run, Reverse(depth), rank), bytes, cpus, has_cpus));
            }
        }
    }
    nodes.sort_by_key(|&(order, ..)| order);
    let numbers = assign(indexes, nodes.len(), MAX_NODES, levels)?;
    let node = |(&number, (_, bytes, cpus, has_cpus))| {
        let id = NodeId::new(number);
        let node = match has_cpus {
            true => NodePart::new(id, cpus),
            false => NodePart { initiators: cpus, ..NodePart::new(id, CpuSet::new()) },
        };
        NodePart { memory_total: Some(bytes), ..node }
    };
    Ok(numbers.iter().zip(nodes).map(node).collect())
}

/// Says that memory is given where hwloc, too, keeps none.
fn oddity(attribute: &str, place: &str) -> Oddity {
    Oddity {
        what: format!(
            "the description gives the attribute {attribute} to a {place} without memory"
        ),
        assumed: "it counts for nothing; nodes have memory, such as node:2(memory=16GB)".to_owned(),
    }
}

/// Describes what is wrong with a part of the text.
fn problem(text: &str, reason: impl Into<String>) -> TopologyError {
    // The rest of a long description would hide where it goes wrong.
    const SHOWN: usize = 40;
    let token = match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    };
    TopologyError::Synthetic { token, reason: reason.into() }
}

#[cfg(test)]
pub(super) mod tests;
