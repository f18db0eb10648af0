//! Readers: each turns one kind of description into [`Parts`], and
//! [`assemble`] turns those into a [`Topology`](crate::Topology).

pub(crate) mod assemble;
#[cfg(feature = "hwloc")]
pub(crate) mod hwloc;
pub(crate) mod parts;
pub(crate) mod synthetic;
pub(crate) mod sysfs;

pub(crate) use parts::{AllowedPart, DistancePart, NodePart, Parts};
