//! What a pool's threads share: per node its queues, its board and its idle helpers.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use firsttouch_topology::{CpuId, NodeId, Topology};

use crate::board::{Board, Invitation, Looking};
use crate::call::CallRef;
use crate::completion::Completion;
use crate::counters::{Counters, Tally};
use crate::deque::{Deque, Injector, Stealer};
use crate::helper::Helper;
use crate::panic::{Payload, catch, discard};
use crate::shutdown::Shutdown;
use crate::sleep::Sleep;
use crate::steal::{nearest, rotated, victim_order};
use crate::storage::{OwnPages, Storage};
use crate::sync::{Mutex, RwLock, Thread};
use crate::task::JobRef;
use crate::worker::wait;

/// What becomes of a panic that no caller waits for.
pub(crate) type PanicHandler = Box<dyn Fn(Payload) + Send + Sync>;

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
    pub(crate) sleep: Sleep,
    /// For every node of the machine, the place of the pool's nearest one.
    nearest: Vec<(NodeId, usize)>,
    panic_handler: Option<PanicHandler>,
    pub(crate) shutdown: Shutdown,
    /// Completed by each helper when it has left its loop; waited for by the pool's dropper.
    ended: Box<[Completion]>,
}

/// One node of the pool: its helpers, which stay the same, and their work.
pub(crate) struct PoolNode {
    pub(crate) id: NodeId,
    /// The places of its helpers in the pool.
    pub(crate) helpers: Range<usize>,
    /// The pool's nodes in the order in which this one looks for work; itself first.
    victims: Box<[usize]>,
    stealers: Box<[Stealer]>,
    pub(crate) work: Box<OwnPages<NodeWork>>,
}

/// What a node's helpers write, on pages of that node.
#[derive(Default)]
pub(crate) struct NodeWork {
    pub(crate) board: CachePadded<Board>,
    injector: CachePadded<Injector>,
    guests: CachePadded<Guests>,
}

/// What one helper writes and others read, on pages of its node.
#[derive(Debug)]
pub(crate) struct HelperWork {
    pub(crate) tally: Tally,
}

/// The deques that callers from outside borrow.
#[derive(Default)]
struct Guests {
    /// One for each deque that was ever made here.
    stealers: RwLock<Vec<Stealer>>,
    /// Those that nobody has borrowed; all are empty.
    free: Mutex<Vec<Deque>>,
}

/// A helper as it reports when it has started.
pub(crate) struct Started {
    pub(crate) helper: Helper,
    pub(crate) thread: Thread,
    pub(crate) stealer: Stealer,
    pub(crate) work: Box<OwnPages<HelperWork>>,
    /// Made by the first helper of each node.
    pub(crate) node_work: Option<Box<OwnPages<NodeWork>>>,
}

impl Shared {
    /// Puts together what the helpers share; `started` is in the order of their places.
    pub(crate) fn new(
        topology: Arc<Topology>,
        started: Vec<Started>,
        panic_handler: Option<PanicHandler>,
    ) -> Self {
        let mut ids: Vec<_> = started.iter().map(|started| started.helper.node).collect();
        ids.dedup();
        let mut nodes = Vec::with_capacity(ids.len());
        let mut helpers = Vec::with_capacity(started.len());
        let mut threads = Vec::with_capacity(started.len());
        let mut work = Vec::with_capacity(started.len());
        let mut started = started.into_iter().peekable();
        for &id in &ids {
            let first = helpers.len();
            let mut stealers = Vec::new();
            let mut node_work = None;
            while let Some(next) = started.next_if(|started| started.helper.node == id) {
                helpers.push(next.helper);
                threads.push(next.thread);
                stealers.push(next.stealer);
                work.push(next.work);
                node_work = node_work.or(next.node_work);
            }
            nodes.push(PoolNode {
                id,
                helpers: first..helpers.len(),
                victims: victim_order(&ids, &topology.nodes_by_distance(id)),
                stealers: stealers.into(),
                work: node_work.unwrap_or_else(|| OwnPages::new(NodeWork::default())),
            });
        }
        Self {
            nearest: nearest(&topology, &ids),
            sleep: Sleep::new(nodes.len()),
            topology,
            ended: helpers.iter().map(|_| Completion::new()).collect(),
            helpers: helpers.into(),
            threads: threads.into(),
            nodes: nodes.into(),
            work: work.into(),
            panic_handler,
            shutdown: Shutdown::new(),
        }
    }

