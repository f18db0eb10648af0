//! A pool of helper threads, pinned per NUMA node.
//!
//! A [`Pool`] runs [tasks](Pool::scope), [pairs of closures](Pool::join) and
//! [fork-join calls](Pool::run) on helpers that know their node: work is
//! queued where its caller is, and taken by that node's helpers first, then by
//! others in order of distance. Helpers sleep while there is nothing to do.
//!
//! The functions [`join`], [`scope`], [`spawn`] and [`broadcast`] use the pool
//! that the calling thread works for, else the [global pool](Pool::global), as
//! rayon's do.
//!
//! # Examples
//!
//! ```
//! use firsttouch_pool::Pool;
//!
//! let pool = Pool::new()?;
//! for helper in pool.helpers() {
//!     println!("helper {} on node {}: {:?}", helper.index, helper.node, helper.pinned);
//! }
//! let nodes = pool.broadcast(|member| member.node());
//! assert_eq!(nodes.len(), pool.helpers().len());
//! # Ok::<(), firsttouch_pool::PoolError>(())
//! ```

mod absent;
mod activity;
mod board;
mod builder;
mod call;
mod caller;
mod completion;
mod counters;
mod cpus;
mod current;
mod deque;
mod error;
mod event_count;
mod front;
mod global;
mod handlers;
mod helper;
#[cfg(all(test, loom))]
mod models;
mod node_counter;
mod node_queues;
mod origin;
mod panic;
mod pin;
mod pool;
mod process;
mod queue;
mod shared;
mod shutdown;
mod spin;
mod spread;
mod steal;
mod storage;
mod sync;
mod sys;
mod task;
mod team;
mod wait;
mod worker;

pub use builder::{HelperPer, PoolBuilder};
pub use counters::Counters;
pub use error::{NoSuchNode, PoolError};
pub use event_count::EventCount;
pub use global::{broadcast, current_helper, join, scope, spawn};
pub use helper::Helper;
pub use node_counter::NodeCounter;
pub use pin::{Pin, Pinned};
pub use pool::Pool;
pub use steal::Steal;
#[doc(hidden)]
pub use storage::Storage;
pub use task::{Scope, ScopeOptions};
pub use team::{Member, Team};
