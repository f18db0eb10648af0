//! The ways to initialise pages that are compared, each behind one call.
//!
//! Most are a [runtime](crate::runtime) and a [`Way`] of using it; firsttouch
//! and code by hand have files of their own; and programs that initialise
//! memory of their own, as the JVM does, are asked how long they took.

mod catalogue;
mod firsttouch;
mod jvm;
mod pthreads;
mod qemu;
mod serial;
mod way;

use std::time::Duration;

use ::firsttouch::Region;

use super::Case;

pub(super) use catalogue::start;
pub use catalogue::{GIVEN, MACHINE, SERIAL, catalogue};
pub(super) use way::PIECE;
use way::Way;

/// A way to initialise pages that is ready to work.
pub(super) enum Rival {
    /// It is given memory of ours.
    Here(Box<dyn Here>),
    /// It is a program that initialises memory of its own.
    Program(Box<dyn Program>),
}

/// A way to initialise memory of ours.
pub(super) trait Here {
    /// Has every page placed and every byte equal to `value`; the region is fresh.
    fn init(&mut self, region: &mut Region, value: u8) -> anyhow::Result<()>;
}

/// A program that initialises memory of its own.
pub(super) trait Program {
    /// Returns how long the program took over the pages; `None` for a case that it has no counterpart for.
    ///
    /// An error where it did not do what it was asked.
    fn init(&mut self, case: Case) -> anyhow::Result<Option<Duration>>;
}

/// Keeps transparent huge pages from this process and from those it starts, or allows them again.
///
/// A program that asks for them has base pages so, which is what a case of base pages is about.
fn allow_huge_pages(case: Case) -> anyhow::Result<()> {
    let disable = case.pages == super::Pages::Base;
    rustix::thread::disable_transparent_huge_pages(disable).map_err(Into::into)
}
