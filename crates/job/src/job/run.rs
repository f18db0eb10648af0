//! Running a job: what each thread does until no chunk is left.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use firsttouch_pool::{Helper, Member, Pinned, Pool, Team};
use firsttouch_topology::{CpuId, CpuSet, NodeId, Topology, affinity};

use crate::cursor::Cursor;
use crate::job::Job;
use crate::job::counter::Counter;
use crate::job::seats::{Adopter, Demand, Seating};
use crate::job::sites::{Sites, distance};
use crate::{Chunk, JobReport, NodeReport, Plan, Steal};

/// One share, cut, with the cursor its chunks are taken from.
#[derive(Debug)]
pub(crate) struct Work<'t> {
    node: Option<NodeId>,
    /// The CPUs to which the node is local.
    local_cpus: Option<&'t CpuSet>,
    size: usize,
    plans: Vec<Plan<usize>>,
    /// Chunks in all plans up to and with each.
    ends: Vec<usize>,
    cursor: Cursor,
}

impl<'t> Work<'t> {
    pub(crate) fn new(
        node: Option<NodeId>,
        size: usize,
        plans: Vec<Plan<usize>>,
        topology: &'t Topology,
        counter: Counter,
    ) -> Self {
        let mut chunks = 0;
        let ends: Vec<usize> = plans
            .iter()
            .map(|plan| {
                chunks += plan.chunks();
                chunks
            })
            .collect();
        let local_cpus = node.and_then(|node| topology.node(node)).map(|node| node.local_cpus());
        Self { node, local_cpus, size, plans, ends, cursor: Cursor::new(counter, chunks) }
    }

    /// Takes the next chunk's range.
    fn take(&self) -> Option<Range<usize>> {
        let index = self.cursor.take()?;
        let plan = self.ends.partition_point(|&end| end <= index);
        let before = plan.checked_sub(1).map_or(0, |earlier| self.ends[earlier]);
        self.plans[plan].chunk(index - before)
    }

    fn is_local(&self, cpu: CpuId) -> bool {
        self.node.is_none() || self.local_cpus.is_some_and(|cpus| cpus.contains(cpu))
    }
}

/// What one thread did for one share.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    chunks: usize,
    local: usize,
    threads: usize,
    /// From the job's start to the end of the last chunk.
    end: Duration,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.chunks += other.chunks;
        self.local += other.local;
        self.threads += other.threads;
        self.end = self.end.max(other.end);
    }
}

/// What all threads did, put together when each is done.
#[derive(Debug, Default)]
struct Tallies {
    shares: Vec<Tally>,
    threads: usize,
    moved_helpers: usize,
}

/// A job while it runs.
pub(crate) struct Running<'a> {
    job: &'a Job,
    sites: &'a Sites<'a>,
    demands: &'a [Demand],
    work: Vec<Work<'a>>,
    seating: &'a Seating,
    /// For each site, how many of its helpers have come: the next one's seat.
    came: Vec<Counter>,
    started: Instant,
    /// Set once a chunk fails or panics; no thread begins another then.
    ///
    /// `Relaxed`: it only saves work. What went wrong reaches the caller by
    /// the mutex below, or by the pool, and not through this flag.
    abandoned: AtomicBool,
}

/// Where a thread is, as it takes a chunk.
#[derive(Clone, Copy, Debug)]
struct Place {
    cpu: CpuId,
    node: Option<NodeId>,
}

impl<'a> Running<'a> {
    pub(crate) fn new(
        job: &'a Job,
        started: Instant,
        sites: &'a Sites<'a>,
        demands: &'a [Demand],
        work: Vec<Work<'a>>,
        seating: &'a Seating,
    ) -> Self {
        let came = |(site, seats): (usize, &Vec<usize>)| {
            Counter::on(sites.writing_node(site).filter(|_| !seats.is_empty()))
        };
        let came = seating.seats.iter().enumerate().map(came).collect();
        let abandoned = AtomicBool::new(false);
        Self { job, sites, demands, work, seating, came, started, abandoned }
    }

