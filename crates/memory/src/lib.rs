//! Memory regions: their page size, their NUMA policy, and where their pages lie.
//!
//! A [`Region`] is an owned mapping, zeroed by the kernel: private memory, or
//! shared with other processes, or a file. A [`FileView`] is a file that is
//! only read. Mapping places nothing: each page goes to a node when it is first touched, by
//! the range's [`Policy`] or, by default, to the node of the CPU that touches
//! it. [`Region::populate`] touches pages without changing them,
//! [`Region::parts`] lets many threads do so at once, and
//! [`Region::residency`] asks the kernel where the pages went. A [`Provider`]
//! has the kernel copy contents into pages instead of clearing them;
//! [`streaming`] writes past the caches.
//!
//! # Examples
//!
//! ```
//! use firsttouch_memory::{PageSize, Region};
//!
//! let mut region = Region::builder(16 << 20)
//!     .page_size(PageSize::Transparent)
//!     .or_page_size(PageSize::Base)
//!     .build()?;
//! region.populate(0..region.len())?;
//! assert_eq!(region.as_slice()[12_345], 0);
//! # Ok::<(), firsttouch_memory::MemoryError>(())
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!(
    "firsttouch needs Linux: it places memory and threads with Linux's NUMA system calls"
);

mod address_range;
mod backing;
mod builder;
mod collapse;
mod error;
mod file_view;
mod lock;
mod mapping;
mod migrate;
mod page_size;
mod parts;
mod policy;
mod populate;
mod present;
mod provider;
mod region;
mod residency;
pub mod streaming;
mod sys;
mod thread_policy;

pub use address_range::{AddressRange, NodeRun};
pub use builder::RegionBuilder;
pub use bytemuck::Pod;
pub use error::MemoryError;
pub use file_view::FileView;
pub use lock::LockLimit;
pub use migrate::{MigrateError, Migrated};
pub use page_size::{HugePageSize, PageSize};
pub use parts::{Part, Parts};
pub use policy::Policy;
pub use provider::Provider;
pub use region::Region;
pub use residency::Residency;
#[doc(hidden)]
pub use sys::{OptionalCall, simulate_missing};
pub use thread_policy::ThreadPolicy;
