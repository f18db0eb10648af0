//! Memory initialised, and work run, on the node where it belongs.
//!
//! On a machine with several NUMA nodes, a page lies on the node of the CPU
//! that touched it first. A program that fills its memory from one thread has
//! all of it on one node, and every other node's threads reach across the
//! machine for it from then on; that one thread also leaves most of the memory
//! bandwidth idle while it fills. firsttouch splits the memory by node and has
//! each node's own CPUs initialise each node's part, as Linux does for its own
//! page structures at boot (padata), and then reads back from the kernel where
//! every page lies.
//!
//! # A tour
//!
//! **The machine.** [`Topology`] says which nodes there are, how far apart they
//! lie, and what this process may use of them.
//!
//! ```
//! let topology = firsttouch::Topology::discover()?;
//! for node in topology.nodes() {
//!     println!("node {}: CPUs {}, {:?} bytes", node.id(), node.local_cpus(), node.memory_total());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **The pool.** [`Pool`] starts helpers and keeps each to its node. They sleep
//! while there is nothing to do. `join`, `scope`, `spawn` and `broadcast` mean
//! what they mean in rayon.
//!
//! ```
//! use firsttouch::{Pin, Pool};
//!
//! let pool = Pool::builder().pin(Pin::Node).build()?;
//! let (left, right) = pool.join(|| (0..500).sum::<u64>(), || (500..1000).sum::<u64>());
//! assert_eq!(left + right, 499_500);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The functions [`join`], [`scope`], [`spawn`] and [`broadcast`] use the pool
//! that the calling thread works for, and outside of every pool the global one,
//! which starts at its first use, or by [`PoolBuilder::build_global`] before.
//!
//! ```
//! let (left, right) = firsttouch::join(|| (0..500).sum::<u64>(), || (500..1000).sum::<u64>());
//! assert_eq!(left + right, 499_500);
//! ```
//!
//! **Memory.** A [`Region`] is an owned mapping with the page size asked for,
//! or the fallback allowed. It has no page until something touches it.
//!
//! **Page initialisation.** [`PageInit`] touches every page of a region first on
//! the node where the [`Placement`] wants it, and reports what the kernel says
//! came of it.
//!
//! ```
//! use firsttouch::{PageInit, PageSize, Placement, Pool, Region};
//!
//! let pool = Pool::new()?;
//! let mut field = Region::builder(8 << 20)
//!     .page_size(PageSize::Transparent)
//!     .or_page_size(PageSize::Base)
//!     .build()?;
//! let report = PageInit::new(&mut field)
//!     .placement(Placement::Blocked)
//!     .fill_with(&pool, |first, cells: &mut [f64]| {
//!         for (i, cell) in cells.iter_mut().enumerate() {
//!             *cell = (first + i) as f64;
//!         }
//!     })?;
//! assert_eq!(report.bytes, 8 << 20);
//! assert_eq!(field.as_slice_of::<f64>()[1000], 1000.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Shared memory ([`RegionBuilder::shared`]) and files ([`Region::map_file`])
//! are initialised in the same way. [`PageRead`] reads a file that is only
//! viewed ([`FileView`]), and [`PageCollapse`] puts pages that are there into
//! huge ones.
//!
//! **Other operations on memory.** [`PageMigration`] moves a region's pages to
//! another placement, [`PagePin`] keeps them in memory, [`PageRelease`] and
//! [`ReleaseOnDrop`] give them back, and [`Replicate`] copies a slice to every
//! node, each on the helpers of the nodes concerned. [`Locality`] finds out where
//! the pages of any slice lie, so that a job's chunks run there.
//!
//! ```
//! use firsttouch::{Locality, Loop, Pool, Replicate};
//!
//! let pool = Pool::new()?;
//! let weights = Replicate::new(&[0.5, 0.25, 0.25]).run(&pool)?;
//! let field: Vec<f64> = (0..1 << 20).map(f64::from).collect();
//! let there = match Locality::of(&pool, &field) {
//!     Ok(locality) => locality.location(),
//!     // Some containers do not tell.
//!     Err(error) if error.is_refused() => firsttouch::Location::Anywhere,
//!     Err(error) => return Err(error.into()),
//! };
//! let sum = Loop::new().location(there).reduce(
//!     &pool,
//!     0..field.len(),
//!     || 0.0,
//!     |sum, range| sum + field[range].iter().sum::<f64>() * weights.local()[0],
//!     |left, right| left + right,
//! )?;
//! assert_eq!(sum, 0.5 * 549_755_289_600.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Loops and reductions.** [`for_each_index`] and [`for_each_chunk`] run over a
//! range, [`for_each_mut`] and [`for_each_chunk_mut`] over a slice, and
//! [`reduce`] makes one value of a range; [`reduce_deterministic`] makes the
//! same one, to the bit, on any number of threads. [`Loop`] has their options,
//! OpenMP's [`Schedule`]s among them.
//!
//! ```
//! use firsttouch::{Location, Loop, Pool};
//!
//! let pool = Pool::new()?;
//! // Each node's helpers touch the same part first, and use it later.
//! let spread = Loop::new().location(Location::Spread).align(512).min_chunk(4096);
//! let (x, mut y) = (vec![2.0; 1 << 16], vec![1.0; 1 << 16]);
//! spread.for_each_chunk_mut(&pool, &mut y, |start, y| {
//!     for (y, x) in y.iter_mut().zip(&x[start..]) {
//!         *y += 3.0 * x;
//!     }
//! })?;
//! let add = |left, right| left + right;
//! let sum = spread.reduce_deterministic(
//!     &pool,
//!     0..y.len(),
//!     || 0.0,
//!     |sum, part| y[part].iter().fold(sum, |sum, y| sum + y),
//!     add,
//! )?;
//! assert_eq!(sum, 7.0 * 65_536.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Jobs.** A [`Job`] runs any function over a range, with padata's words
//! (`align`, `min_chunk`, `max_threads`), each node's part by that node's helpers.
//!
//! ```
//! use std::sync::atomic::{AtomicUsize, Ordering};
//! use firsttouch::{Job, Location, Pool};
//!
//! let pool = Pool::new()?;
//! let sum = AtomicUsize::new(0);
//! let report = Job::new(0, 10_000).align(64).min_chunk(512).location(Location::Spread).run(
//!     &pool,
//!     |chunk| {
//!         sum.fetch_add((chunk.start..chunk.end).sum::<usize>(), Ordering::Relaxed);
//!     },
//! )?;
//! assert_eq!(report.size, 10_000);
//! assert_eq!(sum.into_inner(), 49_995_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A job's function may fail: [`Job::try_run`] ends at the first error, and
//! [`Job::try_run_with_undo`] takes back what completed. Jobs are stopped by a
//! [`CancelToken`] or a deadline, told of by a [`Progress`], held to common
//! [`JobLimits`], run at a lower [`Priority`], over [`Piece`]s that are no
//! range, and [started](Job::start) to be waited for later.
//!
//! ```
//! use std::sync::Arc;
//! use firsttouch::{Job, JobError, Pool};
//!
//! let pool = Arc::new(Pool::new()?);
//! let handle = Job::new(0, 1 << 20).max_chunk(1 << 10).start(&pool, |chunk| {
//!     std::hint::black_box(chunk.range().sum::<usize>());
//! });
//! handle.cancel();
//! match handle.wait().map_err(JobError::from) {
//!     Ok(report) => assert_eq!(report.completed, report.size),
//!     Err(JobError::Stopped(stopped)) => println!("{stopped}"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Platforms
//!
//! Linux 4.18 and later, on any architecture that Rust's standard library
//! supports there. Newer calls are tried and fall back.
//!
//! # Tracing
//!
//! Pools, jobs and every decision to degrade are `tracing` spans and events at
//! `debug` or `warn`; single chunks are events at `trace`.

