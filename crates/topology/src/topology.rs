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
///
/// It is a picture of one moment: CPUs that go on- or offline later, and memory
/// that others take, do not show in it. It never changes, and clones are equal.
///
/// # Examples
///
/// ```
/// use firsttouch_topology::Topology;
///
/// let topology = Topology::discover()?;
/// for node in topology.nodes() {
///     let nearest = topology.nodes_by_distance(node.id());
///     println!("node {}: CPUs {}, nearest first {nearest:?}", node.id(), node.local_cpus());
/// }
/// # Ok::<(), firsttouch_topology::TopologyError>(())
/// ```
// The fields are written by `discover::assemble` only, which upholds the invariants.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
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
    /// Invariant: none without CPUs, no CPU in two of a level; by level and then by first CPU.
    pub(crate) caches: Vec<Cache>,
    /// Invariant: over exactly the nodes of `nodes`.
    pub(crate) distances: Option<DistanceMatrix>,
    /// Invariant: `huge` ascends.
    pub(crate) page_sizes: PageSizes,
    /// Invariant: inside `online` and `nodes`, and neither empty.
    pub(crate) allowed: Allowed,
    pub(crate) oddities: Vec<Oddity>,
}

impl Topology {
    /// Reads the live machine from `/sys` and `/proc`.
    ///
    /// What is missing or makes no sense there is no error: something sensible
    /// is assumed, and [`oddities`](Self::oddities) says what.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoCpus`] where nothing names a CPU, as with neither `/sys` nor `/proc` mounted.
    pub fn discover() -> Result<Self, TopologyError> {
        discover::sysfs::read(Path::new("/"), Source::Live).and_then(Self::from_parts)
    }

