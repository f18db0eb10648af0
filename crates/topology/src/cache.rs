//! Data and unified caches.

use crate::CpuSet;

/// One data or unified cache and the CPUs that share it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cache {
    /// 1 for the level next to the core.
    pub level: u32,
    /// Its size in bytes; `None` where the kernel does not say.
    pub bytes: Option<u64>,
    /// The online CPUs that share it.
    pub cpus: CpuSet,
}
