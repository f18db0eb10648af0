//! What a pool's threads write: those of a node together, and each helper alone.

use std::sync::atomic::AtomicU16;

use crossbeam_utils::CachePadded;
use firsttouch_topology::CpuSet;

use crate::absent::Absent;
use crate::activity::Activity;
use crate::board::Board;
use crate::counters::Tally;
use crate::cpus::BusyCpus;
use crate::front::{Claim, Front, Tickets};
use crate::node_counter;
use crate::node_queues::NodeQueues;
use crate::origin::Origin;
use crate::sync::{AtomicU64, AtomicUsize};

/// What a node's helpers write, on pages of that node.
pub(crate) struct NodeWork {
    pub(crate) activity: CachePadded<Activity>,
    pub(crate) front: CachePadded<Front>,
    pub(super) callers: CachePadded<Callers>,
    pub(super) board: CachePadded<Board>,
    pub(super) queues: NodeQueues,
    pub(crate) absent: CachePadded<Absent>,
    /// The last-level cache that each helper was at when it last began to search: a hint.
    pub(super) caches: Box<[AtomicU16]>,
    pub(crate) busy_cpus: BusyCpus,
    pub(crate) counters: node_counter::Counters,
}

/// What callers write, and helpers seldom look at.
#[derive(Debug, Default)]
pub(super) struct Callers {
    pub(super) claim: Claim,
    /// How many helpers the last call wants woken, beyond those that were.
    pub(super) unsummoned: AtomicUsize,
    /// The round whose call all helpers were woken for last.
    pub(super) wakened_for_post: AtomicU64,
    /// How many calls have asked the node on its board.
    pub(super) on_board: AtomicUsize,
    /// What `on_board` was when all helpers were woken for it last.
    pub(super) wakened_for_board: AtomicUsize,
    /// How many calls that go on want helpers woken which they do not require.
    pub(super) inviting: AtomicUsize,
}

/// What one helper writes and others read, on pages of its node.
#[derive(Debug)]
pub(crate) struct HelperWork {
    pub(crate) tally: Tally,
    pub(crate) origin: CachePadded<Origin>,
}

impl NodeWork {
    /// Makes it for a node of so many helpers, and CPUs for so many threads; these are what the pool may use.
    pub(crate) fn new(helpers: usize, capacity: usize, cpus: &CpuSet) -> Self {
        Self {
            activity: Activity::new(helpers, capacity).into(),
            front: CachePadded::default(),
            callers: CachePadded::default(),
            board: CachePadded::default(),
            queues: NodeQueues::default(),
            absent: CachePadded::default(),
            caches: (0..helpers).map(|_| AtomicU16::new(0)).collect(),
            busy_cpus: BusyCpus::of(cpus),
            counters: node_counter::Counters::default(),
        }
    }

    /// The tickets of all open calls that nobody has taken.
    pub(super) fn tickets(&self) -> Tickets {
        let (posted, more) = (self.front.all_tickets(), self.board.tickets());
        Tickets {
            required: posted.required.saturating_add(more.required),
            optional: posted.optional.saturating_add(more.optional),
        }
    }
}

impl HelperWork {
    /// Makes it for a helper of a pool of so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self { tally: Tally::new(nodes), origin: CachePadded::default() }
    }
}
