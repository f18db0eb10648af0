//! What a pool's threads share: per node its queues, its board and its idle helpers.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use firsttouch_topology::{CpuId, NodeId, Topology};

use crate::activity::Activity;
use crate::board::{Board, HelperSet, Invitation, Looking};
use crate::call::CallRef;
use crate::completion::Completion;
use crate::counters::{Counters, Tally};
use crate::deque::{Deque, Injector, Stealer};
use crate::helper::Helper;
use crate::node_counter;
use crate::origin::{JobId, Origin};
use crate::panic::{Payload, catch, discard};
use crate::post::{Claim, Part, Post, Tickets};
use crate::shutdown::Shutdown;
use crate::sleep::{Searching, Sleep};
use crate::steal::{nearest_by_cpu, rotated, victim_order};
use crate::storage::{OwnPages, Storage};
use crate::sync::{AtomicUsize, Mutex, Ordering, RwLock, Thread};
use crate::task::JobRef;
use crate::worker::{Worker, wait_idly};

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
    /// How long threads look for what they wait for before they sleep.
    pub(crate) spin: Duration,
    /// For every CPU number of the machine, the place of the pool's nearest node.
    nearest: Box<[u32]>,
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
pub(crate) struct NodeWork {
    pub(crate) activity: CachePadded<Activity>,
    pub(crate) front: CachePadded<Front>,
    callers: CachePadded<Callers>,
    board: CachePadded<Board>,
    injector: CachePadded<Injector>,
    guests: CachePadded<Guests>,
    pub(crate) counters: node_counter::Counters,
}

/// What a call writes and what the helpers that watch for it write, together in a cache line.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Front {
    pub(crate) post: Post,
    pub(crate) sleep: Sleep,
}

/// What callers write, and helpers seldom look at.
#[derive(Debug, Default)]
struct Callers {
    claim: Claim,
    /// How many helpers the last call wants woken, beyond those that were.
    unsummoned: AtomicUsize,
    /// How many calls have asked the node.
    summoned: AtomicUsize,
    /// What `summoned` was when all helpers were woken last.
    wakened: AtomicUsize,
}

/// What one helper writes and others read, on pages of its node.
#[derive(Debug)]
pub(crate) struct HelperWork {
    pub(crate) tally: Tally,
    pub(crate) origin: CachePadded<Origin>,
}

/// The deques that callers from outside borrow.
#[derive(Default)]
struct Guests {
    /// One for each deque that was ever made here.
    stealers: RwLock<Vec<Stealer>>,
    /// Those that nobody has borrowed; all are empty.
    free: Mutex<Vec<Deque>>,
}

/// Which helpers a job wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// One that has a CPU: the job's owner runs it, if nobody else does.
    WhereFree,
    /// One that sleeps.
    Anyhow,
}