pub use firsttouch_job as job;
pub use firsttouch_memory as memory;
pub use firsttouch_pool as pool;
pub use firsttouch_topology as topology;

pub use firsttouch_job::{
    Binding, CancelToken, Chunk, ChunkError, CollapseReport, CpuShare, InitPages, InitReport, Job,
    JobError, JobHandle, JobLimits, JobReport, Locality, Locate, Location, Loop, MemoryJob,
    MigrationReport, NodeMigration, NodeReport, PageCollapse, PageInit, PageMigration, PagePin,
    PageRead, PageRelease, Piece, PinReport, PinnedPages, Placement, Plan, PlanError, PolicyUse,
    Priority, PriorityReport, Progress, ProgressSnapshot, ReleaseOnDrop, ReleaseReport,
    ReplicaPages, Replicas, Replicate, ReplicationReport, RunError, Schedule, Stall, StopReason,
    Stopped, Stores, for_each_chunk, for_each_chunk_mut, for_each_index, for_each_mut, reduce,
    reduce_deterministic,
};
pub use firsttouch_memory::{
    FileView, HugePageSize, LockLimit, MemoryError, MigrateError, Migrated, PageSize, Pod, Policy,
    Region, RegionBuilder, Residency,
};
pub use firsttouch_pool::{
    EventCount, Helper, HelperPer, Member, NoSuchNode, Pin, Pinned, Pool, PoolBuilder, PoolError,
    Scope, ScopeOptions, Steal, Team, broadcast, current_helper, join, scope, spawn,
};
pub use firsttouch_topology::{CpuId, CpuSet, NodeId, NodeSet, Topology, TopologyError};

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
