//! Helpers that keep to the CPUs of a job's caller.

use firsttouch_pool::Helper;
use firsttouch_topology::{CpuSet, Topology, TopologyError, affinity};

/// Keeps the calling helper to some CPUs of its node; restores its affinity when dropped.
#[derive(Debug)]
pub(crate) struct Narrowed {
    before: CpuSet,
}

impl Narrowed {
    /// Narrows the calling helper's affinity to CPUs of the mask; `None` where it is inside already.
    ///
    /// A helper that is pinned to another CPU goes to those of its node.
    pub(crate) fn to(
        mask: &CpuSet,
        helper: &Helper,
        topology: &Topology,
    ) -> Result<Option<Self>, TopologyError> {
        let before = affinity::current()?;
        let mut kept = before.intersection(mask);
        if kept == before {
            return Ok(None);
        }
        if kept.is_empty() {
            let node = topology.node(helper.node).map(|node| node.cpus().intersection(mask));
            kept = node.filter(|cpus| !cpus.is_empty()).unwrap_or_else(|| mask.clone());
        }
        affinity::set_current(&kept)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for Narrowed {
    fn drop(&mut self) {
        if let Err(error) = affinity::set_current(&self.before) {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "a helper's affinity could not be restored");
        }
    }
}
