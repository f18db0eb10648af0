//! Every case, in the order they run.

mod confinement;
mod discovery;
mod kernel;
mod memory;
mod page_init;
mod pool;

use crate::case::Case;

/// Every case.
pub(crate) const ALL: &[&[Case]] = &[
    kernel::CASES,
    discovery::CASES,
    memory::CASES,
    confinement::CASES,
    page_init::CASES,
    pool::PINNING,
    pool::CONFINEMENT,
    pool::OFFLINE,
    pool::STEALING,
    pool::STORAGE,
];