    /// Runs every chunk and reports.
    pub(crate) fn run<S, E: Send>(
        self,
        pool: &Pool,
        state: impl Fn() -> S + Sync,
        chunk: impl Fn(&mut S, &Chunk) -> Result<(), E> + Sync,
        finish: impl Fn(S) + Sync,
    ) -> Result<JobReport, E> {
        let (start, size) = self.job.range();
        let chunks: usize = self.work.iter().filter_map(|work| work.ends.last()).sum();
        let threads = self.seating.total();
        let span = tracing::debug_span!("job", start, size, chunks, threads);
        let _entered = span.enter();
        self.tell_adopted();
        self.tell_counters();

        let error = Mutex::new(None);
        let tallies = Mutex::new(Tallies::default());
        let work = |mut thread: Thread| {
            let abandon = AbandonOnUnwind(&self.abandoned);
            let mut own = None;
            while let Some((share, next)) = thread.next(&self) {
                tracing::trace!(
                    parent: &span,
                    node = next.node.map(NodeId::os_index),
                    cpu = next.cpu.os_index(),
                    start = next.start,
                    end = next.end,
                    "chunk"
                );
                if let Err(failure) = chunk(own.get_or_insert_with(&state), &next) {
                    self.abandoned.store(true, Ordering::Relaxed);
                    lock(&error).get_or_insert(failure);
                    break;
                }
                thread.count(share, next.local, self.started.elapsed());
            }
            own.map(&finish);
            thread.report(&tallies);
            std::mem::forget(abandon);
        };
        if self.work.is_empty() {
            // Nothing to run, and nobody to ask.
        } else if self.seating.is_caller_alone() {
            work(Thread::caller(&self, pool.current_helper()));
        } else {
            pool.run(&self.team(), |member| match member.helper() {
                Some(helper) if !member.is_caller() => match self.neighbours(helper) {
                    Some(team) => {
                        // All of them are helpers, the one that brings the others too.
                        let join = |member: &Member<'_>| {
                            work(Thread::helper(&self, member.helper().unwrap_or(helper)));
                        };
                        pool.run(&team, join);
                    }
                    None => work(Thread::helper(&self, helper)),
                },
                caller => work(Thread::caller(&self, caller)),
            });
        }
        match error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(self.report(&lock(&tallies))),
        }
    }

    /// The helpers that the caller asks for.
    ///
    /// A helper that must come invites the others of its node itself. The
    /// caller's own invitations would be withdrawn as soon as it has no chunk
    /// left to take, which can be at once, and that node's part be left to one.
    fn team(&self) -> Team {
        let mut team = Team::new();
        for (site, node) in self.sites.nodes().enumerate() {
            let seats = self.seating.seats[site].len();
            if self.seating.required[site] {
                team = team.require(node, 1);
            } else if seats > 0 {
                team = team.invite(node, seats);
            }
        }
        team
    }

    /// The helpers that a helper brings along: the others that have seats on its node, where it is one that must come.
    fn neighbours(&self, helper: &Helper) -> Option<Team> {
        let site = self.sites.index_of(helper.node)?;
        let others = self.seating.seats[site].len().checked_sub(1)?;
        let leads = self.seating.required[site] && others > 0;
        leads.then(|| Team::new().invite(helper.node, others))
    }

    /// Traces the shares that have no thread of their own.
    fn tell_adopted(&self) {
        for (work, adopted) in self.work.iter().zip(&self.seating.adopted) {
            let by = match adopted {
                None => continue,
                Some(Adopter::Caller) => self.sites.caller_node(),
                Some(Adopter::Site(site)) => self.sites.nodes().nth(*site),
            };
            tracing::debug!(
                node = work.node.map(NodeId::os_index),
                by = by.map(NodeId::os_index),
                "fewer threads than parts; another node's threads run this one"
            );
        }
    }

    /// Traces where the counters lie that were placed for those who count with them.
    fn tell_counters(&self) {
        let cursors = self.work.iter().map(|work| ("cursor", work.cursor.counter()));
        let came = self.came.iter().map(|came| ("arrivals", came));
        for (what, counter) in cursors.chain(came) {
            let Some(node) = counter.node().map(NodeId::os_index) else { continue };
            tracing::trace!(what, node, address = &raw const **counter as usize, "counter placed");
        }
    }

    /// The shares that a thread tries, in this order: its own, those it serves, then the others it may take.
    fn order(
        &self,
        is_caller: bool,
        place: Place,
        site: Option<usize>,
        own: Option<usize>,
    ) -> Vec<usize> {
        let serves = |share: usize| {
            let by_site = site.is_some_and(|site| {
                let adopted = self.seating.adopted[share] == Some(Adopter::Site(site));
                adopted || self.demands[share].serving.contains(&site)
            });
            by_site || (is_caller && self.work[share].is_local(place.cpu))
        };
        let may = |&share: &usize| {
            let anywhere = self.job.steal == Steal::Anywhere;
            anywhere || serves(share) || (is_caller && self.seating.duty[share])
        };
        let mut order: Vec<usize> = (0..self.work.len()).filter(may).collect();
        if order.len() > 1 {
            order.sort_by_key(|&share| {
                let away = match (place.node, self.work[share].node) {
                    (Some(from), Some(to)) => distance(self.sites.topology(), from, to),
                    _ => (false, 0),
                };
                (own != Some(share), !serves(share), away)
            });
        }
        order
    }

    fn report(&self, tallies: &Tallies) -> JobReport {
        let nodes: Vec<NodeReport> = self
            .work
            .iter()
            .zip(&tallies.shares)
            .map(|(work, tally)| NodeReport {
                node: work.node,
                size: work.size,
                chunks: tally.chunks,
                local_chunks: tally.local,
                threads: tally.threads,
                elapsed: tally.end,
            })
            .collect();
        JobReport {
            size: nodes.iter().map(|row| row.size).sum(),
            chunks: nodes.iter().map(|row| row.chunks).sum(),
            local_chunks: nodes.iter().map(|row| row.local_chunks).sum(),
            threads: tallies.threads,
            moved_helpers: tallies.moved_helpers,
            elapsed: self.started.elapsed(),
            nodes,
        }
    }
}

