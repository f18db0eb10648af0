//! Jobs over ranges, split by node and run by each node's helpers.

mod chunk;
mod cursor;
mod error;
mod init;
mod integer;
mod job;
mod location;
mod plan;
mod report;

pub use chunk::Chunk;
pub use error::JobError;
pub use init::{Binding, InitPages, InitReport, PageInit, Placement, PolicyUse};
pub use integer::Unsigned;
pub use job::Job;
pub use location::{Location, Steal};
pub use plan::{Chunks, LOAD_BALANCE_FACTOR, Plan, PlanBuilder, PlanError};
pub use report::{JobReport, NodeReport};
