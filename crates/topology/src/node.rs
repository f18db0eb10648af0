//! NUMA nodes.

use crate::{CpuSet, NodeId};

/// One NUMA node: a part of memory, the CPUs that belong to it, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub(crate) id: NodeId,
    /// Invariant: online, and in no other node of the topology.
    pub(crate) cpus: CpuSet,
    /// Invariant: online, not empty; equal to `cpus` unless those are empty.
    pub(crate) local_cpus: CpuSet,
    pub(crate) memory_total: Option<u64>,
    pub(crate) memory_free: Option<u64>,
    pub(crate) memory_reserved: Option<u64>,
    /// Invariant: ascending by page size, each size once.
    pub(crate) huge_page_pools: Vec<HugePagePool>,
}

impl Node {
    /// Returns the operating system's number of the node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Returns the online CPUs that belong to the node; empty for a memory-only node.
    #[must_use]
    pub fn cpus(&self) -> &CpuSet {
        &self.cpus
    }

    /// Returns the online CPUs to which the node's memory is local.
    ///
    /// For a node with CPUs these are its own. For a memory-only node they are
    /// its initiators where the firmware names them, else the CPUs of the
    /// nearest nodes by distance, and all CPUs where there are no distances. Never empty.
    #[must_use]
    pub fn local_cpus(&self) -> &CpuSet {
        &self.local_cpus
    }

    /// Returns the node's memory in bytes; `None` where it could not be read.
    #[must_use]
    pub fn memory_total(&self) -> Option<u64> {
        self.memory_total
    }

    /// Returns the node's free memory in bytes when the topology was read.
    #[must_use]
    pub fn memory_free(&self) -> Option<u64> {
        self.memory_free
    }

    /// Returns how much of [`memory_free`](Self::memory_free) the kernel keeps for itself, in bytes; `None` where it does not tell.
    ///
    /// These are each zone's high watermark and the most that the zone keeps
    /// from requests that other zones could serve, as in the kernel's own
    /// estimate of available memory. Programs get some of it, but a program
    /// that is bound to the node and asks for all of it meets the OOM killer.
    #[must_use]
    pub fn memory_reserved(&self) -> Option<u64> {
        self.memory_reserved
    }

    /// Returns whether pages can lie on the node; `true` where its memory could not be read.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        self.memory_total != Some(0)
    }

    /// Returns the node's pools of huge pages (hugetlb), smallest page first.
    #[must_use]
    pub fn huge_page_pools(&self) -> &[HugePagePool] {
        &self.huge_page_pools
    }

    /// Returns whether the node has CPUs, memory, or both.
    ///
    /// A node whose memory could not be read is taken to have some.
    #[must_use]
    pub fn kind(&self) -> NodeKind {
        match (!self.cpus.is_empty(), self.has_memory()) {
            (true, true) => NodeKind::General,
            (false, true) => NodeKind::MemoryOnly,
            (true, false) => NodeKind::CpuOnly,
            (false, false) => NodeKind::Empty,
        }
    }
}

/// What a node consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeKind {
    /// CPUs and memory.
    General,
    /// Memory without CPUs of its own, as CXL or high-bandwidth memory appears.
    MemoryOnly,
    /// CPUs without memory.
    CpuOnly,
    /// Neither: a number that firmware reserves, or whose CPUs and memory are all offline.
    Empty,
}

/// One node's pool of huge pages of one size (hugetlb), counted in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HugePagePool {
    /// The size of one page in bytes.
    pub page_bytes: u64,
    /// Pages in the pool.
    pub total: u64,
    /// Pages that hold nothing yet; mappings may have reserved some of them.
    pub free: u64,
    /// Pages beyond the persistent pool, taken by overcommit.
    pub surplus: u64,
}
