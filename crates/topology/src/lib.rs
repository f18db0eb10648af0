//! What a Linux machine is made of, and what this process may use of it.
//!
//! [`Topology`] holds NUMA nodes, CPUs, caches, distances, memory and page
//! sizes, read from the live machine, from a recorded `sys` and `proc` tree,
//! from a synthetic description, or (feature `hwloc`) through hwloc. All four
//! readers give the same type, so code above never asks where it came from.
//!
//! No machine is too odd: without node folders there is one node, nodes and
//! CPUs may have gaps in their numbers, and what is missing or makes no sense
//! is replaced by something sensible. [`Topology::oddities`] then says what was
//! assumed, and so does a `tracing` event at debug level.
//!
//! Everything here is plain data that never changes: `Send`, `Sync` and
//! comparable. The only state that this crate changes is the calling thread's
//! affinity mask, in [`affinity::set_current`], and how threads of this process
//! are scheduled, in [`scheduling`].
//!
//! # Examples
//!
//! ```
//! use firsttouch_topology::Topology;
//!
//! let topology = Topology::discover()?;
//! for node in topology.nodes() {
//!     println!("node {}: CPUs {}", node.id(), node.local_cpus());
//! }
//! # Ok::<(), firsttouch_topology::TopologyError>(())
//! ```

#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "firsttouch needs Linux: it places memory and threads with Linux's NUMA system calls"
);

pub mod affinity;
mod allowed;
mod cache;
mod cpu;
mod cpu_list;
mod discover;
mod distance;
mod error;
mod id;
mod id_set;
mod node;
mod page_sizes;
pub mod scheduling;
mod sys;
mod topology;

pub use allowed::{Allowed, CpuQuota};
pub use cache::Cache;
pub use cpu::{Core, CoreKind, Cpu, Package};
pub use cpu_list::ListError;
pub use distance::DistanceMatrix;
pub use error::{Oddity, TopologyError};
pub use id::{CpuId, NodeId};
pub use id_set::{CpuSet, IdSet, IdSetIter, NodeSet};
pub use node::{HugePagePool, Node, NodeKind};
pub use page_sizes::{PageSizes, TransparentHugePages};
pub use topology::{Source, Topology};
