//! The engine of jobs: each thread's way through its chunks, and what becomes of errors, panics and stops.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firsttouch_pool::{Helper, Pool};
use firsttouch_topology::{CpuSet, NodeId, TopologyError, affinity};

use crate::job::body::{Body, Calls, Undo};
use crate::job::cancel::Stop;
use crate::job::controls::Controls;
use crate::job::failure::{ChunkError, RunError, Stopped};
use crate::job::handle::inside::InsideStarted;
use crate::job::help::Help;
use crate::job::limits::{Helpers, Inside, Place, Present, may_hold_up_others};
use crate::job::priority::Priority;
use crate::job::progress::Telling;
use crate::job::run::{OnUnwind, Running, Thread};
use crate::job::sites::Sites;
use crate::job::tally::{Tallies, ThreadTallies};
use crate::job::undo::{Completed, Payload, Undone, catch, discard};
use crate::job::watch::{Entered, Ticks, Watch};
use crate::job::within::Narrowed;
use crate::location::parts::Share;
use crate::options::Options;
use crate::sync::{Mutex, lock};
use crate::{Chunk, JobError, JobReport};

/// A job that is ready to run.
pub(crate) struct Drive<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) sites: &'a Sites<'a>,
    pub(crate) options: &'a Options,
    pub(crate) controls: &'a Controls,
    /// The job's start and size, for its span.
    pub(crate) range: (usize, usize),
}

/// What the threads of one run share.
pub(crate) struct Shared<'a, E> {
    pool: &'a Pool,
    controls: &'a Controls,
    running: &'a Running<'a>,
    span: tracing::Span,
    started: Instant,
    /// The first error, and the chunk that it is of.
    failure: Mutex<Option<(E, Chunk)>>,
    completed: Completed,
    stop: Stop,
    /// Whether there is anything that may stop it.
    may_stop: bool,
    tallies: Tallies,
    pub(crate) watch: Option<Arc<Watch>>,
    /// The job's place under limits, until no thread is in it any more.
    place: Option<Place>,
    /// The CPUs that helpers are to keep to.
    mask: Option<CpuSet>,
}

/// Whether the caller is alone at the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alone {
    Not,
    /// Until the job's turn under limits has come.
    UntilTurn,
}

/// How soon a job that waits for its turn sees that it is to stop.
const LOOK_FOR_STOP: Duration = Duration::from_millis(5);

impl<'a> Drive<'a> {
    /// Runs the shares to their end, or to the first error, panic or stop; then undoes what is to be undone.
    pub(crate) fn run<T, S, F, D, U, C, E>(
        &self,
        shares: &[Share],
        body: &Body<S, F, D, U, C>,
    ) -> Result<JobReport, RunError<E>>
    where
        S: Fn() -> T + Sync,
        F: Fn(&mut T, &Chunk) -> Result<(), E> + Sync,
        D: Fn(T) + Sync,
        U: Undo,
        C: Calls,
        E: Send,
    {
        let started = Instant::now();
        let running = self.options.ready(self.sites, shares, self.controls.need_chunks())?;
        let mut shared = self.shared(&running, started);
        let _telling = self.telling(shared.watch.as_ref());
        let entered = shared.span.enter();
        let run = || {
            if !shared.is_stopped() && shared.has_turn(body) {
                running.run(self.pool, Help::AT_ONCE, |thread| {
                    shared.thread(thread, body, Alone::Not);
                });
            }
        };
        let panic = if U::IS_ASKED {
            catch(run).err()
        } else {
            run();
            None
        };
        drop(entered);
        // Nobody helps any more, and what is undone may run jobs under the same limits.
        drop(shared.place.take());
        shared.end(&body.undo, panic)
    }

    /// What the threads of a run share before the first of them begins.
    pub(crate) fn shared<'r, E>(&self, running: &'r Running<'r>, started: Instant) -> Shared<'r, E>
    where
        'a: 'r,
    {
        Shared {
            pool: self.pool,
            controls: self.controls,
            running,
            span: self.span(running),
            started,
            failure: Mutex::new(None),
            completed: Completed::default(),
            stop: Stop::default(),
            may_stop: !self.controls.stop.is_never(),
            tallies: Tallies::default(),
            watch: Watch::of(self.controls, self.sites, running),
            place: self.place(running),
            mask: self.mask(),
        }
    }

    /// The job's place under limits, where it has helpers to ask for.
    fn place(&self, running: &Running<'_>) -> Option<Place> {
        let limits = self.controls.limits.as_ref().filter(|_| !running.is_caller_alone())?;
        Some(limits.enter(Helpers::of(self.pool), running.required(), running.helpers()))
    }

