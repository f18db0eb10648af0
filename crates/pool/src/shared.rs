//! What a pool's threads share: per node its queues, its board and its idle helpers.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use firsttouch_topology::{CpuId, NodeId, Topology, affinity};

use crate::absent::Absent;
use crate::activity::Activity;
use crate::board::{Board, HelperSet, Invitation, Looking};
use crate::call::CallRef;
use crate::completion::Completion;
use crate::counters::{Counters, Tally};
use crate::deque::{Deque, Stealer};
use crate::error::NoSuchNode;
use crate::handlers::Handlers;
use crate::helper::Helper;
use crate::node_counter;
use crate::node_queues::{Close, Left, NodeQueues, Source, Stolen};
use crate::origin::{JobId, Origin};
use crate::post::{Claim, Part, Post, Tickets};
use crate::process::Process;
use crate::shutdown::{Resting, Shutdown};
use crate::sleep::{Searching, Sleep};
use crate::steal::{Neighbour, Steal, cache_by_cpu, nearest, nearest_by_cpu, thieves, victims};
use crate::storage::{OwnPages, Storage};
use crate::sync::{AtomicUsize, Ordering, Thread};
use crate::task::JobRef;
use crate::worker::{Worker, wait_idly};

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

/// One node of the pool: its helpers, which stay the same, and their work.
pub(crate) struct PoolNode {
    pub(crate) id: NodeId,
    /// The places of its helpers in the pool.
    pub(crate) helpers: Range<usize>,
    /// The nodes whose jobs its helpers may take, in the order in which they look; itself first.
    victims: Box<[Neighbour]>,
    /// The nodes whose helpers may take its jobs, in the order in which they are woken; itself first.
    thieves: Box<[Neighbour]>,
    /// The pool's own [`Steal`].
    widest: Steal,
    /// The deques that its helpers have from the start, by their places in the node.
    stealers: Box<[Stealer]>,
    /// Whether its CPUs have several last-level caches.
    has_caches: bool,
    pub(crate) work: Box<OwnPages<NodeWork>>,
}

/// What a node's helpers write, on pages of that node.
pub(crate) struct NodeWork {
    pub(crate) activity: CachePadded<Activity>,
    pub(crate) front: CachePadded<Front>,
    callers: CachePadded<Callers>,
    board: CachePadded<Board>,
    queues: NodeQueues,
    pub(crate) absent: CachePadded<Absent>,
    /// The last-level cache that each helper was at when it last began to search: a hint.
    caches: Box<[AtomicU16]>,
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

/// A node's part of what is shared, before its helpers have their places.
struct NodeParts {
    id: NodeId,
    stealers: Vec<Stealer>,
    work: Box<OwnPages<NodeWork>>,
}

impl Shared {
    /// Puts together what the helpers share; `started` is in the order of their places.
    pub(crate) fn new(
        topology: Arc<Topology>,
        started: Vec<Started>,
        spin: Duration,
        steal: Steal,
        handlers: Handlers,
    ) -> Self {
        let mut nodes: Vec<NodeParts> = Vec::new();
        let mut helpers = Vec::with_capacity(started.len());
        let mut threads = Vec::with_capacity(started.len());
        let mut work = Vec::with_capacity(started.len());
        for next in started {
            let id = next.helper.node;
            if nodes.last().is_none_or(|node| node.id != id) {
                // Every node of the pool has a first helper, which made this.
                let work = next.node_work.expect("a node's first helper makes what they share");
                nodes.push(NodeParts { id, stealers: Vec::new(), work });
            }
            nodes.last_mut().into_iter().for_each(|node| node.stealers.push(next.stealer.clone()));
            helpers.push(next.helper);
            threads.push(next.thread);
            work.push(next.work);
        }
        let shared = Self::of_nodes(topology, nodes, spin, steal, handlers);
        Self {
            shutdown: Shutdown::of(helpers.len()),
            ended: helpers.iter().map(|_| Completion::new()).collect(),
            helpers: helpers.into(),
            threads: threads.into(),
            work: work.into(),
            ..shared
        }
    }

    /// Makes what callers share on these nodes, each with CPUs for so many threads, where there are no helpers.
    pub(crate) fn without_helpers(
        topology: Arc<Topology>,
        nodes: impl Iterator<Item = (NodeId, usize)>,
        spin: Duration,
        steal: Steal,
        handlers: Handlers,
    ) -> Self {
        let nodes = nodes.map(|(id, capacity)| {
            let work = OwnPages::new(NodeWork::new(0, capacity));
            NodeParts { id, stealers: Vec::new(), work }
        });
        Self::of_nodes(topology, nodes.collect(), spin, steal, handlers)
    }

