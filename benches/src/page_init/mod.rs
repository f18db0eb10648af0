//! The suite `page-init`: how long fresh memory takes to initialise, and where it ends up.
//!
//! It has two parts. [`Plan`] compares firsttouch with its rivals, each in a
//! process of its own, and with what the machine can do at all. [`ByShare`] is
//! the table of the kernel series, in this process: by share of each node's CPUs.
//!
//! There each kind of page has a serial row, the way a program does it today, and a
//! row for firsttouch at each share of a node's CPUs. Both are timed alike,
//! from the fresh mapping to the last initialised page. The repetitions are
//! interleaved: the first of every row, then the second of every row, so that
//! a machine that drifts, drifts for all alike.

pub(crate) mod beside;
mod case;
pub mod limit;
mod measure;
mod outcome;
mod pages;
mod plan;
mod rival;
mod share;

use std::num::NonZeroUsize;

use anyhow::Context;
use firsttouch::{PageSize, Pool};

pub use case::{Case, Fill, SMALL, UnknownFill, bytes_of};
pub use measure::{NodeSample, Places, Sample};
pub use outcome::{Measured, Outcome, Runtime};
pub use pages::{CannotBeHad, Pages, UnknownPages};
pub use plan::Plan;
pub use rival::{GIVEN, MACHINE, SERIAL, catalogue};
pub use share::{Share, shares};

/// What to measure by share of each node's CPUs.
#[derive(Clone, Debug)]
pub struct ByShare {
    /// Bytes to initialise in each repetition.
    pub bytes: usize,
    /// The kinds of page, and the page size each comes down to.
    pub pages: Vec<(Pages, PageSize)>,
    /// How often each row is measured.
    pub repetitions: NonZeroUsize,
}

impl ByShare {
    /// Returns the rows that each kind of page has on this pool: serial, then the shares.
    ///
    /// Shares are of the node with the most helpers; a node with fewer takes
    /// part with what it has.
    #[must_use]
    pub fn runtimes(pool: &Pool) -> Vec<Runtime> {
        let most = pool.nodes().filter_map(|(_, helpers)| NonZeroUsize::new(helpers)).max();
        let shares = shares(most.unwrap_or(NonZeroUsize::MIN)).into_iter();
        std::iter::once(Runtime::Serial)
            .chain(shares.map(|share| {
                let threads = pool.nodes().map(|(_, helpers)| helpers.min(share.threads.get()));
                Runtime::Firsttouch { share, threads: threads.sum::<usize>().max(1) }
            }))
            .collect()
    }

    /// Returns how many measurements [`ByShare::run`] makes.
    #[must_use]
    pub fn measurements(&self, pool: &Pool) -> usize {
        let rows = self.pages.len() * Self::runtimes(pool).len();
        rows.saturating_mul(self.repetitions.get())
    }

    /// Measures all rows of all kinds of page.
    ///
    /// `progress` hears what is measured next, before each measurement.
    ///
    /// # Errors
    ///
    /// Where memory cannot be had or initialised, with the case that failed.
    pub fn run(&self, pool: &Pool, mut progress: impl FnMut(&str)) -> anyhow::Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for &(pages, page_size) in &self.pages {
            let mut rows: Vec<_> = Self::runtimes(pool).into_iter().map(Measured::new).collect();
            for _ in 0..self.repetitions.get() {
                for row in &mut rows {
                    let name = format!("{pages}, {}", row.runtime);
                    progress(&name);
                    row.samples.push(self.repetition(page_size, row.runtime, pool).context(name)?);
                }
            }
            outcomes.push(Outcome { pages, page_size, bytes: self.bytes, rows });
        }
        Ok(outcomes)
    }

    fn repetition(
        &self,
        page_size: PageSize,
        runtime: Runtime,
        pool: &Pool,
    ) -> anyhow::Result<Sample> {
        match runtime {
            Runtime::Serial => measure::serial(self.bytes, page_size, pool.topology()),
            Runtime::Firsttouch { share, .. } => {
                measure::firsttouch(self.bytes, page_size, pool, share.threads)
            }
        }
    }
}