    /// The CPUs that helpers are to keep to; `None` for those that they have.
    fn mask(&self) -> Option<CpuSet> {
        let mask = self.controls.within_caller_affinity.then(affinity::current)?;
        mask.inspect_err(|error| {
            let error: &(dyn std::error::Error + 'static) = error;
            tracing::warn!(error, "helpers keep to the pool's CPUs: the caller's are not told");
        })
        .ok()
    }

    /// Has the job's progress told, where that was asked for, until it is dropped.
    fn telling(&self, watch: Option<&Arc<Watch>>) -> Option<Telling> {
        Some(self.controls.progress.as_ref()?.begin(watch?))
    }

    fn span(&self, running: &Running<'_>) -> tracing::Span {
        let chunks: usize = running.work().iter().map(|work| work.chunks()).sum();
        let (start, size) = self.range;
        tracing::debug_span!("job", start, size, chunks, threads = running.threads())
    }
}

impl<E: Send> Shared<'_, E> {
    /// One thread's part: takes chunks until there are none for it.
    pub(crate) fn thread<T, S, F, D, U, C>(
        &self,
        thread: &mut Thread<'_>,
        body: &Body<S, F, D, U, C>,
        alone: Alone,
    ) where
        S: Fn() -> T + Sync,
        F: Fn(&mut T, &Chunk) -> Result<(), E> + Sync,
        D: Fn(T) + Sync,
        U: Undo,
        C: Calls,
    {
        let helper = self.pool.current_helper();
        let is_caller = thread.is_caller();
        let as_helper = helper.filter(|_| !is_caller);
        // [left] Declared first, so dropped last: the caller, which may have looked when this thread left, looks again.
        let close = OnUnwind(|| {
            self.running.close();
            self.watch.iter().for_each(|watch| watch.notify());
        });
        // Declared before what is done to the thread, so that it is undone when others count on the helper's place.
        let present = match &self.place {
            Some(place) if !is_caller && !thread.must_stay() => match place.come() {
                Some(present) => Some(present),
                None => return close.forget(),
            },
            _ => None,
        };
        let Ok(_narrowed) = self.narrow(as_helper) else { return close.forget() };
        let _inside = self.place.as_ref().map(|_| Inside::enter());
        let _started = self.controls.stop.handle().map(InsideStarted::enter);
        let entered = self.watch.as_ref().map(|watch| self.enter(watch, helper, is_caller));
        let mut ticks = entered.as_ref().filter(|_| is_caller).map(|_| Ticks::new(self.controls));
        let mut own = None;
        let mut tally = ThreadTallies::new(self.running.work().len());
        let mut completed = U::IS_ASKED.then(|| self.completed.own());
        'chunks: loop {
            if self.is_stopped() || self.leaves_early(present.as_ref(), alone) {
                break;
            }
            let spot = thread.look();
            let Some((share, range)) = thread.take() else { break };
            if self.mask.is_none() {
                tally.look_for_move(helper, &spot);
            }
            let work = &self.running.work()[share];
            for (number, call) in body.calls.calls(range).enumerate() {
                if number > 0 && self.is_stopped() {
                    break 'chunks;
                }
                let next = Chunk {
                    piece: call.piece,
                    start: call.range.start,
                    end: call.range.end,
                    node: work.node,
                    cpu: spot.cpu,
                    cpu_node: spot.cpu_node,
                    local: work.is_local(spot.cpu),
                };
                tracing::trace!(
                    parent: &self.span,
                    node = next.node.map(NodeId::os_index),
                    cpu = next.cpu.os_index(),
                    piece = next.piece,
                    start = next.start,
                    end = next.end,
                    "chunk"
                );
                if let Some(entered) = &entered {
                    entered.begin(&next);
                }
                if let Err(error) = (body.chunk)(own.get_or_insert_with(&body.state), &next) {
                    self.running.close();
                    let later = match &mut *lock(&self.failure) {
                        first @ None => first.replace((error, next)),
                        Some(_) => Some((error, next)),
                    };
                    // Outside of the lock: its destructor is the user's.
                    drop(later);
                    break 'chunks;
                }
                tally.count(share, call.units, next.local, self.started.elapsed());
                if let Some(completed) = &mut completed {
                    completed.push(next);
                }
                if let (Some(entered), Some(watch)) = (&entered, &self.watch) {
                    entered.complete(share, call.units);
                    ticks.iter_mut().for_each(|ticks| ticks.now(watch));
                }
            }
        }
        own.map(&body.done);
        self.tallies.add(tally);
        drop(completed);
        drop(entered);
        close.forget();
        if alone == Alone::Not && self.controls.need_waiting() && !self.running.is_caller_alone() {
            if let (Some(ticks), Some(watch)) = (&mut ticks, &self.watch) {
                watch.wait_for_others(self.running, ticks);
            }
        }
    }

    /// Has the caller work alone until the job's turn has come; returns whether helpers are to be asked for.
    ///
    /// Where chunks are left that the caller may not run, and a wait holds up
    /// nobody, it waits.
    fn has_turn<T, S, F, D, U, C>(&self, body: &Body<S, F, D, U, C>) -> bool
    where
        S: Fn() -> T + Sync,
        F: Fn(&mut T, &Chunk) -> Result<(), E> + Sync,
        D: Fn(T) + Sync,
        U: Undo,
        C: Calls,
    {
        let Some(place) = &self.place else { return true };
        if place.granted().is_none() {
            tracing::debug!(parent: &self.span, "limits: the caller works alone until its turn comes");
            self.running.run_alone(self.pool, |thread| {
                self.thread(thread, body, Alone::UntilTurn);
            });
        }
        if self.running.is_used_up() {
            return false;
        }
        while place.granted().is_none() {
            if may_hold_up_others() {
                place.force(self.running.required().max(1));
                break;
            }
            // A token is not told to whoever waits here, so it is looked at from time to time.
            let look = self.may_stop.then(|| Instant::now() + LOOK_FOR_STOP);
            place.wait(look);
            if self.is_stopped() {
                return false;
            }
        }
        self.running.limit_helpers(place.granted().map_or(1, NonZeroUsize::get));
        true
    }

    /// Whether a thread leaves chunks to others: the caller that works alone when its turn has come, a helper for a job that waits.
    #[inline]
    fn leaves_early(&self, present: Option<&Present<'_>>, alone: Alone) -> bool {
        let has_turn = || self.place.as_ref().is_some_and(|place| place.granted().is_some());
        present.is_some_and(Present::gives_up) || (alone == Alone::UntilTurn && has_turn())
    }

    /// Keeps a helper to the CPUs that it is to keep to; an error where it cannot be, and need not run.
    fn narrow(&self, helper: Option<&Helper>) -> Result<Option<Narrowed>, TopologyError> {
        let (Some(mask), Some(helper)) = (&self.mask, helper) else { return Ok(None) };
        match Narrowed::to(mask, helper, self.pool.topology()) {
            Ok(narrowed) => Ok(narrowed),
            Err(error) => {
                let must = self.running.requires(helper.node);
                let cause: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(
                    helper = helper.index,
                    error = cause,
                    leaves = !must,
                    "a helper cannot be kept to the caller's CPUs"
                );
                if must { Ok(None) } else { Err(error) }
            }
        }
    }

    /// Counts the calling thread as at the job, and lowers it where it is a helper.
    fn enter<'w>(&self, watch: &'w Watch, helper: Option<&Helper>, is_caller: bool) -> Entered<'w> {
        let entered = watch.enter(helper.map(|helper| helper.index));
        if !is_caller && self.controls.priority != Priority::Normal {
            watch.priority.lower(self.controls.priority, &entered.member.lowered);
            // [raise] The caller may have nothing to do any more but to wait for this one, and raise it.
            watch.notify();
        }
        entered
    }

    /// Looks whether the job is to stop, and sees to it that it does.
    #[inline]
    fn is_stopped(&self) -> bool {
        self.may_stop && self.look_for_stop()
    }

    fn look_for_stop(&self) -> bool {
        let reason = self.controls.stop.look();
        if let Some(reason) = reason {
            self.stop.set(reason);
            self.running.close();
        }
        reason.is_some()
    }

    /// What the run has come to, when no other thread is in it any more.
    pub(crate) fn end(
        &self,
        undo: &impl Undo,
        panic: Option<Payload>,
    ) -> Result<JobReport, RunError<E>> {
        let failure = lock(&self.failure).take();
        let mut report = self.tallies.report(self.running, self.started);
        report.priority = match &self.watch {
            _ if self.controls.priority == Priority::Normal => None,
            watch => watch.as_ref().map(|watch| watch.priority.report()),
        };
        let is_whole = report.completed == report.size;
        let reason = self.stop.reason().filter(|_| !is_whole);
        let fails = panic.is_some() || failure.is_some();
        let undone = if fails || (reason.is_some() && self.controls.undo_when_stopped) {
            self.completed.undo(|chunk| undo.undo(chunk))
        } else {
            Undone { chunks: 0, panic: None }
        };
        match (panic, undone.panic) {
            (None, None) => {}
            // The function's own panic comes before that of its undo.
            (Some(payload), other) => {
                discard((other, failure));
                resume_unwind(payload);
            }
            (None, Some(payload)) => {
                discard(failure);
                resume_unwind(payload);
            }
        }
        let undone_chunks = undone.chunks;
        if let Some((error, chunk)) = failure {
            return Err(RunError::Chunk(Box::new(ChunkError {
                error,
                chunk,
                report,
                undone_chunks,
            })));
        }
        match reason {
            None => Ok(report),
            Some(reason) => {
                let stopped = Box::new(Stopped { reason, report, undone_chunks });
                Err(RunError::Job(JobError::Stopped(stopped)))
            }
        }
    }
}