    /// Returns the place of the pool's node that is nearest to a CPU.
    pub(crate) fn nearest_node(&self, cpu: CpuId) -> usize {
        let node = self.topology.node_of_cpu(cpu);
        let nearest = self.nearest.iter().find(|(id, _)| Some(*id) == node);
        nearest.map_or(0, |&(_, place)| place)
    }

    /// Returns the place of a helper's node.
    pub(crate) fn place_of_node(&self, helper: usize) -> usize {
        self.nodes.iter().position(|node| node.helpers.contains(&helper)).unwrap_or(0)
    }

    /// Returns how many helpers a node has beside this one.
    pub(crate) fn others_on_node(&self, node: usize, helper: Option<usize>) -> usize {
        let caller = self.place_in_node(node, helper).map_or(0, |_| 1);
        self.nodes[node].helpers.len() - caller
    }

    /// Returns a helper's place in a node, where it is one of that node's.
    pub(crate) fn place_in_node(&self, node: usize, helper: Option<usize>) -> Option<usize> {
        let helpers = &self.nodes[node].helpers;
        helper.filter(|helper| helpers.contains(helper)).map(|helper| helper - helpers.start)
    }

    /// Queues a job on a node, and wakes a helper for it.
    pub(crate) fn inject(&self, node: usize, job: JobRef) {
        self.nodes[node].work.injector.push(job);
        self.wake_one(node);
    }

    /// Wakes one idle helper for a job that was queued on this node: one of its own, else the nearest.
    pub(crate) fn wake_one(&self, node: usize) {
        self.sleep.wake_one(self.nodes[node].victims.iter().copied());
    }

    /// Posts an invitation on a node's board, and wakes helpers for it.
    pub(crate) fn invite(&self, node: usize, invitation: Invitation) {
        let Invitation { required, optional, .. } = invitation;
        self.nodes[node].work.board.post(invitation);
        let woken = self.sleep.wake_on_node(node, required + optional);
        if woken < required {
            // Helpers that wait for something look at the board, too. Those
            // that run do so when they have finished; for them this is only
            // one needless look the next time they park.
            self.threads[self.nodes[node].helpers.clone()].iter().for_each(Thread::unpark);
        }
    }

    /// Accepts an invitation to one of the node's helpers.
    pub(crate) fn accept(&self, node: usize, helper: usize, looking: Looking) -> Option<CallRef> {
        let node = &self.nodes[node];
        node.work.board.accept(helper - node.helpers.start, looking)
    }

    /// Takes a job from the node's injector or deques, else from those of other nodes by distance.
    ///
    /// `start` chooses which deque of a node is tried first.
    pub(crate) fn steal(&self, node: usize, helper: usize, start: usize) -> Option<JobRef> {
        let mut victims = self.nodes[node].victims.iter().enumerate();
        let (distance, job) = victims
            .find_map(|(distance, &victim)| Some((distance, self.nodes[victim].steal(start)?)))?;
        self.work[helper].tally.stolen(distance);
        Some(job)
    }

    /// Reads what a helper has run, where there is such a helper.
    pub(crate) fn counters(&self, helper: usize) -> Counters {
        let victims = &self.nodes[self.place_of_node(helper)].victims;
        self.work[helper].tally.read(victims.iter().map(|&victim| self.nodes[victim].id))
    }