    /// Reads a recorded machine: a folder that holds its `sys` and perhaps `proc` tree.
    ///
    /// `hwloc-gather-topology` makes such recordings. The kernel is not asked
    /// about the process: what is allowed is what the recording says, else
    /// everything, and the base page's size is inferred, else 4,096 bytes.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NoCpus`] where the folder describes no machine.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_topology::Topology;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let cpus = folder.path().join("sys/devices/system/cpu");
    /// std::fs::create_dir_all(&cpus)?;
    /// std::fs::write(cpus.join("online"), "0-3,8-11\n")?;
    ///
    /// let topology = Topology::from_root(folder.path())?;
    /// assert_eq!(topology.online_cpus().to_string(), "0-3,8-11");
    /// assert_eq!(topology.nodes().len(), 1, "no node is described: one has everything");
    /// assert!(!topology.oddities().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_root(root: impl AsRef<Path>) -> Result<Self, TopologyError> {
        let root = root.as_ref();
        let source = Source::Recorded(root.to_owned());
        discover::sysfs::read(root, source).and_then(Self::from_parts)
    }

    /// Builds a machine from hwloc's synthetic grammar: `node:4 core:8 pu:2`.
    ///
    /// Each level says how many of its objects each object of the level before
    /// holds. Levels are `package`, `die`, `group`, `node`, `l5` to `l1` (and
    /// `l1i` and the like, which are not kept), `core`, and `pu` last; without
    /// types (`2 4 2`) hwloc's usual ones are taken. Attributes follow in
    /// parentheses: `memory=16GB` of a node, `size=32MiB` of a cache, and
    /// `indexes=` for the operating system's numbers, as a list or interleaved
    /// (`indexes=node:core`). `[numa(memory=16GB)]` after a level attaches a
    /// node to each of its objects; of several on the same CPUs the first has
    /// the CPUs and the others are memory-only.
    ///
    /// Pages are 4,096 bytes, everything is allowed, and no distances are
    /// known. The largest machine is the largest that Linux can be built for:
    /// 8,192 CPUs and 1,024 nodes.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Synthetic`] where the description is not in the
    /// grammar, or describes a larger machine.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_topology::{NodeKind, Topology};
    ///
    /// let machine = Topology::synthetic("package:2 [numa(memory=96GB)] [numa(memory=16GB)] core:4 pu:2")?;
    /// assert_eq!(machine.cpus().len(), 16);
    /// assert_eq!(machine.nodes().len(), 4);
    /// assert_eq!(machine.nodes()[1].kind(), NodeKind::MemoryOnly);
    /// assert_eq!(machine.nodes()[1].local_cpus().to_string(), "0-7");
    /// # Ok::<(), firsttouch_topology::TopologyError>(())
    /// ```
    pub fn synthetic(description: &str) -> Result<Self, TopologyError> {
        discover::synthetic::read(description).and_then(Self::from_parts)
    }

    /// Reads the live machine through hwloc.
    ///
    /// What hwloc does not tell (free memory, free huge pages, page sizes, the
    /// affinity mask, the CPU quota) is read from the kernel.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Hwloc`] where hwloc cannot describe the machine, or its
    /// environment variables point it at another one.
    #[cfg(feature = "hwloc")]
    pub fn from_hwloc() -> Result<Self, TopologyError> {
        discover::hwloc::read().and_then(Self::from_parts)
    }

    /// Puts a reader's findings in order; all readers end here.
    pub(crate) fn from_parts(parts: Parts) -> Result<Self, TopologyError> {
        discover::assemble::assemble(parts)
    }

    /// Returns where this description came from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the nodes, ascending by number; there is always at least one.
    ///
    /// Two sorts are left out, and noted as [`oddities`](Self::oddities): nodes that
    /// are the memory of a GPU, which its driver hands out, and nodes that
    /// claim CPUs of another without the kernel saying whose they are.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns one node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        let index = self.nodes.binary_search_by_key(&id, Node::id).ok()?;
        Some(&self.nodes[index])
    }

    /// Returns the online CPUs, ascending by number; there is always at least one.
    #[must_use]
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// Returns the online CPUs as a set.
    #[must_use]
    pub fn online_cpus(&self) -> &CpuSet {
        &self.online
    }

    /// Returns one online CPU.
    #[must_use]
    pub fn cpu(&self, id: CpuId) -> Option<&Cpu> {
        let index = self.cpus.binary_search_by_key(&id, |cpu| cpu.id).ok()?;
        Some(&self.cpus[index])
    }

    /// Returns the node a CPU belongs to.
    #[must_use]
    pub fn node_of_cpu(&self, cpu: CpuId) -> Option<NodeId> {
        self.cpu(cpu)?.node
    }

    /// Returns the nodes to which a CPU is local, ascending: its own, and memory-only nodes near it.
    ///
    /// Empty for a CPU that no node claims, and for one that is not online.
    #[must_use]
    pub fn local_nodes_of_cpu(&self, cpu: CpuId) -> Vec<NodeId> {
        let local = self.nodes.iter().filter(|node| node.local_cpus().contains(cpu));
        local.map(Node::id).collect()
    }

    /// Returns the core a CPU belongs to; its other CPUs are the CPU's SMT siblings.
    #[doc(alias = "siblings")]
    #[must_use]
    pub fn core_of_cpu(&self, cpu: CpuId) -> Option<&Core> {
        self.cores.get(self.cpu(cpu)?.core)
    }

    /// Returns the kind of core a CPU belongs to.
    #[must_use]
    pub fn core_kind_of_cpu(&self, cpu: CpuId) -> Option<&CoreKind> {
        self.core_kinds.get(self.core_of_cpu(cpu)?.kind)
    }

    /// Returns the package a CPU belongs to.
    #[must_use]
    pub fn package_of_cpu(&self, cpu: CpuId) -> Option<&Package> {
        self.packages.get(self.cpu(cpu)?.package)
    }

    /// Returns the cores, by first CPU; every online CPU is in one of them.
    ///
    /// A CPU of which the kernel does not tell the core is one by itself.
    #[must_use]
    pub fn cores(&self) -> &[Core] {
        &self.cores
    }

    /// Returns the kinds of core, weakest first; one on a machine that is not hybrid.
    ///
    /// CPUs whose highest frequencies or capacities are within a tenth of each
    /// other are of one kind, unless the kernel names kinds.
    #[must_use]
    pub fn core_kinds(&self) -> &[CoreKind] {
        &self.core_kinds
    }

    /// Returns the packages (sockets), by first CPU; every online CPU is in one of them.
    #[must_use]
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Returns the data and unified caches, by level and then by first CPU.
    #[must_use]
    pub fn caches(&self) -> &[Cache] {
        &self.caches
    }

    /// Returns the CPUs that share a CPU's last-level cache; the CPU alone where the kernel names no cache.
    #[must_use]
    pub fn last_level_cache_cpus(&self, cpu: CpuId) -> CpuSet {
        let shared = self.caches.iter().filter(|cache| cache.cpus.contains(cpu));
        let last = shared.max_by_key(|cache| cache.level);
        last.map_or_else(|| CpuSet::from_iter([cpu]), |cache| cache.cpus.clone())
    }

    /// Returns the groups of CPUs that share a last-level cache, by first CPU; every online CPU is in one of them.
    #[must_use]
    pub fn last_level_cache_groups(&self) -> Vec<CpuSet> {
        let mut groups: Vec<CpuSet> = Vec::new();
        let mut rest = self.online.clone();
        while let Some(cpu) = rest.first() {
            // Odd machines may have a CPU's last cache inside another's.
            let group = self.last_level_cache_cpus(cpu).intersection(&rest);
            rest = rest.difference(&group);
            groups.push(group);
        }
        groups
    }

    /// Returns the distances between nodes; `None` where the firmware gives none that can be used.
    ///
    /// A table can be used where it has a row for each node, 10 on the diagonal
    /// and no less elsewhere. A single node has none.
    #[must_use]
    pub fn distances(&self) -> Option<&DistanceMatrix> {
        self.distances.as_ref()
    }

    /// Returns the relative distance from one node to another; local is 10.
    ///
    /// Firmware reports it; it ranks nodes, it is no latency. Where it reports
    /// none, two different nodes are 20 apart, the kernel's own default.
    #[must_use]
    pub fn distance(&self, from: NodeId, to: NodeId) -> u32 {
        let known = self.distances.as_ref().and_then(|matrix| matrix.get(from, to));
        known.unwrap_or(if from == to { 10 } else { 20 })
    }

    /// Returns all nodes, the given one first, then by distance from it, then by number.
    #[must_use]
    pub fn nodes_by_distance(&self, from: NodeId) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.nodes.iter().map(Node::id).collect();
        nodes.sort_by_key(|&to| (to != from, self.distance(from, to), to));
        nodes
    }

    /// Returns the page sizes the machine offers.
    #[must_use]
    pub fn page_sizes(&self) -> &PageSizes {
        &self.page_sizes
    }

    /// Returns what this process may use; everything, for a machine that is not the live one and whose recording does not say.
    #[must_use]
    pub fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Returns what was odd about the machine, and what was assumed instead.
    #[must_use]
    pub fn oddities(&self) -> &[Oddity] {
        &self.oddities
    }
}
