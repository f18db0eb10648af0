//! A machine, and the questions one asks it.

use std::path::{Path, PathBuf};

use crate::discover::{self, Parts};
use crate::{
    Allowed, Cache, Core, CoreKind, Cpu, CpuId, CpuSet, DistanceMatrix, Node, NodeId, Oddity,
    Package, PageSizes, TopologyError,
};

/// Where a topology came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The live machine.
    Live,
    /// A recorded tree.
    Recorded(PathBuf),
    /// A synthetic description.
    Synthetic(String),
    /// hwloc, on the live machine.
    Hwloc,
}

/// A machine: nodes, CPUs, caches, distances, memory, and what this process may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    fields: Fields,
}

/// What a topology consists of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fields {
    pub(crate) source: Source,
    /// Invariant: ascending by number, at least one; no CPU in two of them.
    pub(crate) nodes: Vec<Node>,
    /// Invariant: one for each CPU of `online`, ascending by number.
    pub(crate) cpus: Vec<Cpu>,
    /// Invariant: not empty.
    pub(crate) online: CpuSet,
    /// Invariant: every online CPU is in exactly one; by first CPU.
    pub(crate) cores: Vec<Core>,
    /// Invariant: every online CPU is in exactly one; ascending by capacity.
    pub(crate) core_kinds: Vec<CoreKind>,
    /// Invariant: every online CPU is in exactly one; by first CPU.
    pub(crate) packages: Vec<Package>,
    /// Invariant: none without CPUs; by level and then by first CPU.
    pub(crate) caches: Vec<Cache>,
    /// Invariant: over exactly the nodes of `nodes`.
    pub(crate) distances: Option<DistanceMatrix>,
    pub(crate) page_sizes: PageSizes,
    /// Invariant: inside `online` and `nodes`, and neither empty.
    pub(crate) allowed: Allowed,
    pub(crate) oddities: Vec<Oddity>,
}

impl Topology {
    /// Reads the live machine from `/sys` and `/proc`.
    ///
    /// # Errors
    ///
    /// Where the machine names no CPU at all, or affinity cannot be read.
    pub fn discover() -> Result<Self, TopologyError> {
        discover::sysfs::read(Path::new("/"), Source::Live).and_then(Self::from_parts)
    }

    /// Reads a recorded machine: a folder that holds its `sys` and perhaps `proc` tree.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoCpus`] where the folder describes no machine.
    pub fn from_root(root: impl AsRef<Path>) -> Result<Self, TopologyError> {
        let root = root.as_ref();
        let source = Source::Recorded(root.to_owned());
        discover::sysfs::read(root, source).and_then(Self::from_parts)
    }

    /// Builds a machine from hwloc's synthetic grammar: `node:4 core:8 pu:2`.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Synthetic`] where the description is not in the grammar.
    pub fn synthetic(description: &str) -> Result<Self, TopologyError> {
        discover::synthetic::read(description).and_then(Self::from_parts)
    }

    /// Reads the live machine through hwloc.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Hwloc`] where hwloc cannot describe it.
    #[cfg(feature = "hwloc")]
    pub fn from_hwloc() -> Result<Self, TopologyError> {
        discover::hwloc::read().and_then(Self::from_parts)
    }

    /// Puts a reader's findings in order; all readers end here.
    pub(crate) fn from_parts(parts: Parts) -> Result<Self, TopologyError> {
        discover::assemble::assemble(parts).map(|fields| Self { fields })
    }

    /// Returns where this description came from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.fields.source
    }

    /// Returns the nodes, ascending by number; there is always at least one.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.fields.nodes
    }

    /// Returns one node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        let index = self.fields.nodes.binary_search_by_key(&id, Node::id).ok()?;
        Some(&self.fields.nodes[index])
    }

    /// Returns the online CPUs, ascending by number; there is always at least one.
    #[must_use]
    pub fn cpus(&self) -> &[Cpu] {
        &self.fields.cpus
    }

    /// Returns the online CPUs as a set.
    #[must_use]
    pub fn online_cpus(&self) -> &CpuSet {
        &self.fields.online
    }

    /// Returns one online CPU.
    #[must_use]
    pub fn cpu(&self, id: CpuId) -> Option<&Cpu> {
        let index = self.fields.cpus.binary_search_by_key(&id, |cpu| cpu.id).ok()?;
        Some(&self.fields.cpus[index])
    }

    /// Returns the node a CPU belongs to.
    #[must_use]
    pub fn node_of_cpu(&self, cpu: CpuId) -> Option<NodeId> {
        self.cpu(cpu)?.node
    }

    /// Returns the cores.
    #[must_use]
    pub fn cores(&self) -> &[Core] {
        &self.fields.cores
    }

    /// Returns the kinds of core, weakest first; one on a machine that is not hybrid.
    #[must_use]
    pub fn core_kinds(&self) -> &[CoreKind] {
        &self.fields.core_kinds
    }

    /// Returns the packages (sockets).
    #[must_use]
    pub fn packages(&self) -> &[Package] {
        &self.fields.packages
    }

    /// Returns the data and unified caches, by level and then by first CPU.
    #[must_use]
    pub fn caches(&self) -> &[Cache] {
        &self.fields.caches
    }

    /// Returns the CPUs that share a CPU's last-level cache; the CPU alone where the kernel names no cache.
    #[must_use]
    pub fn last_level_cache_cpus(&self, cpu: CpuId) -> CpuSet {
        let shared = self.fields.caches.iter().filter(|cache| cache.cpus.contains(cpu));
        let last = shared.max_by_key(|cache| cache.level);
        last.map_or_else(|| CpuSet::from_iter([cpu]), |cache| cache.cpus.clone())
    }

    /// Returns the distances between nodes; `None` where the firmware gives none that can be used.
    #[must_use]
    pub fn distances(&self) -> Option<&DistanceMatrix> {
        self.fields.distances.as_ref()
    }

    /// Returns the relative distance from one node to another; local is 10.
    ///
    /// Firmware reports it; it ranks nodes, it is no latency. Where it reports
    /// none, two different nodes are 20 apart, the kernel's own default.
    #[must_use]
    pub fn distance(&self, from: NodeId, to: NodeId) -> u32 {
        let known = self.fields.distances.as_ref().and_then(|matrix| matrix.get(from, to));
        known.unwrap_or(if from == to { 10 } else { 20 })
    }

    /// Returns all nodes, the given one first, then by distance from it, then by number.
    #[must_use]
    pub fn nodes_by_distance(&self, from: NodeId) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.fields.nodes.iter().map(Node::id).collect();
        nodes.sort_by_key(|&to| (to != from, self.distance(from, to), to));
        nodes
    }

    /// Returns the page sizes the machine offers.
    #[must_use]
    pub fn page_sizes(&self) -> &PageSizes {
        &self.fields.page_sizes
    }

    /// Returns what this process may use; everything, for a machine that is not the live one and whose recording does not say.
    #[must_use]
    pub fn allowed(&self) -> &Allowed {
        &self.fields.allowed
    }

    /// Returns what was odd about the machine, and what was assumed instead.
    #[must_use]
    pub fn oddities(&self) -> &[Oddity] {
        &self.fields.oddities
    }
}