    /// Puts the nodes together, without their helpers.
    fn of_nodes(
        topology: Arc<Topology>,
        parts: Vec<NodeParts>,
        spin: Duration,
        steal: Steal,
        handlers: Handlers,
    ) -> Self {
        let ids: Vec<_> = parts.iter().map(|node| node.id).collect();
        let distance = |from, to| topology.distance(from, to);
        let everybody = thieves(&ids, distance, Steal::Anywhere);
        let all_are_near = everybody.iter().flatten().all(|thief| thief.least <= Steal::Near);
        let widest = effective(steal, ids.len(), all_are_near);
        let thieves = thieves(&ids, distance, widest);
        let mut victims = victims(&ids, distance, &thieves).into_iter();
        let mut thieves = thieves.into_iter();
        let cache_by_cpu = cache_by_cpu(&topology);
        let mut first = 0;
        let node = |NodeParts { id, stealers, work }: NodeParts| {
            let helpers = first..first + stealers.len();
            first = helpers.end;
            PoolNode {
                id,
                helpers,
                victims: victims.next().unwrap_or_default(),
                thieves: thieves.next().unwrap_or_default(),
                widest,
                stealers: stealers.into(),
                has_caches: has_caches(&topology, id, &cache_by_cpu),
                work,
            }
        };
        let nodes = parts.into_iter().map(node).collect();
        let nearest = nearest(&topology, &ids);
        Self {
            nodes,
            widest,
            all_are_near,
            nearest: nearest_by_cpu(&topology, &nearest),
            nearest_by_node: nearest.into(),
            cache_by_cpu,
            topology,
            helpers: Box::default(),
            threads: Box::default(),
            work: Box::default(),
            spin,
            handlers,
            process: Process::new(),
            shutdown: Shutdown::of(0),
            ended: Box::default(),
        }
    }

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

    /// What a job is queued under where that is asked for.
    pub(crate) fn effective(&self, steal: Steal) -> Steal {
        effective(steal, self.nodes.len(), self.all_are_near).min(self.widest)
    }

