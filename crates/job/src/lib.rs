//! Jobs over ranges, split by node and run by each node's helpers.

mod integer;
mod plan;

pub use integer::Unsigned;
pub use plan::{Chunks, LOAD_BALANCE_FACTOR, Plan, PlanBuilder, PlanError};