/// Which helpers may be about to come to a call that requires some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    /// Those that search.
    WhoSearch,
    /// None: who searches has come already.
    Nobody,
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
        spin: Duration,
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
            // Every node of the pool has a first helper, which made this.
            let work = node_work.expect("a node's first helper makes what its helpers share");
            nodes.push(PoolNode {
                id,
                helpers: first..helpers.len(),
                victims: victim_order(&ids, &topology.nodes_by_distance(id)),
                stealers: stealers.into(),
                work,
            });
        }
        Self {
            nearest: nearest_by_cpu(&topology, &ids),
            topology,
            ended: helpers.iter().map(|_| Completion::new()).collect(),
            helpers: helpers.into(),
            threads: threads.into(),
            nodes: nodes.into(),
            work: work.into(),
            spin,
            panic_handler,
            shutdown: Shutdown::new(),
        }
    }

    /// Returns the place of the pool's node that is nearest to a CPU.
    pub(crate) fn nearest_node(&self, cpu: CpuId) -> usize {
        let place = self.nearest.get(cpu.os_index() as usize);
        place.map_or(0, |&place| place as usize)
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
        Sleep::look();
        self.wake_for_job(node, Wake::Anyhow);
    }

    /// Wakes a helper for a job that a worker of this node shows, where one would have a CPU.
    pub(crate) fn wake_for_shown(&self, node: usize) {
        Sleep::look();
        self.wake_for_job(node, Wake::WhereFree);
    }

    /// Wakes a helper for a job on this node unless one of the node's searches: one of its own, else the nearest.
    ///
    /// After [`Sleep::look`].
    fn wake_for_job(&self, node: usize, wake: Wake) {
        let nodes = &self.nodes[node].victims;
        for &near in nodes {
            let NodeWork { front, activity, .. } = &**self.nodes[near].work;
            if near == node && front.sleep.searching() > 0 {
                return;
            }
            if wake == Wake::WhereFree {
                if activity.is_saturated() {
                    continue;
                }
                if front.sleep.searching() > 0 {
                    // It looks here, too, as this node does not keep up.
                    return;
                }
            }
            if front.sleep.wake(1) > 0 {
                return;
            }
        }
    }

    /// Ends the search of one of the node's helpers that has found work.
    ///
    /// Whoever published something while it searched may have woken nobody for
    /// it. So the last to search sees to what is left.
    pub(crate) fn found_work(&self, node: usize) {
        if self.nodes[node].work.front.sleep.end_search() == Searching::Others {
            return;
        }
        // It may have taken its work from another node, and left more there.
        let left = |&victim: &usize| {
            let there = &self.nodes[victim];
            there.has_jobs() && (victim == node || !there.keeps_up())
        };
        if let Some(&victim) = self.nodes[node].victims.iter().find(|victim| left(victim)) {
            let injected = !self.nodes[victim].work.injector.is_empty();
            self.wake_for_job(victim, if injected { Wake::Anyhow } else { Wake::WhereFree });
        }
        self.wake_for_required(node, Coming::WhoSearch);
    }

    /// Ends the search of one of the node's helpers that is about to sleep.
    ///
    /// It looks for jobs once more before it does. A call that requires others
    /// may need them woken.
    pub(crate) fn found_nothing(&self, node: usize) {
        if self.nodes[node].work.front.sleep.end_search() == Searching::Nobody {
            self.wake_for_required(node, Coming::WhoSearch);
        }
    }

    /// Wakes all of a node's helpers where calls require more, and one that searches has come to them.
    pub(crate) fn found_tickets_for_others(&self, node: usize) {
        if self.nodes[node].work.tickets().required > 0 {
            Sleep::look();
            self.wake_for_required(node, Coming::Nobody);
        }
    }

    /// Wakes a helper where a worker of this node leaves its CPU and jobs are left.
    pub(crate) fn left_cpu(&self, node: usize) {
        if self.nodes[node].has_jobs() {
            self.wake_for_shown(node);
        }
    }

    /// Wakes all of a node's helpers where calls require more than search: once for each call.
    ///
    /// Who of those that sleep has come already is not known here. Once is
    /// enough: whoever does not sleep now sees the call before it does.
    fn wake_for_required(&self, node: usize, coming: Coming) {
        let work = &self.nodes[node].work;
        let sleep = &work.front.sleep;
        let Callers { summoned, wakened, .. } = &*work.callers;
        let required = work.tickets().required;
        let coming = match coming {
            Coming::WhoSearch => sleep.searching(),
            Coming::Nobody => 0,
        };
        if required <= coming {
            return;
        }
        // Relaxed: the caller's fence orders it; see `summon`.
        let calls = summoned.load(Ordering::Relaxed);
        if wakened.swap(calls, Ordering::Relaxed) != calls {
            sleep.wake(usize::MAX);
            self.unpark_waiting(node);
        }
    }

    /// Invites helpers of a node to a call; `first` is the order of arrival of the first. [`Shared::summon`] wakes those that sleep.
    pub(crate) fn invite(
        &self,
        worker: &Worker<'_>,
        node: usize,
        call: CallRef,
        first: usize,
        tickets: Tickets,
    ) {
        let caller = self.place_in_node(node, worker.helper);
        let work = &self.nodes[node].work;
        match work.front.post.open(&work.callers.claim, call, first, tickets) {
            // The caller is no helper of its own call.
            Some(round) if caller.is_some() => worker.round.set(round),
            Some(_) => {}
            None => {
                let Tickets { required, optional } = tickets;
                let came = caller.into_iter().collect::<HelperSet>();
                work.board.post(Invitation { call, required, optional, next: first, came });
            }
        }
    }

    /// Wakes helpers of a node for a call that was just published with so many tickets.
    ///
    /// Those that search see it by themselves.
    pub(crate) fn summon(&self, node: usize, tickets: Tickets) {
        let NodeWork { front, callers, .. } = &**self.nodes[node].work;
        let Callers { unsummoned, summoned, .. } = &**callers;
        // Relaxed: the fence that follows orders it before the look at who searches.
        summoned.fetch_add(1, Ordering::Relaxed);
        Sleep::look();
        let missing = tickets.total().saturating_sub(front.sleep.searching());
        if missing > 0 {
            // Relaxed: a hint. Where it is lost, the last to search wakes all.
            unsummoned.store(missing, Ordering::Relaxed);
            self.summon_more(node);
        }
    }

    /// As [`Shared::summon`], for a call that has been open for a while and may have fewer tickets left.
    pub(crate) fn summon_late(&self, node: usize, tickets: Tickets) {
        let left = self.nodes[node].work.tickets().total();
        let optional = tickets.total().min(left);
        if optional > 0 {
            self.summon(node, Tickets { required: 0, optional });
        }
    }

    /// Wakes some of the helpers that a call still wants; each that comes wakes more.
    ///
    /// After [`Sleep::look`].
    fn summon_more(&self, node: usize) {
        const AT_ONCE: usize = 2;
        let work = &self.nodes[node].work;
        // Relaxed: see `summon`.
        let missing = work.callers.unsummoned.load(Ordering::Relaxed);
        let wanted = missing.min(AT_ONCE);
        work.callers.unsummoned.store(missing - wanted, Ordering::Relaxed);
        if work.front.sleep.wake(wanted) < wanted && work.tickets().required > 0 {
            self.unpark_waiting(node);
        }
    }

    /// Has the node's helpers that wait for something look whether a call requires them.
    ///
    /// For those that run, it is one needless look the next time they park.
    fn unpark_waiting(&self, node: usize) {
        self.threads[self.nodes[node].helpers.clone()].iter().for_each(Thread::unpark);
    }

    /// Leaves the node's post to the next call, where this one has it. No ticket of it is left.
    pub(crate) fn close(&self, node: usize, call: &CallRef) {
        self.nodes[node].work.callers.claim.close(call);
    }

    /// Takes back the tickets of a call that nobody has taken and nobody must; returns how many.
    pub(crate) fn withdraw(&self, node: usize, call: &CallRef) -> usize {
        let NodeWork { front, board, .. } = &**self.nodes[node].work;
        match front.post.withdraw(call) {
            0 => board.withdraw(call),
            withdrawn => withdrawn,
        }
    }

    /// Accepts an invitation to one of the node's helpers.
    pub(crate) fn accept(&self, worker: &Worker<'_>, looking: Looking) -> Option<Part> {
        let helper = worker.helper?;
        let node = &self.nodes[worker.node];
        let part = match node.work.front.post.accept(worker.round.get(), looking) {
            Some((part, round)) => {
                worker.round.set(round);
                part
            }
            None => node.work.board.accept(helper - node.helpers.start, looking)?,
        };
        self.work[helper].tally.call();
        // Relaxed: a hint; see `summon`.
        if part.more && node.work.callers.unsummoned.load(Ordering::Relaxed) > 0 {
            Sleep::look();
            self.summon_more(worker.node);
        }
        Some(part)
    }

    /// Takes a job from the node's injector or deques, else from those of other nodes by distance.
    ///
    /// `start` chooses which deque of a node is tried first. A node that has
    /// helpers without work keeps its jobs for them.
    pub(crate) fn steal(&self, node: usize, helper: usize, start: usize) -> Option<JobRef> {
        let mut victims = self.nodes[node].victims.iter().enumerate();
        let (distance, job) = victims.find_map(|(distance, &victim)| {
            if victim != node && self.nodes[victim].keeps_up() {
                return None;
            }
            Some((distance, self.nodes[victim].steal(start)?))
        })?;
        self.work[helper].tally.stolen(distance);
        Some(job)
    }

    /// Takes a job that stems from one of the caller's, which this helper runs.
    ///
    /// `job` is what the caller waits for.
    pub(crate) fn take_from(
        &self,
        worker: &Worker<'_>,
        thief: usize,
        job: JobId,
    ) -> Option<JobRef> {
        let place = self.place_of_node(thief);
        let node = &self.nodes[place];
        let stealer = &node.stealers[thief - node.helpers.start];
        if stealer.is_empty() {
            return None;
        }
        let taken = self.work[thief].origin.while_at(job, || stealer.steal())?;
        if let Some(helper) = worker.helper {
            let distance = self.nodes[worker.node].victims.iter().position(|&near| near == place);
            self.work[helper].tally.stolen(distance.unwrap_or(usize::MAX));
        }
        Some(taken)
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

    /// Whether an idle helper would find something to do.
    pub(crate) fn has_work_for(&self, worker: &Worker<'_>, helper: usize) -> bool {
        let own = &self.nodes[worker.node];
        own.work.front.post.tickets(worker.round.get()).total() > 0
            || own.work.board.invites(helper - own.helpers.start)
            || own.victims.iter().any(|&victim| {
                let node = &self.nodes[victim];
                node.has_jobs() && (victim == worker.node || !node.keeps_up())
            })
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
        Sleep::look();
        self.nodes.iter().for_each(|node| {
            node.work.front.sleep.wake(node.helpers.len());
        });
    }

    /// Waits until a helper has left its loop, after [`Shared::shut_down`].
    ///
    /// Unlike the join of its thread, which has little left to do then, this is
    /// a wait as any other: a helper of another pool comes to calls that
    /// require it meanwhile.
    pub(crate) fn wait_for_end_of(&self, helper: usize) {
        wait_idly(&self.ended[helper], || false);
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

impl NodeWork {
    /// Makes it for a node of so many helpers, and CPUs for so many threads.
    pub(crate) fn new(helpers: usize, capacity: usize) -> Self {
        Self {
            activity: Activity::new(helpers, capacity).into(),
            front: CachePadded::default(),
            callers: CachePadded::default(),
            board: CachePadded::default(),
            injector: CachePadded::default(),
            guests: CachePadded::default(),
            counters: node_counter::Counters::default(),
        }
    }
}

impl NodeWork {
    /// The tickets of all open calls that nobody has taken.
    fn tickets(&self) -> Tickets {
        let (posted, more) = (self.front.post.all_tickets(), self.board.tickets());
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

impl PoolNode {
    /// Whether the node has a helper that is about to run what is queued there.
    fn keeps_up(&self) -> bool {
        self.work.front.sleep.searching() > 0 && !self.work.activity.is_saturated()
    }

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