    /// Whether the helpers of one node may take a job of another that is queued under this.
    pub(crate) fn may_take(&self, thief: usize, victim: usize, steal: Steal) -> bool {
        let mut thieves = self.nodes[victim].thieves.iter();
        thieves.any(|neighbour| neighbour.place == thief && neighbour.least <= steal)
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

    /// Queues a job on a node, and wakes a helper for it.
    pub(crate) fn inject(&self, node: usize, job: JobRef, steal: Steal) {
        self.nodes[node].work.queues.inject(job, steal, self.widest);
        Sleep::look();
        self.wake_for_job(node, steal, Wake::Anyhow);
    }

    /// Wakes a helper for a job that a worker of this node shows, where one would have a CPU.
    pub(crate) fn wake_for_shown(&self, node: usize, steal: Steal) {
        Sleep::look();
        self.wake_for_job(node, steal, Wake::WhereFree);
    }

    /// Wakes a helper that may take a job of this node unless one of the node's searches: one of its own, else the nearest.
    ///
    /// After [`Sleep::look`].
    fn wake_for_job(&self, node: usize, steal: Steal, wake: Wake) {
        let thieves = self.nodes[node].thieves.iter().filter(|thief| thief.least <= steal);
        for &Neighbour { place: near, .. } in thieves {
            let NodeWork { front, activity, absent, .. } = &**self.nodes[near].work;
            if near == node && front.sleep.searching() > 0 {
                return;
            }
            if wake == Wake::WhereFree && activity.is_saturated() {
                continue;
            }
            if near != node {
                if front.sleep.searching() + front.sleep.asleep() == 0 {
                    continue;
                }
                absent.rely();
            }
            if wake == Wake::WhereFree && front.sleep.searching() > 0 {
                // It looks here, too, as this node does not keep up.
                return;
            }
            if front.sleep.wake(1) > 0 {
                return;
            }
        }
    }

    /// Ends the search of one of the node's helpers that has found work, a job of node `from` perhaps.
    ///
    /// Whoever published something while it searched may have woken nobody for
    /// it. So the last to search sees to what is left: on its own node, where
    /// it took its work, for it may have left more there, and on all others
    /// where somebody has relied on its node's helpers for a job of another.
    pub(crate) fn found_work(&self, node: usize, from: usize) {
        let own = &self.nodes[node];
        let NodeWork { front, absent, .. } = &**own.work;
        if front.sleep.end_search() == Searching::Others {
            return;
        }
        absent.poke();
        let everywhere = absent.were_relying();
        for &Neighbour { place, least } in &own.victims {
            let looks = everywhere || place == node || place == from;
            if !looks || (place != node && self.nodes[place].keeps_up()) {
                continue;
            }
            if let Some(Left { steal, injected }) = self.nodes[place].left(least) {
                let wake = if injected { Wake::Anyhow } else { Wake::WhereFree };
                self.wake_for_job(place, steal, wake);
            }
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
        if let Some(Left { steal, .. }) = self.nodes[node].left(Steal::Node) {
            self.wake_for_shown(node, steal);
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
        // [summon] Acquire: whoever is woken for these calls sees their tickets.
        let calls = summoned.load(Ordering::Acquire);
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
        // [summon] Release: publishes the call's tickets to whoever wakes helpers for it.
        // The fence that follows orders it before the look at who searches.
        summoned.fetch_add(1, Ordering::Release);
        Sleep::look();
        let missing = tickets.total().saturating_sub(front.sleep.searching());
        if missing > 0 {
            // Relaxed: a hint. Where it is lost, the last to search wakes all.
            unsummoned.store(missing, Ordering::Relaxed);
            self.summon_more(node);
        }
    }

    /// How many of a node's helpers look for work; a hint.
    pub(crate) fn searching(&self, node: usize) -> usize {
        self.nodes[node].work.front.sleep.searching()
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

    /// Whether two helpers of a node share a last-level cache, as far as is known.
    fn share_cache(&self, node: usize, one: usize, other: usize) -> bool {
        let node = &self.nodes[node];
        let cache = |helper: usize| node.cache_of(helper - node.helpers.start).load(Relaxed);
        !node.has_caches || cache(one) == cache(other)
    }

    /// Notes which last-level cache a helper is at, where its node has several.
    pub(crate) fn note_cache(&self, node: usize, helper: usize) {
        let node = &self.nodes[node];
        if node.has_caches {
            let cpu = affinity::current_cpu().os_index() as usize;
            let (noted, cache) =
                (node.cache_of(helper - node.helpers.start), self.cache_by_cpu.get(cpu));
            // Relaxed, here and where it is read: a hint. Written only where it
            // changes, so that thieves keep the line.
            if let Some(&cache) = cache.filter(|&&cache| noted.load(Relaxed) != cache) {
                noted.store(cache, Relaxed);
            }
        }
    }

    /// Takes a job that the helper may take from its own node, else from others by distance; returns the place of the job's node, too.
    ///
    /// The job is to be run under what comes with it.
    ///
    /// `start` chooses which deque of a node is tried first. A node that has
    /// helpers without work keeps its jobs for them.
    pub(crate) fn steal(
        &self,
        node: usize,
        helper: usize,
        start: usize,
    ) -> Option<(Stolen, usize)> {
        let mut victims = self.nodes[node].victims.iter().enumerate();
        let (distance, stolen, victim) = victims.find_map(|(distance, &victim)| {
            let Neighbour { place, least } = victim;
            let there = &self.nodes[place];
            let stolen = match place == node {
                true => there.steal_own(helper - there.helpers.start, start),
                false if there.keeps_up() => None,
                false => there.steal(least, start, Close::<fn(usize) -> bool>::Nobody),
            };
            Some((distance, stolen?, place))
        })?;
        self.work[helper].tally.stolen(distance, stolen.source == Source::SameCache);
        let steal = if victim == node { stolen.steal } else { stolen.steal.off_its_node() };
        Some((Stolen { steal, ..stolen }, victim))
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
        let far = place != worker.node;
        if far && (node.keeps_up() || !self.may_take(worker.node, place, self.widest)) {
            return None;
        }
        let stealer = &node.stealers[thief - node.helpers.start];
        if stealer.is_empty() {
            return None;
        }
        let taken = self.work[thief].origin.while_at(job, || stealer.steal())?;
        if let Some(helper) = worker.helper {
            let mut victims = self.nodes[worker.node].victims.iter();
            let distance = victims.position(|victim| victim.place == place);
            let in_cache = place == worker.node && self.share_cache(place, helper, thief);
            self.work[helper].tally.stolen(distance.unwrap_or(usize::MAX), in_cache);
        }
        Some(taken)
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

    /// Whether any job is queued anywhere.
    pub(crate) fn has_jobs(&self) -> bool {
        self.nodes.iter().any(|node| node.left(Steal::Node).is_some())
    }

    /// Whether an idle helper would find something to do.
    pub(crate) fn has_work_for(&self, worker: &Worker<'_>, helper: usize) -> bool {
        let own = &self.nodes[worker.node];
        own.work.front.post.tickets(worker.round.get()).total() > 0
            || own.work.board.invites(helper - own.helpers.start)
            || own.victims.iter().any(|&Neighbour { place, least }| {
                let node = &self.nodes[place];
                (place == worker.node || !node.keeps_up()) && node.left(least).is_some()
            })
    }

    /// Tells the helpers to end when no work is left.
    pub(crate) fn shut_down(&self) {
        self.shutdown.begin();
        self.wake_all();
    }

    /// Counts a helper as one that has nothing to do while the pool shuts down; the last wakes all others, to end.
    pub(crate) fn rests(&self) -> Resting {
        let resting = self.shutdown.rests();
        if resting == Resting::All {
            self.wake_all();
        }
        resting
    }

    fn wake_all(&self) {
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

    /// Whether a helper has left its loop.
    pub(crate) fn has_ended(&self, helper: usize) -> bool {
        self.ended[helper].is_complete()
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
            queues: NodeQueues::default(),
            absent: CachePadded::default(),
            caches: (0..helpers).map(|_| AtomicU16::new(0)).collect(),
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

    /// Whether the node has a helper that runs what is queued there, or will be woken to.
    ///
    /// Where its helpers are at work, or wait, that is false.
    pub(crate) fn has_free_helper(&self) -> bool {
        let sleep = &self.work.front.sleep;
        sleep.searching() > 0 || sleep.asleep() > 0
    }

    /// Takes a job for one of the node's own helpers, by its place in the node.
    fn steal_own(&self, helper: usize, start: usize) -> Option<Stolen> {
        if !self.has_caches {
            return self.steal(Steal::Node, start, Close::<fn(usize) -> bool>::All);
        }
        let cache = self.cache_of(helper).load(Relaxed);
        let shares = |other: usize| self.cache_of(other).load(Relaxed) == cache;
        self.steal(Steal::Node, start, Close::Those(shares))
    }

    fn steal<F: Fn(usize) -> bool + Copy>(
        &self,
        least: Steal,
        start: usize,
        close: Close<F>,
    ) -> Option<Stolen> {
        self.work.queues.steal(&self.stealers, least, self.widest, start, close)
    }

    /// What is left here for helpers that need `least`.
    fn left(&self, least: Steal) -> Option<Left> {
        self.work.queues.left(&self.stealers, least, self.widest)
    }

    /// Lends a deque, as [`NodeQueues::borrow_deque`] does.
    pub(crate) fn borrow_deque(&self, steal: Steal, helper: Option<usize>) -> Deque {
        self.work.queues.borrow_deque(steal, self.widest, helper)
    }

    /// Takes back a deque that is empty again.
    pub(crate) fn return_deque(&self, steal: Steal, deque: Deque) {
        self.work.queues.return_deque(steal, deque);
    }

    /// The cache of a helper, by its place in the node.
    fn cache_of(&self, helper: usize) -> &AtomicU16 {
        &self.work.caches[helper]
    }
}

/// What comes of a [`Steal`] in a pool of so many nodes: the widest that lets the same helpers.
///
/// So that there are no more queues to look into than there are kinds of job.
fn effective(steal: Steal, nodes: usize, all_are_near: bool) -> Steal {
    match steal {
        _ if nodes == 1 => Steal::Anywhere,
        Steal::Near if all_are_near => Steal::Anywhere,
        _ => steal,
    }
}

/// Whether a node's CPUs have several last-level caches.
fn has_caches(topology: &Topology, node: NodeId, cache_by_cpu: &[u16]) -> bool {
    let cpus = topology.node(node).into_iter().flat_map(|node| node.cpus());
    let mut caches = cpus.filter_map(|cpu| cache_by_cpu.get(cpu.os_index() as usize));
    let first = caches.next();
    caches.any(|cache| Some(cache) != first)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("helpers", &self.helpers).finish_non_exhaustive()
    }
}
