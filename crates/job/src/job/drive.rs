//! The engine of jobs: each thread's way through its chunks, and what becomes of errors, panics and stops.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::time::Instant;

use firsttouch_pool::Pool;
use firsttouch_topology::NodeId;

use crate::job::body::{Body, Calls, Undo};
use crate::job::cancel::Stop;
use crate::job::controls::Controls;
use crate::job::failure::{ChunkError, RunError, Stopped};
use crate::job::help::Help;
use crate::job::run::{Running, Thread};
use crate::job::sites::Sites;
use crate::job::tally::{Tallies, ThreadTallies};
use crate::job::undo::{Completed, Payload, Undone, catch, discard};
use crate::location::parts::Share;
use crate::options::Options;
use crate::sync::lock;
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
struct Shared<'a, E> {
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
}

impl Drive<'_> {
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
        let running = self.options.ready(self.sites, shares)?;
        let span = self.span(&running);
        let shared = Shared {
            pool: self.pool,
            controls: self.controls,
            running: &running,
            span,
            started,
            failure: Mutex::new(None),
            completed: Completed::default(),
            stop: Stop::default(),
            may_stop: !self.controls.stop.is_never(),
            tallies: Tallies::default(),
        };
        let entered = shared.span.enter();
        let run = || {
            if !shared.is_stopped() {
                running.run(self.pool, Help::default(), |thread| shared.thread(thread, body));
            }
        };
        let panic = if U::IS_ASKED {
            catch(run).err()
        } else {
            run();
            None
        };
        drop(entered);
        shared.end(&body.undo, panic)
    }

    fn span(&self, running: &Running<'_>) -> tracing::Span {
        let chunks: usize = running.work().iter().map(|work| work.chunks()).sum();
        let (start, size) = self.range;
        tracing::debug_span!("job", start, size, chunks, threads = running.threads())
    }
}

impl<E: Send> Shared<'_, E> {
    /// One thread's part: takes chunks until there are none for it.
    fn thread<T, S, F, D, U, C>(&self, thread: &mut Thread<'_>, body: &Body<S, F, D, U, C>)
    where
        S: Fn() -> T + Sync,
        F: Fn(&mut T, &Chunk) -> Result<(), E> + Sync,
        D: Fn(T) + Sync,
        U: Undo,
        C: Calls,
    {
        let mut own = None;
        let mut tally = ThreadTallies::new(self.running.work().len());
        let mut completed = U::IS_ASKED.then(|| self.completed.own());
        'chunks: loop {
            if self.is_stopped() {
                break;
            }
            let spot = thread.look();
            let Some((share, range)) = thread.take() else { break };
            tally.look_for_move(self.pool.current_helper(), &spot);
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
            }
        }
        own.map(&body.done);
        self.tallies.add(&tally);
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
    fn end(self, undo: &impl Undo, panic: Option<Payload>) -> Result<JobReport, RunError<E>> {
        let failure = lock(&self.failure).take();
        let report = self.tallies.report(self.running, self.started);
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
