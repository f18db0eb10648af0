//! The suite `memory`: what else is done with memory, beside what one thread and plain threads do.
//!
//! Everybody is given the same: memory that plain threads have populated, or
//! fresh memory where pages are to come. What came of it is checked after each
//! repetition, from what the kernel says of this process.

mod case;
mod measure;
mod plan;

use crate::runtime::Known;
use crate::target::OURS;

pub use case::{Case, Operation, UnknownOperation};
pub(crate) use measure::measure;
pub use plan::{Plan, obstacle, two_nodes};

/// The name of the rows of one thread that makes one call.
pub const ONE_THREAD: &str = "one-thread";

/// The name of the rows of plain threads that share the calls.
pub const THREADS: &str = "threads";

/// Returns everybody who is compared: ours first.
#[must_use]
pub fn catalogue() -> Vec<Known> {
    let compiler = env!("FIRSTTOUCH_RUSTC_VERSION");
    let known = |name: &str, version: &str, does: &str| Known {
        name: name.to_owned(),
        version: Some(version.to_owned()),
        needs: None,
        does: Some(does.to_owned()),
    };
    vec![
        known(
            OURS,
            env!("CARGO_PKG_VERSION"),
            "PageRelease, PagePin, PageMigration, Replicate, Locality, with their default settings",
        ),
        known(ONE_THREAD, compiler, "one call on one thread: munmap, mlock, memcpy, move_pages"),
        known(
            THREADS,
            compiler,
            "threads started for it, by pieces of 8 MiB: madvise and munmap, mlock, memcpy, move_pages",
        ),
    ]
}
