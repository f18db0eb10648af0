//! Putting together what a pool's threads share, from what its helpers report.

use std::sync::Arc;
use std::time::Duration;

use firsttouch_topology::{CpuSet, NodeId, Topology};

use super::Shared;
use super::node::PoolNode;
use super::stealing::effective;
use super::work::{HelperWork, NodeWork};
use crate::completion::Completion;
use crate::deque::Stealer;
use crate::handlers::Handlers;
use crate::helper::Helper;
use crate::process::Process;
use crate::shutdown::Shutdown;
use crate::steal::{Steal, cache_by_cpu, nearest, nearest_by_cpu, thieves, victims};
use crate::storage::OwnPages;
use crate::sync::Thread;

/// A helper as it reports when it has started.
pub(crate) struct Started {
    pub(crate) helper: Helper,
    pub(crate) thread: Thread,
    pub(crate) stealer: Stealer,
    pub(crate) work: Box<OwnPages<HelperWork>>,
    /// Made by the first helper of each node.
    pub(crate) node_work: Option<Box<OwnPages<NodeWork>>>,
}

/// A node's part of what is shared, before its helpers have their places.
struct NodeParts {
    id: NodeId,
    stealers: Vec<Stealer>,
    work: Box<OwnPages<NodeWork>>,
}

impl Shared {
    /// Puts together what the helpers share; `started` is in the order of their places.
    pub(crate) fn new(
        topology: Arc<Topology>,
        started: Vec<Started>,
        spin: Duration,
        steal: Steal,
        handlers: Handlers,
    ) -> Self {
        let mut nodes: Vec<NodeParts> = Vec::new();
        let mut helpers = Vec::with_capacity(started.len());
        let mut threads = Vec::with_capacity(started.len());
        let mut work = Vec::with_capacity(started.len());
        for next in started {
            let id = next.helper.node;
            if nodes.last().is_none_or(|node| node.id != id) {
                // Every node of the pool has a first helper, which made this.
                let work = next.node_work.expect("a node's first helper makes what they share");
                nodes.push(NodeParts { id, stealers: Vec::new(), work });
            }
            nodes.last_mut().into_iter().for_each(|node| node.stealers.push(next.stealer.clone()));
            helpers.push(next.helper);
            threads.push(next.thread);
            work.push(next.work);
        }
        let shared = Self::of_nodes(topology, nodes, spin, steal, handlers);
        Self {
            shutdown: Shutdown::of(helpers.len()),
            ended: helpers.iter().map(|_| Completion::new()).collect(),
            helpers: helpers.into(),
            threads: threads.into(),
            work: work.into(),
            ..shared
        }
    }

    /// Makes what callers share on these nodes, each with CPUs for so many threads, where there are no helpers.
    pub(crate) fn without_helpers(
        topology: Arc<Topology>,
        nodes: impl Iterator<Item = (NodeId, usize)>,
        spin: Duration,
        steal: Steal,
        handlers: Handlers,
    ) -> Self {
        let nodes = nodes.map(|(id, capacity)| {
            let work = OwnPages::new(NodeWork::new(0, capacity, &CpuSet::new()));
            NodeParts { id, stealers: Vec::new(), work }
        });
        Self::of_nodes(topology, nodes.collect(), spin, steal, handlers)
    }

    /// Puts the nodes together, without their helpers.
    fn of_nodes(
        topology: Arc<Topology>,
        parts: Vec<NodeParts>,
        spin: Duration,
        steal: Steal,
        handlers: Handlers,
    ) -> Self {
        let ids: Vec<_> = parts.iter().map(|node| node.id).collect();
        let distance = |from, to| topology.distance(from, to);
        let everybody = thieves(&ids, distance, Steal::Anywhere);
        let all_are_near = everybody.iter().flatten().all(|thief| thief.least <= Steal::Near);
        let widest = effective(steal, ids.len(), all_are_near);
        let thieves = thieves(&ids, distance, widest);
        let mut victims = victims(&ids, distance, &thieves).into_iter();
        let mut thieves = thieves.into_iter();
        let cache_by_cpu = cache_by_cpu(&topology);
        let mut first = 0;
        let node = |NodeParts { id, stealers, work }: NodeParts| {
            let helpers = first..first + stealers.len();
            first = helpers.end;
            PoolNode {
                id,
                helpers,
                victims: victims.next().unwrap_or_default(),
                thieves: thieves.next().unwrap_or_default(),
                widest,
                stealers: stealers.into(),
                has_caches: has_caches(&topology, id, &cache_by_cpu),
                work,
            }
        };
        let nodes = parts.into_iter().map(node).collect();
        let nearest = nearest(&topology, &ids);
        Self {
            nodes,
            widest,
            all_are_near,
            nearest: nearest_by_cpu(&topology, &nearest),
            nearest_by_node: nearest.into(),
            cache_by_cpu,
            topology,
            helpers: Box::default(),
            threads: Box::default(),
            work: Box::default(),
            spin,
            handlers,
            process: Process::new(),
            shutdown: Shutdown::of(0),
            ended: Box::default(),
        }
    }
}

/// Whether a node's CPUs have several last-level caches.
fn has_caches(topology: &Topology, node: NodeId, cache_by_cpu: &[u16]) -> bool {
    let cpus = topology.node(node).into_iter().flat_map(|node| node.cpus());
    let mut caches = cpus.filter_map(|cpu| cache_by_cpu.get(cpu.os_index() as usize));
    let first = caches.next();
    caches.any(|cache| Some(cache) != first)
}
