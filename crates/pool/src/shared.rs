//! What a pool's threads share: its nodes, each with its queues, its board and its idle helpers.

mod construction;
mod end;
mod invitations;
mod node;
mod stealing;
mod wakeups;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use firsttouch_topology::{CpuId, NodeId, Topology};

use crate::completion::Completion;
use crate::counters::Counters;
use crate::error::NoSuchNode;
use crate::handlers::Handlers;
use crate::helper::Helper;
use crate::process::Process;
use crate::shutdown::Shutdown;
use crate::steal::Steal;
use crate::storage::{OwnPages, Storage};
use crate::sync::Thread;

pub(crate) use construction::Started;
use node::PoolNode;
pub(crate) use work::{HelperWork, NodeWork};

/// What a pool's threads share.
pub(crate) struct Shared {
    pub(crate) topology: Arc<Topology>,
    /// Invariant: helpers of one node are neighbours; nodes ascend by number.
    pub(crate) helpers: Box<[Helper]>,
    /// The helpers' threads, to unpark, in the same order.
    threads: Box<[Thread]>,
    pub(crate) nodes: Box<[PoolNode]>,
    /// What each helper writes, in the same order.
    pub(crate) work: Box<[Box<OwnPages<HelperWork>>]>,
    /// How long threads look for what they wait for before they sleep.
    pub(crate) spin: Duration,
    /// What jobs are queued under where nothing narrower was asked for.
    pub(crate) widest: Steal,
    /// Whether `Near` lets as many take a job as `Anywhere`.
    all_are_near: bool,
    /// For every CPU number of the machine, the place of the pool's nearest node.
    nearest: Box<[u32]>,
    /// For every node of the machine, the place of the pool's nearest node.
    nearest_by_node: Box<[(NodeId, usize)]>,
    /// For every CPU number of the machine, its last-level cache.
    cache_by_cpu: Box<[u16]>,
    pub(crate) handlers: Handlers,
    pub(crate) process: Process,
    pub(crate) shutdown: Shutdown,
    /// Completed by each helper when it has left its loop; waited for by the pool's dropper.
    ended: Box<[Completion]>,
}

impl Shared {
    /// Returns the place of the pool's node that is nearest to a CPU.
    pub(crate) fn nearest_node(&self, cpu: CpuId) -> usize {
        let place = self.nearest.get(cpu.os_index() as usize);
        place.map_or(0, |&place| place as usize)
    }

    /// Returns the place of the pool's node that is nearest to a node of the machine: itself where it has helpers.
    pub(crate) fn nearest_to(&self, node: NodeId) -> Result<usize, NoSuchNode> {
        let known = self.nearest_by_node.iter();
        let place = known.clone().find(|&&(id, _)| id == node).map(|&(_, place)| place);
        place.ok_or_else(|| NoSuchNode { node, present: known.map(|&(id, _)| id).collect() })
    }

    /// Returns the place of a helper's node.
    pub(crate) fn place_of_node(&self, helper: usize) -> usize {
        self.nodes.iter().position(|node| node.helpers.contains(&helper)).unwrap_or(0)
    }

    /// Returns how many helpers a node has beside this one.
    ///
    /// None where the pool has shut down: they have ended, or are about to.
    pub(crate) fn others_on_node(&self, node: usize, helper: Option<usize>) -> usize {
        if self.shutdown.is_over() {
            return 0;
        }
        let caller = self.place_in_node(node, helper).map_or(0, |_| 1);
        self.nodes[node].helpers.len() - caller
    }

    /// Returns a helper's place in a node, where it is one of that node's.
    pub(crate) fn place_in_node(&self, node: usize, helper: Option<usize>) -> Option<usize> {
        let helpers = &self.nodes[node].helpers;
        helper.filter(|helper| helpers.contains(helper)).map(|helper| helper - helpers.start)
    }

    /// Reads what a helper has run, where there is such a helper.
    pub(crate) fn counters(&self, helper: usize) -> Counters {
        let victims = &self.nodes[self.place_of_node(helper)].victims;
        self.work[helper].tally.read(victims.iter().map(|victim| self.nodes[victim.place].id))
    }

    /// Visits the pool's own structures.
    pub(crate) fn storage(&self) -> impl Iterator<Item = Storage> + '_ {
        let nodes = self.nodes.iter().map(|node| Storage::of("node", node.id, &node.work));
        let helpers = self.helpers.iter().zip(&self.work);
        nodes.chain(helpers.map(|(helper, work)| Storage::of("helper", helper.node, work)))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("helpers", &self.helpers).finish_non_exhaustive()
    }
}
