//! Why a job could not run, or stopped.

use std::ops::Range;

use firsttouch_memory::{HugePageSize, MemoryError, Migrated};
use firsttouch_topology::{NodeId, NodeSet};

use crate::{PlanError, Stopped};

/// Why a job could not run, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The range cannot be cut as asked.
    #[error("the range cannot be cut")]
    Plan(#[from] PlanError),
    /// The job was cancelled, or its deadline passed, before all chunks were run.
    #[error(transparent)]
    Stopped(#[from] Box<Stopped>),
    /// A part is on a node that the machine does not have.
    #[error("a part is on node {node}, but the pool's machine has nodes {known}")]
    UnknownNode {
        /// The node asked for.
        node: NodeId,
        /// The machine's nodes.
        known: NodeSet,
    },
    /// Two parts share units, which would be run twice.
    #[error(
        "node {first_node}'s part {first:?} and node {second_node}'s part {second:?} overlap; \
         each unit belongs to one part"
    )]
    PartsOverlap {
        /// The node of the part that starts first.
        first_node: NodeId,
        /// The part that starts first.
        first: Range<usize>,
        /// The node of the other part.
        second_node: NodeId,
        /// The other part.
        second: Range<usize>,
    },
    /// No part covers some units, which would not be run.
    #[error("no part covers {gap:?}; the parts must cover the job's whole range")]
    PartsMiss {
        /// The first units that no part covers.
        gap: Range<usize>,
    },
    /// A part reaches out of the job's range.
    #[error("node {node}'s part {part:?} is not inside of the job's range {range:?}")]
    PartOutside {
        /// The part's node.
        node: NodeId,
        /// The part.
        part: Range<usize>,
        /// The job's range.
        range: Range<usize>,
    },
    /// An interleave block is no whole number of pages.
    #[error("an interleave block of {block} bytes is no multiple of the page size, {page_bytes}")]
    Block {
        /// The block asked for, in bytes.
        block: usize,
        /// The region's page size, in bytes.
        page_bytes: usize,
    },
    /// A placement names a node that cannot hold this process's pages.
    #[error("node {node} has no memory that this process may use; nodes {usable} have")]
    NodeWithoutMemory {
        /// The node asked for.
        node: NodeId,
        /// The nodes that can be asked for.
        usable: NodeSet,
    },
    /// A placement names no node.
    #[error("the placement names no node; nodes {usable} have memory that this process may use")]
    NoNodes {
        /// The nodes that can be asked for.
        usable: NodeSet,
    },
    /// What was to be copied is longer than the region.
    #[error("{bytes} bytes were to be copied to a region of {room}")]
    SourceTooLong {
        /// Bytes of the source.
        bytes: usize,
        /// Bytes of the region.
        room: usize,
    },
    /// A bound node has not enough free memory: the kernel would answer with its OOM killer.
    ///
    /// It is found out before, so nothing was placed on any node.
    #[error(
        "node {node} would be bound for {needed} bytes and has {} free, so nothing was placed; ask \
         for less there, free some, or use Binding::Preferred, which may use other nodes",
        free_words(*.free)
    )]
    NotEnoughFree {
        /// The node.
        node: NodeId,
        /// Bytes the placement puts there.
        needed: u64,
        /// Bytes that can be had there, without what the kernel keeps for itself; `None` where that cannot be read.
        free: Option<u64>,
    },
    /// A bound node has not enough free huge pages: the kernel would answer with SIGBUS.
    ///
    /// It is found out before, so nothing was placed on any node.
    #[error(
        "node {node} would be bound for {needed} huge pages of {size} and has {} free, so nothing was \
         placed; raise /sys/devices/system/node/node{node}/hugepages/hugepages-{}kB/nr_hugepages, or \
         use Binding::Preferred, which may use other nodes",
        free_words(*.free), size.bytes() >> 10
    )]
    NotEnoughHugePages {
        /// The node.
        node: NodeId,
        /// The page size.
        size: HugePageSize,
        /// Pages that the placement puts there.
        needed: u64,
        /// Pages that its pool has free; `None` where that cannot be read.
        free: Option<u64>,
    },
    /// The free memory of the machine cannot be read afresh, and a bound placement needs it.
    #[error("free memory cannot be read, which a bound placement needs to know")]
    FreeUnknown(#[source] firsttouch_topology::TopologyError),
    /// The kernel refused a bound policy.
    #[error("bytes {range:?} cannot be bound to their nodes")]
    Policy {
        /// The byte range in the region.
        range: Range<usize>,
        /// The kernel's answer.
        #[source]
        source: MemoryError,
    },
    /// The region's old pages could not be given back.
    #[error("the region's old pages cannot be given back, so they cannot be placed anew")]
    Discard(#[source] MemoryError),
    /// Pages could not be put into huge ones, because of the region or of the kernel.
    #[error("the region's pages cannot be put into huge pages")]
    Collapse(#[source] MemoryError),
    /// Pages could not be had; the rest of the job was not begun.
    #[error(
        "bytes {range:?}, meant for {}, cannot be initialised; {initialised} bytes were before, \
         and {}",
        node_words(*.node), placed_words(*.placed)
    )]
    Init {
        /// The node that the pages were meant for; `None` for any.
        node: Option<NodeId>,
        /// The byte range in the region.
        range: Range<usize>,
        /// Bytes initialised by the job before it stopped, wherever they lie; pieces begun and not ended do not count.
        initialised: usize,
        /// Bytes of the region that lie on that node, or on any where none was meant; `None` where the kernel does not tell.
        placed: Option<u64>,
        /// The kernel's answer.
        #[source]
        source: Box<MemoryError>,
    },
    /// A region's pages cannot be locked in memory, or unlocked; no page was touched.
    #[error("the region's pages cannot be pinned")]
    Lock(#[source] MemoryError),
    /// Pages of a region that has some already could not be had; those that came stay.
    #[error("bytes {range:?} cannot be populated")]
    Populate {
        /// The byte range in the region.
        range: Range<usize>,
        /// The kernel's answer.
        #[source]
        source: MemoryError,
    },
    /// A bound node has no room for all pages that were to move there; the rest of the job was not begun.
    #[error(
        "node {node} has no room: {there} bytes lie there, and {left} bytes that were to move \
         there stay where they were; {} base pages had moved on all nodes; ask for less there, \
         free some, or use Binding::Preferred, which leaves what does not fit", .pages.moved
    )]
    NodeFull {
        /// The node.
        node: NodeId,
        /// Bytes that were tried and lie there now.
        there: u64,
        /// Bytes that were tried and did not fit.
        left: u64,
        /// What became of the region's pages, whichever node they were to go to: each is counted once.
        pages: Box<Migrated>,
    },
    /// The kernel does not move pages, or none to this node; the rest of the job was not begun.
    #[error(
        "pages cannot be moved to node {node}; of {} base pages {} had moved, {} are on their node \
         already and {} were not tried",
        .pages.total(), .pages.moved, .pages.already, .pages.not_tried
    )]
    Migrate {
        /// The node.
        node: NodeId,
        /// What became of the region's pages, whichever node they were to go to: each is counted once.
        ///
        /// Those of the call that failed are [`failed`](Migrated::failed), and those that no call
        /// came to are [`not_tried`](Migrated::not_tried).
        pages: Box<Migrated>,
        /// The kernel's answer.
        #[source]
        source: Box<MemoryError>,
    },
    /// The memory of a replica cannot be had, or not be placed; no replica was made.
    #[error("node {node} gets no copy, and so no other does")]
    Replica {
        /// The node.
        node: NodeId,
        /// The kernel's answer.
        #[source]
        source: Box<MemoryError>,
    },
    /// The kernel does not say where memory lies.
    #[error("where the memory lies cannot be found out")]
    Locate(#[source] MemoryError),
}

impl JobError {
    /// Returns whether the error says that a system call is refused altogether, as containers do.
    ///
    /// A program can go on without what it asked for.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Lock(source)
            | Self::Locate(source)
            | Self::Policy { source, .. }
            | Self::Populate { source, .. } => source.is_refused(),
            Self::Migrate { source, .. } | Self::Replica { source, .. } => source.is_refused(),
            _ => false,
        }
    }
}

fn free_words(free: Option<u64>) -> String {
    free.map_or_else(|| "an unknown number".to_owned(), |bytes| bytes.to_string())
}

fn node_words(node: Option<NodeId>) -> String {
    node.map_or_else(|| "any node".to_owned(), |node| format!("node {node}"))
}

fn placed_words(placed: Option<u64>) -> String {
    placed.map_or_else(
        || "how much of the region lies there is not told".to_owned(),
        |bytes| format!("{bytes} bytes of the region lie there"),
    )
}
