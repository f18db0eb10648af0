//! firsttouch measured beside the other ways of doing the same work.
//!
//! [`comparison`] measures [`runtime`]s side by side, in the [`suite`]s
//! `fork-join`, `tasks`, `page-init` and `memory`; each measurement is made by
//! [`measure`] in a process of its own. [`page_init`] measures fresh memory,
//! beside rivals and by share of each node's CPUs, and [`operations`] what else
//! is done with memory. A suite measures and returns
//! what it measured; printing is its caller's. Every suite reports in [`Row`]s,
//! so that one reader understands all records.

mod busy;
pub mod comparison;
pub mod machine;
pub mod measure;
pub mod operations;
pub mod page_init;
mod pieces;
pub mod requests;
pub mod room;
mod row;
pub mod runtime;
pub mod size;
mod stats;
pub mod suite;
pub mod target;
mod warm;

pub use busy::Busy;
pub use row::Row;
pub use stats::Stats;
