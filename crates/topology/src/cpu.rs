//! CPUs, cores and packages.

use crate::{CpuId, CpuSet, NodeId};

/// One online CPU: a hardware thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cpu {
    /// The operating system's number.
    pub id: CpuId,
    /// The node it belongs to; `None` where no node names it.
    pub node: Option<NodeId>,
    /// Its core: an index into [`Topology::cores`](crate::Topology::cores).
    pub core: usize,
    /// Its package: an index into [`Topology::packages`](crate::Topology::packages).
    pub package: usize,
}

/// One core and its hardware threads (SMT siblings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Core {
    /// The online CPUs that share the core.
    pub cpus: CpuSet,
    /// Its kind: an index into [`Topology::core_kinds`](crate::Topology::core_kinds).
    pub kind: usize,
}

/// One kind of core; a machine has several when it is hybrid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreKind {
    /// The online CPUs of this kind.
    pub cpus: CpuSet,
    /// Relative capacity, as the kernel or the highest frequency ranks it; kinds ascend by it. `None` where nothing ranks them.
    pub capacity: Option<u64>,
    /// The kernel's name of the kind, such as `cpu_core` or `cpu_atom`, where it has one.
    pub name: Option<String>,
}

/// One physical package (socket).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Package {
    /// The firmware's number of the package; `None` where it gives none.
    pub id: Option<u32>,
    /// The online CPUs in the package.
    pub cpus: CpuSet,
}
