//! Watching a job's threads: how far each node is, what each thread is at, and who is still there.
//!
//! Made only for a job that asks for something that needs it. How its caller is
//! woken, and by whom, is in `docs/protocols/jobs.md`: `[left]`, `[raise]`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use firsttouch_pool::EventCount;
use firsttouch_topology::{CpuId, NodeId};

use crate::Chunk;
use crate::job::controls::Controls;
use crate::job::counter::Counter;
use crate::job::priority::{Lowered, PriorityCounts};
use crate::job::progress::{NodeProgress, OnProgress, ProgressSnapshot, Stall};
use crate::job::run::Running;
use crate::job::sites::Sites;
use crate::sync::{Mutex, lock};

/// What is known of a job's threads while they run.
pub(crate) struct Watch {
    started: Instant,
    rows: Vec<Row>,
    stall_after: Option<Duration>,
    /// When to look for stalls next, in nanoseconds from the start. Relaxed: it only spreads the looks.
    next_look: AtomicU64,
    /// The threads that are at the job now.
    members: Mutex<Vec<Arc<Member>>>,
    /// Notified when a thread was lowered, when one has left, and when one that panicked has closed the work.
    changed: EventCount,
    pub(crate) priority: PriorityCounts,
}

/// One node's part.
struct Row {
    node: Option<NodeId>,
    size: usize,
    /// Units that have completed.
    completed: Counter,
}

/// One thread that is at the job.
pub(crate) struct Member {
    helper: Option<usize>,
    at: CachePadded<Mutex<Option<At>>>,
    /// How its priority was lowered.
    pub(crate) lowered: Mutex<Option<Lowered>>,
}

/// The chunk that a thread is at.
#[derive(Clone, Debug)]
struct At {
    piece: Option<usize>,
    start: usize,
    end: usize,
    cpu: CpuId,
    since: Instant,
    told: bool,
}

impl Watch {
    /// Makes a watch for a run, where the job asks for something that needs one.
    pub(crate) fn of(
        controls: &Controls,
        sites: &Sites<'_>,
        running: &Running<'_>,
    ) -> Option<Arc<Self>> {
        if !controls.need_watch() {
            return None;
        }
        let rows = running.work().iter().enumerate().map(|(share, work)| Row {
            node: work.node,
            size: work.size,
            completed: sites.counter(running.writers(share)),
        });
        Some(Arc::new(Self {
            started: Instant::now(),
            rows: rows.collect(),
            stall_after: controls.stall_after,
            next_look: AtomicU64::new(controls.stall_after.map_or(u64::MAX, nanoseconds)),
            members: Mutex::default(),
            changed: EventCount::new(),
            priority: PriorityCounts::default(),
        }))
    }

    pub(crate) fn snapshot(&self, is_over: bool) -> ProgressSnapshot {
        let nodes = self.rows.iter().map(|Row { node, size, completed }| NodeProgress {
            node: *node,
            size: *size,
            // Relaxed: a count publishes nothing.
            completed: completed.load(Ordering::Relaxed),
        });
        let nodes: Vec<NodeProgress> = nodes.collect();
        ProgressSnapshot {
            size: nodes.iter().map(|row| row.size).sum(),
            completed: nodes.iter().map(|row| row.completed).sum(),
            is_over,
            nodes,
        }
    }

