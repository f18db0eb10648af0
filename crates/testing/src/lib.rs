//! What the tests of several crates share; no library is built from it.

mod refuse;
#[cfg(shuttle)]
pub mod schedules;
mod skipped;

pub use refuse::{Call, refuse};
pub use skipped::skipped;
