//! Which nodes have helpers, and which of them serve which memory.

use firsttouch_pool::Pool;
use firsttouch_topology::{CpuId, CpuSet, NodeId, NodeSet, Topology, affinity};

use crate::CpuShare;
use crate::job::counter::Counter;
use crate::job::seats::{Caller, Demand};
use crate::location::parts::Share;

/// One of the pool's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) node: NodeId,
    /// Invariant: not zero, unless the pool has none at all and the caller does everything.
    pub(crate) helpers: usize,
}

/// A pool's nodes, and where the caller is among them.
#[derive(Debug)]
pub(crate) struct Sites<'p> {
    /// `None` in tests of the arithmetic.
    pool: Option<&'p Pool>,
    topology: &'p Topology,
    /// Nodes with memory that this process may use.
    usable: NodeSet,
    /// Ascending by node number.
    sites: Vec<Site>,
    /// The node of the helper that calls; `None` for a caller from outside.
    calling_helper: Option<NodeId>,
    /// The CPU the caller is on.
    cpu: CpuId,
}

impl<'p> Sites<'p> {
    /// Looks at a pool and at the calling thread.
    pub(crate) fn of(pool: &'p Pool) -> Self {
        let sites = pool.nodes().map(|(node, helpers)| Site { node, helpers }).collect();
        let calling_helper = pool.current_helper().map(|helper| helper.node);
        let sites = Self::new(pool.topology(), sites, calling_helper, affinity::current_cpu());
        Self { pool: Some(pool), ..sites }
    }

    /// Looks at those of a pool's nodes that have CPUs of a mask, with a helper for each such CPU at the most.
    pub(crate) fn within(pool: &'p Pool, mask: &CpuSet) -> Self {
        let mut sites = Self::of(pool);
        let topology = sites.topology;
        sites.sites.retain_mut(|site| {
            let cpus = topology.node(site.node).map(|node| node.cpus().intersection(mask).len());
            site.helpers = site.helpers.min(cpus.unwrap_or(0));
            site.helpers > 0
        });
        sites
    }

    /// Puts together what [`of`](Self::of) finds out.
    pub(crate) fn new(
        topology: &'p Topology,
        sites: Vec<Site>,
        calling_helper: Option<NodeId>,
        cpu: CpuId,
    ) -> Self {
        let usable = usable(topology);
        Self { pool: None, topology, usable, sites, calling_helper, cpu }
    }