    /// Visits the pool's own structures.
    pub(crate) fn storage(&self) -> impl Iterator<Item = Storage> + '_ {
        let nodes = self.nodes.iter().map(|node| Storage::of("node", node.id, &node.work));
        let helpers = self.helpers.iter().zip(&self.work);
        nodes.chain(helpers.map(|(helper, work)| Storage::of("helper", helper.node, work)))
    }

    /// Whether any queue of the pool has a job.
    pub(crate) fn has_jobs(&self) -> bool {
        self.nodes.iter().any(|node| node.has_jobs())
    }

    /// Whether an idle helper of the node would find something to do.
    pub(crate) fn has_work_for(&self, node: usize, helper: usize) -> bool {
        let own = &self.nodes[node];
        own.work.board.invites(helper - own.helpers.start) || self.has_jobs()
    }

    /// Takes an unused deque of the node's for a caller from outside.
    pub(crate) fn borrow_deque(&self, node: usize) -> Deque {
        let guests = &self.nodes[node].work.guests;
        let free = guests.free.lock().pop();
        free.unwrap_or_else(|| {
            let deque = Deque::new();
            guests.stealers.write().push(deque.stealer());
            deque
        })
    }

    /// Gives back a deque that is empty again.
    pub(crate) fn return_deque(&self, node: usize, deque: Deque) {
        self.nodes[node].work.guests.free.lock().push(deque);
    }

    /// Hands a panic that no caller waits for to the panic handler.
    pub(crate) fn handle_panic(&self, payload: Payload) {
        match &self.panic_handler {
            Some(handler) => discard(catch(|| handler(payload))),
            None => {
                let message = message(&payload);
                // A subscriber is user code: its panic must not drop the payload.
                discard(catch(|| tracing::warn!(message, "a spawned closure panicked")));
                discard(payload);
            }
        }
    }

    /// Tells the helpers to end when no work is left.
    pub(crate) fn shut_down(&self) {
        self.shutdown.begin();
        self.sleep.wake_all();
    }

    /// Waits until a helper has left its loop, after [`Shared::shut_down`].
    ///
    /// Unlike the join of its thread, which has little left to do then, this is
    /// a wait as any other: a helper of another pool comes to calls that
    /// require it meanwhile.
    pub(crate) fn wait_for_end_of(&self, helper: usize) {
        wait(&self.ended[helper], || false);
    }

    /// Tells whoever drops the pool that a helper has left its loop.
    ///
    /// # Safety
    ///
    /// - `[once]` Only the helper itself calls this, once.
    pub(crate) unsafe fn ended(&self, helper: usize) {
        // SAFETY: [alive] the caller's reference keeps all of this alive. [once] by [once].
        unsafe { Completion::complete(&raw const self.ended[helper]) };
    }
}

impl HelperWork {
    /// Makes it for a helper of a pool of so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self { tally: Tally::new(nodes) }
    }
}

impl PoolNode {
    fn steal(&self, start: usize) -> Option<JobRef> {
        let steal = |stealers: &[Stealer]| {
            rotated(stealers.len(), start).find_map(|victim| stealers[victim].steal())
        };
        let injected = self.work.injector.steal();
        let own = || steal(&self.stealers);
        injected.or_else(own).or_else(|| steal(&self.work.guests.stealers.read()))
    }

    fn has_jobs(&self) -> bool {
        let any = |stealers: &[Stealer]| stealers.iter().any(|stealer| !stealer.is_empty());
        let NodeWork { injector, guests, .. } = &**self.work;
        !injector.is_empty() || any(&self.stealers) || any(&guests.stealers.read())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("helpers", &self.helpers).finish_non_exhaustive()
    }
}

/// Returns what a panic said, where it said something.
fn message(payload: &Payload) -> &str {
    let string = || payload.downcast_ref::<String>().map(String::as_str);
    payload.downcast_ref::<&str>().copied().or_else(string).unwrap_or("no message")
}
