//! What a reader hands over: a machine as it was described, not yet put in order.

use crate::allowed::CpuQuota;
use crate::{
    Cache, CoreKind, CpuSet, HugePagePool, NodeId, NodeSet, Oddity, Package, PageSizes, Source,
};

/// A machine as a reader found it.
///
/// A reader fills in what it knows and need not sort, check or derive:
/// [`Topology::from_parts`](crate::Topology::from_parts) does that for all
/// readers, so that they cannot differ in it.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// Where the description came from.
    pub(crate) source: Source,
    /// The online CPUs. Empty is the one thing that is an error.
    pub(crate) online: CpuSet,
    /// The nodes in any order; none at all stands for one node with everything.
    pub(crate) nodes: Vec<NodePart>,
    /// The distances as described; `None` where nothing describes them.
    pub(crate) distances: Option<DistancePart>,
    /// Each core's CPUs, in any order. A CPU in none of them is a core of its own.
    pub(crate) cores: Vec<CpuSet>,
    /// Packages in any order. CPUs in none of them form one package without a number.
    pub(crate) packages: Vec<Package>,
    /// Kinds of core in any order. CPUs in none of them form one kind more.
    pub(crate) core_kinds: Vec<CoreKind>,
    /// Data and unified caches in any order, each once or once for every CPU that shares it.
    pub(crate) caches: Vec<Cache>,
    /// Page sizes; `huge` in any order.
    pub(crate) page_sizes: PageSizes,
    /// What the process may use.
    pub(crate) allowed: AllowedPart,
    /// What the reader itself found odd.
    pub(crate) oddities: Vec<Oddity>,
}

/// One node as a reader found it.
#[derive(Clone, Debug)]
pub(crate) struct NodePart {
    pub(crate) id: NodeId,
    /// The node's own CPUs; those that are not online are left out later.
    pub(crate) cpus: CpuSet,
    /// For a node without CPUs: the CPUs the firmware (or hwloc) calls local to it.
    ///
    /// Empty where nothing says; distances decide then.
    pub(crate) initiators: CpuSet,
    /// Bytes.
    pub(crate) memory_total: Option<u64>,
    /// Bytes.
    pub(crate) memory_free: Option<u64>,
    /// Bytes of the free memory that the kernel keeps for itself.
    pub(crate) memory_reserved: Option<u64>,
    /// In any order.
    pub(crate) huge_page_pools: Vec<HugePagePool>,
}

impl NodePart {
    /// Returns a node of which nothing but its number and CPUs is known.
    pub(crate) fn new(id: NodeId, cpus: CpuSet) -> Self {
        Self {
            id,
            cpus,
            initiators: CpuSet::new(),
            memory_total: None,
            memory_free: None,
            memory_reserved: None,
            huge_page_pools: Vec::new(),
        }
    }
}

/// Distances as a reader found them, perhaps unusable.
#[derive(Clone, Debug)]
pub(crate) struct DistancePart {
    /// What the rows and columns stand for; may hold nodes that the topology leaves out.
    pub(crate) nodes: Vec<NodeId>,
    /// One row for each node; a row that could not be read is empty.
    pub(crate) rows: Vec<Vec<u32>>,
}

/// What the process may use, as far as a reader knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedPart {
    /// `None` stands for every online CPU.
    pub(crate) cpus: Option<CpuSet>,
    /// `None` stands for every node.
    pub(crate) nodes: Option<NodeSet>,
    /// `None` stands for no limit.
    pub(crate) cpu_quota: Option<CpuQuota>,
}
