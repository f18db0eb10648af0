//! What the tests of several crates share; no library is built from it.

mod refuse;
#[cfg(shuttle)]
pub mod schedules;
mod skipped;
mod stacks;
mod watched;

pub use refuse::{Call, refuse};
pub use skipped::skipped;
pub use watched::{watched, watched_for, watched_on_main_under, watched_under};
