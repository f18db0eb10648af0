//! What this process may use of the machine.

use std::num::NonZeroUsize;

use crate::{CpuSet, NodeSet};

/// What this process may use: CPUs, memory nodes, CPU time.
///
/// It is what held for the calling thread when the topology was read.
///
/// # Examples
///
/// ```
/// use firsttouch_topology::Topology;
///
/// let topology = Topology::discover()?;
/// let allowed = topology.allowed();
/// println!("{} threads at once, on CPUs {}", allowed.parallelism(), allowed.cpus());
/// # Ok::<(), firsttouch_topology::TopologyError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Allowed {
    /// Invariant: online, not empty.
    pub(crate) cpus: CpuSet,
    /// Invariant: nodes of the topology, not empty.
    pub(crate) nodes: NodeSet,
    pub(crate) cpu_quota: Option<CpuQuota>,
}

impl Allowed {
    /// Returns the online CPUs this process may run on: its affinity mask, which the kernel keeps inside its cpuset.
    #[must_use]
    pub fn cpus(&self) -> &CpuSet {
        &self.cpus
    }

    /// Returns the nodes this process may take memory from (`Mems_allowed`).
    ///
    /// The kernel leaves out nodes without memory; where it does not tell, all nodes are in it.
    #[must_use]
    pub fn nodes(&self) -> &NodeSet {
        &self.nodes
    }

    /// Returns the tightest CPU quota of the process's control groups and those above them, version 1 or 2; `None` for no limit.
    ///
    /// Groups above a container's own cannot be seen from inside it.
    #[must_use]
    pub fn cpu_quota(&self) -> Option<CpuQuota> {
        self.cpu_quota
    }

    /// Returns how many threads can run at once: the allowed CPUs, or the quota rounded up where that is less.
    #[must_use]
    pub fn parallelism(&self) -> NonZeroUsize {
        let cpus = self.cpus.len();
        let quota = self.cpu_quota.map_or(usize::MAX, |quota| quota.cpus().ceil() as usize);
        NonZeroUsize::new(cpus.min(quota)).unwrap_or(NonZeroUsize::MIN)
    }
}

/// CPU time that a control group may use: `quota` of every `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuQuota {
    /// Microseconds of CPU time in each period. Invariant: not zero.
    pub quota_us: u64,
    /// The period's length in microseconds. Invariant: not zero.
    pub period_us: u64,
}

impl CpuQuota {
    /// Returns the quota in CPUs: 1.5 is one and a half CPUs' time.
    #[must_use]
    pub fn cpus(self) -> f64 {
        self.quota_us as f64 / self.period_us as f64
    }
}
