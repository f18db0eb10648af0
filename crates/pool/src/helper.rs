//! A helper: one thread of the pool, and the loop it runs.

use std::cell::Cell;

use firsttouch_topology::NodeId;

use crate::board::Looking;
use crate::current::home;
use crate::front::{Part, Searching};
use crate::pin::{Kept, Pinned};
use crate::shared::NodeWork;
use crate::shutdown::{Resting, Woken};
use crate::spin::Spin;
use crate::steal::Steal;
use crate::sync::nap;
use crate::task::JobRef;
use crate::worker::Worker;

/// One helper thread as the pool started it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Helper {
    /// Its place in [`Pool::helpers`](crate::Pool::helpers).
    pub index: usize,
    /// The node it works for.
    pub node: NodeId,
    /// What keeps it there.
    pub pinned: Pinned,
}

impl Helper {
    /// Returns whether the calling thread is a helper, of whichever pool.
    ///
    /// Such a thread may hold up others when it blocks: what they wait for can
    /// lie further down its stack.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_pool::{Helper, Pool};
    ///
    /// assert!(!Helper::is_current_thread());
    /// assert!(Pool::new()?.broadcast(|_| Helper::is_current_thread()).iter().all(|&is| is));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    #[must_use]
    pub fn is_current_thread() -> bool {
        // SAFETY: [frame] it does not leave this function.
        unsafe { home() }.is_some()
    }
}

/// How long a helper leaves a call that requires nobody to its caller, in pauses of the processor.
///
/// A call that is over in this time, a fraction of a microsecond, is over sooner
/// without help: its caller would wait for the helper to say that it is done.
const PAUSES: u32 = 12;

/// Something for a helper with nothing else to do.
enum Work {
    Call(Part),
    Job(Job),
}

/// A job, and how it was found.
struct Job {
    job: JobRef,
    /// What it was queued under.
    steal: Steal,
    /// The place of the node that it was queued on.
    from: usize,
}

/// How a helper's search ended.
enum Found {
    /// Work; whether others search now.
    Work(Work, Searching),
    /// No work for as long as a helper looks before it sleeps.
    Nothing,
    /// No work, and others look for it who need the CPU; the helper is not counted among them any more.
    Crowd,
    /// No work for anybody, and the pool shuts down.
    End,
}

/// Runs the helper's loop until the pool is shut down and no work is left.
pub(crate) fn run(worker: &Worker<'_>, helper: usize, mut kept: Kept) {
    let _current = worker.make_current();
    let shared = worker.shared();
    shared.handlers.started(&shared.helpers[helper]);
    // The handler may have forked.
    if !worker.process().is_here() {
        return;
    }
    work(worker, helper, &mut kept);
    if !worker.process().is_here() {
        return;
    }
    shared.handlers.exits(&shared.helpers[helper]);
    // The handler may have queued something, and the others may have ended.
    while let Some(work) = find(worker, helper).filter(|_| worker.process().is_here()) {
        run_all(worker, helper, work, || ());
    }
    if worker.process().is_here() {
        // SAFETY: [once] this helper's loop has ended, and ends once.
        unsafe { shared.ended(helper) };
    }
}

/// Runs work until the pool has shut down, or this is a copy of the helper in a forked child.
fn work(worker: &Worker<'_>, helper: usize, kept: &mut Kept) {
    let shared = worker.shared();
    let front = &shared.nodes[worker.node].work.front;
    let has_work = || shared.has_work_for(worker, helper);
    front.begin_search();
    kept.note_cpu(&worker.cpu);
    loop {
        shared.note_cache(worker.node, helper);
        match search(worker, helper, kept) {
            Found::Work(work, searching) => {
                let from = if let Work::Job(job) = &work { job.from } else { worker.node };
                shared.found_work(worker.node, from, searching);
                run_all(worker, helper, work, || front.begin_search());
                if !worker.process().is_here() {
                    return;
                }
                continue;
            }
            Found::Nothing => shared.found_nothing(worker.node),
            Found::Crowd => {}
            Found::End => {
                shared.found_nothing(worker.node);
                if rest(worker, helper) == Woken::Over {
                    return;
                }
                continue;
            }
        }
        if shared.shutdown.has_begun() && !has_work() && shared.has_jobs() {
            // They are for helpers of other nodes, and nobody wakes this one when they are taken.
            nap();
        }
        // Not counted among those that search: a call would count on this helper meanwhile.
        kept.trace(helper);
        worker.cpu.forget();
        front.sleep(helper, || has_work() || shared.shutdown.has_begun());
        kept.look();
        kept.note_cpu(&worker.cpu);
    }
}

/// Sleeps while the pool shuts down and others still run something; it counts as searching when it is woken for work.
fn rest(worker: &Worker<'_>, helper: usize) -> Woken {
    let shared = worker.shared();
    let front = &shared.nodes[worker.node].work.front;
    // Where it was dropped in this helper, that has come to rest there.
    if shared.shutdown.is_over() || shared.rests() == Resting::All {
        return Woken::Over;
    }
    let has_work = || shared.has_work_for(worker, helper);
    front.sleep(helper, || has_work() || shared.shutdown.is_over());
    let woken = shared.shutdown.wakes();
    if woken == Woken::Over {
        shared.found_nothing(worker.node);
    }
    woken
}