    /// Counts the calling thread as at the job, until the guard is dropped.
    pub(crate) fn enter(&self, helper: Option<usize>) -> Entered<'_> {
        let member =
            Arc::new(Member { helper, at: CachePadded::default(), lowered: Mutex::new(None) });
        lock(&self.members).push(Arc::clone(&member));
        Entered { watch: self, member }
    }

    /// Has the caller look again, where it waits for others.
    pub(crate) fn notify(&self) {
        self.changed.notify();
    }

    /// The threads that are at the job.
    pub(crate) fn members(&self) -> Vec<Arc<Member>> {
        lock(&self.members).clone()
    }

    fn nobody_is_left(&self) -> bool {
        lock(&self.members).is_empty()
    }

    /// Looks for stalls, where it is time for it.
    pub(crate) fn look_for_stalls(&self) {
        let Some(after) = self.stall_after else { return };
        let now = nanoseconds(self.started.elapsed());
        let due = self.next_look.load(Ordering::Relaxed);
        let next = now.saturating_add(nanoseconds(look_every(after)));
        let mine = now >= due
            && self
                .next_look
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            self.stalls();
        }
    }

    /// The chunks that have stalled; tells of each once.
    pub(crate) fn stalls(&self) -> Vec<Stall> {
        let Some(after) = self.stall_after else { return Vec::new() };
        let mut stalls = Vec::new();
        for member in self.members() {
            let found = {
                let mut at = lock(&member.at);
                let stalled = at.as_mut().filter(|at| at.since.elapsed() >= after);
                stalled.map(|at| (at.clone(), std::mem::replace(&mut at.told, true)))
            };
            let Some((At { piece, start, end, cpu, since, .. }, told)) = found else { continue };
            let stall =
                Stall { helper: member.helper, piece, start, end, cpu, since: since.elapsed() };
            // Outside of the lock: a subscriber is user code.
            if !told {
                tracing::warn!(
                    helper = stall.helper,
                    cpu = cpu.os_index(),
                    piece,
                    start,
                    end,
                    seconds = stall.since.as_secs_f64(),
                    "a chunk has not ended for longer than was stated"
                );
            }
            stalls.push(stall);
        }
        stalls
    }

    /// Waits, as the job's caller, until all threads have left and no chunk is left to take.
    ///
    /// Meanwhile it calls what is to be called, looks for stalls, and raises
    /// the helpers that it waits for, one at a time. The pool's own wait, which
    /// comes after, is short then.
    pub(crate) fn wait_for_others(&self, running: &Running<'_>, ticks: &mut Ticks<'_>) {
        let mut raised: Option<Arc<Member>> = None;
        loop {
            let is_over = || running.is_used_up() && self.nobody_is_left();
            let may_raise = || {
                raised.as_ref().is_none_or(|member| lock(&member.lowered).is_none())
                    && self.members().iter().any(|member| member.is_low())
            };
            let next = ticks.next();
            self.changed.wait_until(next, || is_over() || may_raise());
            if is_over() {
                return;
            }
            if may_raise() {
                raised = self.members().into_iter().find(|member| member.is_low());
                raised.iter().for_each(|member| self.priority.raise(&member.lowered));
            }
            ticks.now(self);
        }
    }
}

/// A thread that is counted as at a job; dropping it ends that.
pub(crate) struct Entered<'w> {
    watch: &'w Watch,
    pub(crate) member: Arc<Member>,
}

impl Entered<'_> {
    /// Notes the chunk that the thread begins.
    #[inline]
    pub(crate) fn begin(&self, chunk: &Chunk) {
        if self.watch.stall_after.is_some() {
            let Chunk { piece, start, end, cpu, .. } = *chunk;
            let at = At { piece, start, end, cpu, since: Instant::now(), told: false };
            *lock(&self.member.at) = Some(at);
        }
    }

    /// Counts the chunk that it has completed.
    #[inline]
    pub(crate) fn complete(&self, share: usize, units: usize) {
        // Relaxed: a count publishes nothing.
        self.watch.rows[share].completed.fetch_add(units, Ordering::Relaxed);
        if self.watch.stall_after.is_some() {
            *lock(&self.member.at) = None;
            self.watch.look_for_stalls();
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.watch.priority.restore(&self.member.lowered);
        // [left] Leaves, and then notifies: the caller may wait for this one alone.
        lock(&self.watch.members).retain(|member| !Arc::ptr_eq(member, &self.member));
        self.watch.notify();
    }
}

impl Member {
    /// Whether it is lowered, and nobody has tried to raise it.
    fn is_low(&self) -> bool {
        lock(&self.lowered).as_ref().is_some_and(|lowered| !lowered.was_raised())
    }
}

/// What the caller does at times, while it works and while it waits.
pub(crate) struct Ticks<'a> {
    call: Option<&'a OnProgress>,
    /// When the next call is due.
    due: Option<Instant>,
    stall_after: Option<Duration>,
}

impl<'a> Ticks<'a> {
    pub(crate) fn new(controls: &'a Controls) -> Self {
        let call = controls.on_progress.as_ref();
        let mut ticks = Self { call, due: None, stall_after: controls.stall_after };
        ticks.put_off();
        ticks
    }

    /// A time past the clock's end is never due.
    fn put_off(&mut self) {
        self.due = self.call.and_then(|call| Instant::now().checked_add(call.every));
    }

    /// When there is something to do next.
    fn next(&self) -> Option<Instant> {
        let look = self.stall_after.and_then(|after| Instant::now().checked_add(look_every(after)));
        self.due.into_iter().chain(look).min()
    }

    /// Does what is due.
    pub(crate) fn now(&mut self, watch: &Watch) {
        watch.look_for_stalls();
        if let Some(call) = self.call.filter(|_| self.due.is_some_and(|due| Instant::now() >= due))
        {
            (call.call)(&watch.snapshot(false));
            // From the end of the call, so that a slow one is not called without a pause.
            self.put_off();
        }
    }
}

/// How often stalls are looked for: twice in the time that makes one.
fn look_every(stall_after: Duration) -> Duration {
    (stall_after / 2).max(Duration::from_millis(1))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
