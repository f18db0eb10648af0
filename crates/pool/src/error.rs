//! Why a pool cannot be had, or work not be queued where it was to be.

use std::io;

use firsttouch_topology::{CpuSet, NodeId, NodeSet, TopologyError};

/// Why a pool cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The machine could not be read.
    #[error("the machine cannot be read; a pool can be built on another topology")]
    Topology {
        /// What went wrong.
        #[from]
        source: TopologyError,
    },
    /// The builder was given nodes that the machine does not have.
    #[error("the machine has no node {absent}; it has {present}")]
    NoSuchNode {
        /// The nodes that do not exist.
        absent: NodeSet,
        /// The nodes that do.
        present: NodeSet,
    },
    /// The builder was given CPUs that are not online.
    #[error("the machine has no online CPU {absent}; it has {online}")]
    NoSuchCpu {
        /// The CPUs that do not exist or are offline.
        absent: CpuSet,
        /// The CPUs that are online.
        online: CpuSet,
    },
    /// No allowed CPU is among those the builder was given.
    #[error(
        "no CPU is left for helpers: this process may use {allowed}, the pool was given {chosen}"
    )]
    NoCpus {
        /// The CPUs that this process may use.
        allowed: CpuSet,
        /// The CPUs that the builder's nodes and CPUs have in common.
        chosen: CpuSet,
    },
    /// More helpers than any kernel runs threads.
    #[error("{wanted} helpers are more than any kernel runs threads; at most {max} can be had")]
    TooManyHelpers {
        /// How many were to be started; all that can be counted where they are more.
        wanted: usize,
        /// The most that is accepted.
        max: usize,
    },
    /// More helpers on one node than it counts.
    #[error("{wanted} helpers are more than node {node} can have; at most {max} can be had there")]
    TooManyOnNode {
        /// The node.
        node: NodeId,
        /// How many were to be started there.
        wanted: usize,
        /// The most that is accepted.
        max: usize,
    },
    /// The stack size cannot hold a helper, or cannot be mapped.
    #[error("a stack of {bytes} bytes is out of range: {min} to {max} bytes can be had")]
    StackSize {
        /// The size asked for, in bytes.
        bytes: usize,
        /// The least that is accepted, in bytes.
        min: usize,
        /// The most that is accepted, in bytes.
        max: usize,
    },
    /// A thread's name has a zero byte in it, which no thread name can.
    #[error("the name {name:?} of helper {helper} has a zero byte in it; any other text will do")]
    ThreadName {
        /// The helper's index.
        helper: usize,
        /// The name that was given.
        name: String,
    },
    /// The system refused to start a helper; those already started have ended.
    #[error(
        "helper {started} of {wanted} could not be started; fewer helpers or smaller stacks may do"
    )]
    Spawn {
        /// How many helpers had been started.
        started: usize,
        /// How many were to be started.
        wanted: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is a global pool already; it cannot be replaced.
    #[error(
        "the global pool has been built already, with {helpers} helpers; \
         build it before anything uses it, or build a pool of your own"
    )]
    GlobalExists {
        /// How many helpers it has.
        helpers: usize,
    },
    /// The global pool was built before this process was forked, and its helpers are not here.
    #[error(
        "this process is a fork of the one that built the global pool, and has none of its \
         helpers; build a pool of its own after the fork, or replace the process by exec"
    )]
    Forked,
}

/// A task was to be queued on a node that the machine does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the machine has no node {node}; it has {present}")]
#[non_exhaustive]
pub struct NoSuchNode {
    /// The node that does not exist.
    pub node: NodeId,
    /// The nodes that do; those without helpers are served by the nearest that has some.
    pub present: NodeSet,
}
