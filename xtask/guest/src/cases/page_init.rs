//! Page initialisation: every page on its node, touched by a CPU local to it.

mod blocked;
mod full_node;
pub(super) mod huge;
pub(super) mod initialise;
mod interleaved;
mod kinds;

pub(super) use blocked::CASES as BLOCKED;
pub(super) use full_node::CASES as FULL_NODE;
pub(super) use huge::CASES as HUGE;
pub(super) use interleaved::CASES as INTERLEAVED;
pub(super) use kinds::CASES as KINDS;