/// One thread's way through a job.
struct Thread {
    is_caller: bool,
    /// The helper that it is; `None` for a caller from outside, who may move.
    helper: Option<Helper>,
    /// Whether the helper has taken a chunk on a CPU that it is not kept to.
    moved: bool,
    /// The share it begins with.
    own: Option<usize>,
    /// Where it was when `order` was made.
    place: Option<Place>,
    order: Vec<usize>,
    /// How many of `order` are known to have no chunk left.
    done: usize,
    tallies: Vec<Tally>,
}

impl Thread {
    fn caller(running: &Running<'_>, helper: Option<&Helper>) -> Self {
        Self::new(running, true, helper, running.seating.caller)
    }

    fn helper(running: &Running<'_>, helper: &Helper) -> Self {
        let site = running.sites.index_of(helper.node);
        let own = site.and_then(|site| {
            // Relaxed: only the number must be unique.
            let seat = running.came[site].fetch_add(1, Ordering::Relaxed);
            running.seating.seats[site].get(seat).copied()
        });
        Self::new(running, false, Some(helper), own)
    }

    fn new(
        running: &Running<'_>,
        is_caller: bool,
        helper: Option<&Helper>,
        own: Option<usize>,
    ) -> Self {
        Self {
            is_caller,
            helper: helper.cloned(),
            moved: false,
            own,
            place: None,
            order: Vec::new(),
            done: 0,
            tallies: vec![Tally::default(); running.work.len()],
        }
    }

    /// Takes a chunk, and names its share; `None` once there is none for this thread.
    fn next(&mut self, running: &Running<'_>) -> Option<(usize, Chunk)> {
        if running.abandoned.load(Ordering::Relaxed) {
            return None;
        }
        let topology = running.sites.topology();
        let cpu = affinity::current_cpu();
        let cpu_node = topology.node_of_cpu(cpu);
        let place = Place { cpu, node: self.helper.as_ref().map(|h| h.node).or(cpu_node) };
        if self.place.is_none_or(|before| before.node != place.node) {
            let site = place.node.and_then(|node| running.sites.index_of(node));
            self.order = running.order(self.is_caller, place, site, self.own);
            self.done = 0;
            self.place = Some(place);
        }
        while let Some(&share) = self.order.get(self.done) {
            let work = &running.work[share];
            if let Some(Range { start, end }) = work.take() {
                self.look_for_move(place.cpu, cpu_node);
                let local = work.is_local(cpu);
                return Some((share, Chunk { start, end, node: work.node, cpu, cpu_node, local }));
            }
            self.done += 1;
        }
        None
    }

    /// Tells once where the kernel has taken a helper away from what it was kept to.
    fn look_for_move(&mut self, cpu: CpuId, cpu_node: Option<NodeId>) {
        let Some(helper) = self.helper.as_ref().filter(|_| !self.moved) else { return };
        let moved = match helper.pinned {
            Pinned::Cpu(kept_to) => cpu != kept_to,
            // A CPU that no node names counts for any.
            Pinned::Node(kept_to) => cpu_node.is_some_and(|node| node != kept_to),
            _ => false,
        };
        if moved {
            self.moved = true;
            tracing::debug!(
                helper = helper.index,
                pinned = ?helper.pinned,
                cpu = cpu.os_index(),
                cpu_node = cpu_node.map(NodeId::os_index),
                "a helper is not where it was pinned: the kernel moves it where its CPUs go offline"
            );
        }
    }

    /// Counts a chunk that is done.
    fn count(&mut self, share: usize, local: bool, end: Duration) {
        let tally = &mut self.tallies[share];
        tally.chunks += 1;
        tally.local += usize::from(local);
        tally.threads = 1;
        tally.end = end;
    }

    /// Adds what this thread did to what all did.
    fn report(self, tallies: &Mutex<Tallies>) {
        let mut all = lock(tallies);
        all.shares.resize(self.tallies.len(), Tally::default());
        all.threads += usize::from(self.tallies.iter().any(|tally| tally.chunks > 0));
        all.moved_helpers += usize::from(self.moved);
        for (sum, own) in all.shares.iter_mut().zip(&self.tallies) {
            sum.add(own);
        }
    }
}

/// Tells the other threads to stop when a chunk panics; forgotten where none does.
struct AbandonOnUnwind<'a>(&'a AtomicBool);

impl Drop for AbandonOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Locks; what these mutexes guard is whole even if a thread panicked with the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
