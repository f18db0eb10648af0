//! Skeleton of the face.
pub use firsttouch_job::*;
pub use firsttouch_memory::{
    HugePageSize, MemoryError, PageSize, Pod, Policy, Region, RegionBuilder, Residency,
};
pub use firsttouch_pool::*;
pub use firsttouch_topology as topology;
pub use firsttouch_topology::{CpuId, CpuSet, NodeId, NodeSet, Topology, TopologyError};
