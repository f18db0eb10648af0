//! Every case, in the order they run.

mod bench;
mod confinement;
mod discovery;
mod hwloc;
mod kernel;
mod memory;
mod operations;
mod page_init;
mod pool;
mod room;

use crate::case::Case;

/// Every case.
pub(crate) const ALL: &[&[Case]] = &[
    kernel::CASES,
    discovery::CASES,
    hwloc::CASES,
    memory::CASES,
    confinement::CASES,
    page_init::BLOCKED,
    page_init::INTERLEAVED,
    page_init::HUGE,
    page_init::KINDS,
    page_init::FULL_NODE,
    operations::MIGRATION,
    operations::REPLICAS,
    operations::LOCALITY,
    operations::PINNING,
    operations::RELEASE,
    pool::PINNING,
    pool::CONFINEMENT,
    pool::OFFLINE,
    pool::STEALING,
    pool::RESTRICTED,
    pool::STORAGE,
    bench::CASES,
];
