//! Where the current thread runs and may run.

use crate::{CpuId, CpuSet, TopologyError};

/// Returns the CPUs the current thread may run on (`sched_getaffinity`).
///
/// # Errors
///
/// [`TopologyError::Call`] where the kernel refuses.
pub fn current() -> Result<CpuSet, TopologyError> {
    todo!()
}

/// Keeps the current thread to these CPUs (`sched_setaffinity`).
///
/// # Errors
///
/// [`TopologyError::Call`] where none of the CPUs is allowed, or the call is filtered.
pub fn set_current(cpus: &CpuSet) -> Result<(), TopologyError> {
    let _ = cpus;
    todo!()
}

/// Returns the CPU the current thread is on at this moment (`getcpu`); it may have moved by the time the caller looks.
#[must_use]
pub fn current_cpu() -> CpuId {
    todo!()
}
