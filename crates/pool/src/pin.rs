//! Pinning: what was asked for, and what the kernel granted.

use core_affinity::CoreId;
use firsttouch_topology::{CpuId, CpuSet, NodeId, Topology, affinity};

/// How helpers are kept in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pin {
    /// Each helper may run on any of its node's CPUs that the pool may use.
    ///
    /// The kernel can still move it away from a CPU that something else keeps
    /// busy, which is why this is the default.
    #[default]
    Node,
    /// Each helper keeps to one CPU of its node, one helper to a core before
    /// two share one. For machines that run nothing else.
    Cpu,
    /// Helpers go wherever the kernel puts them.
    None,
}

/// What pinning came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pinned {
    /// Kept to one CPU.
    Cpu(CpuId),
    /// Kept to the CPUs of one node.
    Node(NodeId),
    /// Not asked for.
    None,
    /// Asked for and refused by the kernel; the helper runs unpinned.
    Refused,
}

/// What one helper is to be kept to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Cpu(CpuId),
    Node(NodeId, CpuSet),
    Anywhere,
}

impl Place {
    /// Pins the calling thread, and reads back whether the kernel did it.
    pub(crate) fn pin_current(&self) -> Pinned {
        let (pinned, cpus) = match self {
            Self::Anywhere => return Pinned::None,
            Self::Node(node, cpus) => (Pinned::Node(*node), cpus.clone()),
            Self::Cpu(cpu) => (Pinned::Cpu(*cpu), CpuSet::from_iter([*cpu])),
        };
        let before = affinity::current();
        let set = match self {
            Self::Cpu(cpu) => pin_to_cpu(*cpu),
            _ => affinity::set_current(&cpus).is_ok(),
        };
        // The kernel leaves out CPUs that a cpuset forbids, and says nothing.
        let granted = set && affinity::current().is_ok_and(|current| current == cpus);
        if granted {
            return pinned;
        }
        // What it did in part is undone: a helper that was refused runs unpinned.
        let _ = before.and_then(|before| affinity::set_current(&before));
        Pinned::Refused
    }
}

/// Pins to one CPU; `core_affinity` can name the first 1,024.
fn pin_to_cpu(cpu: CpuId) -> bool {
    /// `CPU_SETSIZE`: the bits of a `cpu_set_t`.
    const CPU_SET_BITS: u32 = 1024;
    match cpu.os_index() {
        index if index < CPU_SET_BITS => {
            core_affinity::set_for_current(CoreId { id: index as usize })
        }
        _ => affinity::set_current(&CpuSet::from_iter([cpu])).is_ok(),
    }
}

/// Keeps the calling thread, which is no helper, to the node it is on; restores its affinity when dropped.
#[derive(Debug)]
pub(crate) struct KeptCaller {
    before: CpuSet,
}

impl KeptCaller {
    /// Narrows the calling thread's affinity; `None` where there is nothing to narrow, or the kernel refuses.
    pub(crate) fn on_its_node(topology: &Topology) -> Option<Self> {
        let node = topology.node(topology.node_of_cpu(affinity::current_cpu())?)?;
        let narrowed = affinity::current().and_then(|before| {
            let kept = before.intersection(node.cpus());
            if kept.is_empty() || kept == before {
                return Ok(None);
            }
            affinity::set_current(&kept)?;
            Ok(Some(Self { before }))
        });
        narrowed.unwrap_or_else(|error| {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::debug!(
                node = node.id().os_index(),
                error,
                "the caller is not kept to its node: the kernel refused"
            );
            None
        })
    }
}

impl Drop for KeptCaller {
    fn drop(&mut self) {
        if let Err(error) = affinity::set_current(&self.before) {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "the caller's affinity could not be restored");
        }
    }
}