/// A helper that drops its own pool, and waits for the other helpers to end.
///
/// It is one of those that must rest before they do, and runs what they may
/// not take. Nobody wakes it, as it is on no list, so it looks by itself.
pub(crate) struct Dropper<'w> {
    worker: &'w Worker<'w>,
    helper: usize,
    rests: Cell<bool>,
}

impl<'w> Dropper<'w> {
    pub(crate) fn new(worker: &'w Worker<'w>, helper: usize) -> Self {
        Self { worker, helper, rests: Cell::new(false) }
    }

    /// Waits until another helper has left its loop.
    pub(crate) fn wait_for_end_of(&self, other: usize) {
        let worker = self.worker;
        // What it runs is no part of any frame below, whose own jobs are all shown to be taken.
        worker.show_all();
        let _under = worker.enter_steal(worker.shared().widest);
        // SAFETY: [taken] nothing is promised of null.
        let _foreign = unsafe { worker.enter_foreign(std::ptr::null()) };
        while !worker.shared().has_ended(other) {
            if !self.run_left() {
                nap();
            }
            // In a forked child nobody ends.
            worker.process().assert_here();
        }
    }

    /// Runs what is left for this helper; rests where nothing is.
    fn run_left(&self) -> bool {
        let Self { worker, helper, .. } = *self;
        let shared = worker.shared();
        if self.rests.get() {
            if !shared.has_work_for(worker, helper) || shared.shutdown.wakes() == Woken::Over {
                return false;
            }
            self.rests.set(false);
        }
        if let Some(work) = find(worker, helper) {
            run_all(worker, helper, work, || ());
            // The closure that drops the pool goes on.
            worker.begins_work();
            return true;
        }
        if !shared.has_jobs() {
            self.rests();
        }
        false
    }

    /// Counts the helper as one that has nothing to do, for good unless it finds work.
    pub(crate) fn rests(&self) {
        if !self.rests.replace(true) {
            let _ = self.worker.shared().rests();
        }
    }
}

/// Looks for work until it is time to sleep.
fn search(worker: &Worker<'_>, helper: usize, kept: &mut Kept) -> Found {
    let mut spin = worker.begin_looks(|| kept.moves_from_shared_cpu(&worker.cpu));
    let found = look(worker, helper, kept, &mut spin);
    if matches!(found, Found::Work(..)) {
        worker.end_looks(&spin);
    }
    found
}

fn look(worker: &Worker<'_>, helper: usize, kept: &mut Kept, spin: &mut Spin) -> Found {
    let shared = worker.shared();
    let NodeWork { front, activity, .. } = &**shared.nodes[worker.node].work;
    loop {
        let tickets = front.tickets(worker.round.get());
        if tickets.total() > 0 {
            if tickets.required == 0 {
                (0..PAUSES).for_each(|_| std::hint::spin_loop());
                // The caller is at work, and may have this CPU.
                kept.leaves_to_another(&worker.cpu);
            }
            if let Some((part, searching)) = shared.accept_in_search(worker) {
                return Found::Work(Work::Call(part), searching);
            }
        }
        if spin.is_round() {
            // Before the look at the queues: what was queued before shutdown is
            // seen by the look, and runs.
            let last_look = shared.shutdown.has_begun();
            if let Some(work) = find(worker, helper) {
                return Found::Work(work, front.end_search());
            }
            // What another node's helper is on its way to is not done yet.
            if last_look && !shared.has_jobs() {
                return Found::End;
            }
            // What calls require now, this helper has come to already.
            shared.found_tickets_for_others(worker, helper);
            if front.leave_search_to(activity.searchers()) {
                return Found::Crowd;
            }
        }
        if !spin.pause() {
            return Found::Nothing;
        }
        if spin.offers_cpu() {
            worker.cpu.renew();
        }
    }
}

/// Runs some work, then what else there is, up to a part in a call; then begins to search.
///
/// After a part, the search is begun before the caller learns that the part is
/// done, so that its next call finds a helper that searches, and looks at the
/// post first.
fn run_all(worker: &Worker<'_>, helper: usize, mut work: Work, begin_search: impl Fn()) {
    loop {
        match work {
            Work::Call(part) => {
                let done = || {
                    worker.ends_work();
                    begin_search();
                };
                // SAFETY: [part] it was accepted.
                return unsafe { part.take(worker.shared(), helper, done) };
            }
            Work::Job(Job { job, steal, from }) => {
                worker.begins_work();
                // SAFETY: [taken] it comes from a queue.
                unsafe { worker.run(job, steal, from) }
            }
        }
        // In a forked child nobody gives up the locks that others held.
        if !worker.process().is_here() {
            return;
        }
        match find(worker, helper) {
            Some(next) => work = next,
            None => break,
        }
    }
    worker.ends_work();
    begin_search();
}

/// Looks once for work: the helper's own, its node's, then that of other nodes by distance.
fn find(worker: &Worker<'_>, helper: usize) -> Option<Work> {
    let shared = worker.shared();
    if let Some((job, steal)) = worker.pop_any() {
        shared.work[helper].tally.own();
        return Some(Work::Job(Job { job, steal, from: worker.node }));
    }
    if let Some(part) = shared.accept(worker, Looking::ForAny) {
        return Some(Work::Call(part));
    }
    let mut rotation = worker.rotation.get();
    let start = rotation.next();
    worker.rotation.set(rotation);
    let (stolen, from) = shared.steal(worker.node, helper, start)?;
    Some(Work::Job(Job { job: stolen.job, steal: stolen.steal, from }))
}