    pub(crate) fn topology(&self) -> &'p Topology {
        self.topology
    }

    /// The nodes with memory that this process may use.
    pub(crate) fn usable(&self) -> &NodeSet {
        &self.usable
    }

    /// The node itself where its memory can be used, else the nearest whose can.
    pub(crate) fn nearest_usable(&self, from: NodeId) -> Option<NodeId> {
        if self.usable.contains(from) {
            return Some(from);
        }
        let by_distance = self.topology.nodes_by_distance(from);
        by_distance.into_iter().find(|&node| self.usable.contains(node))
    }

    /// Returns a counter for a site's helpers; it lies on their node where there are several to choose from.
    pub(crate) fn counter(&self, site: Option<usize>) -> Counter {
        let site = site.and_then(|site| self.sites.get(site)).filter(|_| self.usable.len() > 1);
        match (site, self.pool) {
            (Some(site), Some(pool)) => Counter::on(pool, Some(site.node)),
            _ => Counter::anywhere(),
        }
    }

    /// The node that a caller from outside is on; `None` where there is but one, and for a helper.
    pub(crate) fn node_of_caller(&self) -> Option<NodeId> {
        let several = self.topology.nodes().len() > 1 && self.calling_helper.is_none();
        several.then(|| self.topology.node_of_cpu(self.cpu))?
    }

    /// The helpers of each site.
    pub(crate) fn helper_counts(&self) -> Vec<usize> {
        self.helpers_for(None)
    }

    /// The helpers of each site, or those that a share of its CPUs is enough for.
    pub(crate) fn helpers_for(&self, share: Option<CpuShare>) -> Vec<usize> {
        let count = |site: &Site| {
            let cpus = self.topology.node(site.node).map_or(0, |node| node.cpus().len());
            share.map_or(site.helpers, |share| share.of(cpus).min(site.helpers))
        };
        self.sites.iter().map(count).collect()
    }

    /// The nodes that have helpers.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.sites.iter().map(|site| site.node)
    }

    /// The site of a node.
    pub(crate) fn index_of(&self, node: NodeId) -> Option<usize> {
        self.sites.iter().position(|site| site.node == node)
    }

    /// The node of the helper that calls; `None` for a caller from outside.
    pub(crate) fn calling_helper(&self) -> Option<NodeId> {
        self.calling_helper
    }

    /// The node that the caller works for.
    pub(crate) fn caller_node(&self) -> Option<NodeId> {
        self.calling_helper.or_else(|| self.topology.node_of_cpu(self.cpu))
    }

    /// The first `n` sites from the caller by distance, then in order of number.
    pub(crate) fn nearest_to_caller(&self, n: usize) -> Vec<(NodeId, usize)> {
        let mut near = self.by_distance(self.caller_node());
        near.truncate(n);
        near.sort_unstable();
        near.into_iter().map(|site| (self.sites[site].node, self.sites[site].helpers)).collect()
    }

    /// All sites, nearest first.
    pub(crate) fn by_distance(&self, from: Option<NodeId>) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.sites.len()).collect();
        if let Some(from) = from {
            order.sort_by_key(|&site| distance(self.topology, from, self.sites[site].node));
        }
        order
    }

    /// The sites whose helpers run a node's chunks, and whether these are local to it.
    ///
    /// These are the sites with CPUs local to the node. Where there are none,
    /// all sites at the least distance. Helpers without memory of their own
    /// serve nobody else's beside its own helpers: to them it is remote.
    pub(crate) fn serving(&self, node: NodeId) -> (Vec<usize>, bool) {
        let serves = |&site: &usize| is_local(self.topology, self.sites[site].node, node);
        let local: Vec<usize> = (0..self.sites.len()).filter(serves).collect();
        if !local.is_empty() {
            return (local, true);
        }
        let distance_of = |site: usize| self.topology.distance(node, self.sites[site].node);
        let all = 0..self.sites.len();
        let least = all.clone().map(distance_of).min();
        (all.filter(|&site| Some(distance_of(site)) == least).collect(), false)
    }

    /// The sites nearest to a node beside those that serve it: all at the least distance.
    fn near(&self, node: NodeId, serving: &[usize]) -> Vec<usize> {
        let others = || (0..self.sites.len()).filter(|site| !serving.contains(site));
        let distance_of = |site: usize| self.topology.distance(node, self.sites[site].node);
        let least = others().map(distance_of).min();
        others().filter(|&site| Some(distance_of(site)) == least).collect()
    }

    /// What the seating is to know of a share.
    pub(crate) fn demand(&self, share: &Share, worth: usize) -> Demand {
        let size = share.size();
        let Some(node) = share.node else {
            let nearest = self.by_distance(self.caller_node());
            let (serving, near) = (nearest.clone(), Vec::new());
            return Demand { size, worth, serving, near, nearest, in_order: true };
        };
        let (serving, local) = self.serving(node);
        if !local {
            let by = self.sites.get(serving.first().copied().unwrap_or(0)).map(|site| site.node);
            tracing::debug!(
                node = node.os_index(),
                by = by.map(NodeId::os_index),
                "no helper is local to the node; the nearest node's helpers run its part"
            );
        }
        let (near, nearest) = (self.near(node, &serving), self.by_distance(Some(node)));
        Demand { size, worth, serving, near, nearest, in_order: false }
    }

    /// What the seating is to know of the calling thread.
    pub(crate) fn caller(&self, shares: &[Share], demands: &[Demand]) -> Caller {
        let node = self.caller_node();
        let site = node.and_then(|node| self.index_of(node));
        let serves = shares.iter().zip(demands).map(|(share, demand)| {
            let cpu_is_local =
                share.node.is_none_or(|node| is_cpu_local(self.topology, self.cpu, node));
            cpu_is_local || site.is_some_and(|site| demand.serving.contains(&site))
        });
        let serves: Vec<bool> = serves.collect();
        let is_near = |demand: &Demand| site.is_some_and(|site| demand.near.contains(&site));
        let near = demands.iter().map(is_near).collect();
        let mut nearest: Vec<usize> = (0..shares.len()).collect();
        nearest.sort_by_key(|&share| {
            let distance = match (node, shares[share].node) {
                (Some(from), Some(to)) => distance(self.topology, from, to),
                _ => (false, 0),
            };
            (!serves[share], distance)
        });
        Caller { site, is_helper: self.calling_helper.is_some(), serves, near, nearest }
    }
}

/// A key that sorts nodes by their distance from one, itself first.
pub(crate) fn distance(topology: &Topology, from: NodeId, to: NodeId) -> (bool, u32) {
    (from != to, topology.distance(from, to))
}

/// Whether a node's own CPUs are local to another node's memory.
fn is_local(topology: &Topology, near: NodeId, node: NodeId) -> bool {
    near == node
        || match (topology.node(near), topology.node(node)) {
            (Some(near), Some(node)) => near.cpus().intersects(node.local_cpus()),
            _ => false,
        }
}

/// Whether a CPU is local to a node's memory.
pub(crate) fn is_cpu_local(topology: &Topology, cpu: CpuId, node: NodeId) -> bool {
    topology.node(node).is_some_and(|node| node.local_cpus().contains(cpu))
}

/// The nodes of a machine that have memory, or may have, and that this process may use.
fn usable(topology: &Topology) -> NodeSet {
    let with_memory = topology.nodes().iter().filter(|node| node.has_memory());
    let with_memory: NodeSet = with_memory.map(|node| node.id()).collect();
    with_memory.intersection(topology.allowed().nodes())
}

#[cfg(all(test, not(loom)))]
mod tests;
