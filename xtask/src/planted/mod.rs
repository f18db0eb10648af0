//! Faults planted on purpose, in a copy of the sources.
//!
//! A check that stays green with a fault in place proves nothing. `cargo xtask
//! vm --self-check` and `cargo xtask models --self-check` plant them one by
//! one; nothing of it is in what is shipped.

mod change;
mod tree;

pub(crate) use change::Change;
pub(crate) use tree::Tree;

/// What the copy without a fault is called.
pub(crate) const CONTROL: &str = "(no fault)";
