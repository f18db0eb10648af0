//! Jobs and loops over ranges, split by node and run by each node's helpers; page initialisation first.
//!
//! [`Job`] runs a closure over a range on the caller and a pool's helpers,
//! with the words and the chunking of the Linux kernel's multithreaded jobs
//! (padata, `kernel/padata.c`): `start`, `size`, `align`, `min_chunk`,
//! `max_threads`. Beyond these a range can live on nodes, one part each, as
//! with padata's predecessor ktask; each node's threads then run that node's
//! chunks, and the report says how many did. [`Plan`] is the arithmetic alone.
//!
//! What a job may be asked for beyond that is what ktask and its successors
//! wanted: functions that fail, and [undo](Job::try_run_with_undo) what
//! completed; [pieces](Job::over) that are no range; a [`CancelToken`], a
//! deadline; [`JobLimits`] that jobs share; a lower [`Priority`]; [`Progress`]
//! for other threads; and a [`JobHandle`] for a job that was
//! [started](Job::start), which the feature `future` makes a
//! [`Future`]. A job pays for what it asks for alone.
//!
//! [`Loop`] runs parallel loops and reductions where no report is wanted and
//! every nanosecond is: over ranges and slices, with OpenMP's [`Schedule`]s.
//! [`for_each_index`], [`for_each_chunk_mut`], [`reduce()`] and the like are
//! loops with the defaults.
//!
//! [`PageInit`] is the job that padata was written for, in user space: it
//! initialises a [`Region`](firsttouch_memory::Region) so that each page lies
//! on the node where the [`Placement`] puts it and is cleared by a CPU nearby,
//! and reads back from the kernel whether that came true. [`PageRead`] reads a
//! file in the same way, and [`PageCollapse`] puts pages into huge ones.
//!
//! Regions have more jobs than that: [`PagePin`] keeps their pages in memory,
//! [`PageMigration`] moves them to another placement, and [`PageRelease`] and
//! [`ReleaseOnDrop`] give them back, each on the helpers of the nodes where the
//! pages are. [`Replicate`] copies a slice to every node, and [`Locality`] finds
//! out where the pages of any memory lie, so that a job's chunks run there.
//! What these jobs on memory are asked for alike is in one place, [`MemoryJob`].
//!
//! Nothing here calls the kernel: `firsttouch-memory` places, and
//! `firsttouch-pool` runs. What the machine refuses is an error or, where the
//! job can go on with less, an event and a field of the report.
//!
//! # Examples
//!
//! ```
//! use firsttouch_job::PageInit;
//! use firsttouch_memory::Region;
//! use firsttouch_pool::Pool;
//!
//! let pool = Pool::new()?;
//! let mut region = Region::builder(32 << 20).build()?;
//! let report = PageInit::new(&mut region).zero(&pool)?;
//! println!("{} bytes in {:?} by {} threads", report.bytes, report.elapsed, report.threads);
//! if let Some(pages) = report.pages {
//!     println!("{:.0} % local to the CPU that cleared them", pages.local_share() * 100.0);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chunk;
mod claims;
mod cursor;
mod error;
mod init;
mod integer;
mod job;
mod locality;
mod location;
mod loops;
mod memory_job;
mod migrate;
#[cfg(all(test, loom))]
mod models;
mod options;
mod pages;
mod pin;
mod plan;
mod release;
mod replicate;
mod report;
mod schedule;
mod sync;
#[cfg(all(test, not(loom)))]
mod testing;

/// What [`MemoryJob`]s do: the types that tell them apart, of which applications need to name none.
pub mod operation {
    pub use crate::init::{Collapse, Init, Read};
    pub use crate::memory_job::{Binds, Places};
    pub use crate::migrate::Migrate;
    pub use crate::pin::Pin;
    pub use crate::release::Release;
    pub use crate::replicate::Replication;
}

pub use chunk::Chunk;
pub use error::JobError;
pub use firsttouch_pool::Steal;
pub use init::{
    Binding, CollapseReport, InitPages, InitReport, PageCollapse, PageInit, PageRead, Placement,
    PolicyUse, Stores,
};
pub use integer::Unsigned;
pub use job::cancel::{CancelToken, StopReason};
pub use job::cpu_share::CpuShare;
pub use job::failure::{ChunkError, RunError, Stopped};
pub use job::handle::JobHandle;
pub use job::limits::{JobLimits, JobLimitsBuilder};
pub use job::pieces::{Piece, Pieces};
pub use job::priority::{Priority, PriorityReport};
pub use job::progress::{NodeProgress, Progress, ProgressSnapshot, Stall};
pub use job::{Job, UnitRange};
pub use locality::{Locality, Locate};
pub use location::Location;
pub use loops::{
    Loop, for_each_chunk, for_each_chunk_mut, for_each_index, for_each_mut, reduce,
    reduce_deterministic,
};
pub use memory_job::MemoryJob;
pub use migrate::{MigrationReport, NodeMigration, PageMigration};
pub use pin::{PagePin, PinReport, PinnedPages};
pub use plan::{Chunks, LOAD_BALANCE_FACTOR, Plan, PlanBuilder, PlanError};
pub use release::{PageRelease, ReleaseOnDrop, ReleaseReport};
pub use replicate::{ReplicaPages, Replicas, Replicate, ReplicationReport};
pub use report::{JobReport, NodeReport};
pub use schedule::Schedule;
