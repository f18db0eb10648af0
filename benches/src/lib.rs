//! firsttouch measured beside the other ways of doing the same work.
//!
//! One module per suite; [`page_init`] is the first. A suite measures and
//! returns what it measured; printing is its caller's. Every suite reports in
//! [`Row`]s, so that one reader understands all records.

pub mod machine;
pub mod page_init;
pub mod room;
mod row;
pub mod runtime;
pub mod size;
mod stats;
mod warm;

pub use row::Row;
pub use stats::Stats;
