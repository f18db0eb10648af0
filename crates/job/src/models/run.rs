//! A job's threads: who waits for the others is woken, and sees what they did.

use std::panic::resume_unwind;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use firsttouch_pool::Pool;
use firsttouch_topology::{NodeId, affinity};
use loom::thread;

use super::{Places, TOPOLOGY, check, pool};
use crate::job::body::{NoUndo, Whole, stateless};
use crate::job::controls::Controls;
use crate::job::drive::{Alone, Drive, Shared};
use crate::job::failure::{RunError, Stopped};
use crate::job::priority::Priority;
use crate::job::run::{Running, Thread};
use crate::job::sites::{Site, Sites};
use crate::job::undo::{Payload, catch};
use crate::location::parts::Share;
use crate::options::Options;
use crate::{CancelToken, Chunk, JobError, JobReport, Schedule, Steal, StopReason};

type Ended = Result<JobReport, RunError<u32>>;

/// What helpers there are to ask for: one on each node.
static SITES: LazyLock<Sites<'static>> = LazyLock::new(|| {
    let site = |number| Site { node: NodeId::new(number), helpers: 1 };
    let sites = vec![site(0), site(1)];
    Sites::new(&TOPOLOGY, sites, None, affinity::current_cpu())
});

/// The ranges of the nodes' shares.
type Ranges = [std::ops::Range<usize>; 2];

/// What a job's threads borrow.
struct Frame {
    pool: Pool,
    controls: Controls,
    options: Options,
    running: Running<'static>,
    places: Places,
}

/// What a job has come to.
struct Over {
    ended: Ended,
    /// How often each unit was run.
    counts: Vec<u32>,
    /// Whether the helper panicked.
    panicked: bool,
    /// Kept until all has been looked at: the fences with which a pool ends show more than the job does.
    _job: GivenBack,
}

/// A job that a caller on node 0 and a helper of node 1 are at.
///
/// Invariant: both point to what comes from a box, and is leaked where the model fails.
struct Job {
    frame: *mut Frame,
    shared: *mut Shared<'static, u32>,
}

/// A job that no thread is at any more; dropping it frees what its threads shared.
struct GivenBack(Job);

impl Drop for GivenBack {
    fn drop(&mut self) {
        // SAFETY: it comes from a box, and no thread has it.
        drop(unsafe { Box::from_raw(self.0.shared) });
        // SAFETY: as above; what borrowed it is gone.
        drop(unsafe { Box::from_raw(self.0.frame) });
    }
}

impl Job {
    /// A job over two shares, with chunks of one unit.
    fn new(ranges: Ranges, steal: Steal, controls: Controls) -> Self {
        let mut options = Options::new(Schedule::Dynamic { chunk: 1 }.into());
        options.steal = steal;
        options.max_threads = std::num::NonZeroUsize::new(3);
        let size = ranges.iter().map(|range| range.len()).sum();
        let shares = ranges.into_iter().zip(0..).filter(|(range, _)| !range.is_empty());
        let shares: Vec<Share> = shares
            .map(|(range, node)| Share { node: Some(NodeId::new(node)), ranges: vec![range] })
            .collect();
        let running = options.ready(&SITES, &shares, true).expect("the numbers are right");
        assert!(!running.is_caller_alone());
        let (pool, places) = (pool(), Places::new(size));
        let frame = Box::into_raw(Box::new(Frame { pool, controls, options, running, places }));
        // SAFETY: it lives until it is given back, when nobody borrows it.
        let Frame { pool, controls, options, running, .. } = unsafe { &*frame };
        let drive = Drive { pool, sites: &SITES, options, controls, range: (0, size) };
        let shared = Box::into_raw(Box::new(drive.shared(running, Instant::now())));
        Self { frame, shared }
    }

    /// One thread's part; returns what it panicked with.
    fn thread(
        frame: &'static Frame,
        shared: &'static Shared<'static, u32>,
        is_caller: bool,
        chunk: impl Fn(&'static Frame, &'static Shared<'static, u32>, &Chunk) -> Result<(), u32> + Sync,
    ) -> Option<Payload> {
        let node = (!is_caller).then_some(NodeId::new(1));
        let own = frame.running.work().iter().position(|work| work.node == node);
        let mut thread = Thread::new(&frame.running, is_caller, node, own, 0);
        let chunk = |one: &Chunk| {
            chunk(frame, shared, one)?;
            one.range().for_each(|unit| frame.places.count(unit));
            Ok(())
        };
        catch(|| shared.thread(&mut thread, &stateless(chunk, NoUndo, Whole), Alone::Not)).err()
    }

    /// Runs both threads; `waited` is called when the caller has done its part, before the other is joined.
    fn run(
        self,
        chunk: impl Fn(&'static Frame, &'static Shared<'static, u32>, &Chunk) -> Result<(), u32>
        + Copy
        + Send
        + Sync
        + 'static,
        waited: impl FnOnce(&Places),
    ) -> Over {
        // SAFETY: it lives until it is given back, when both threads have ended.
        let frame: &'static Frame = unsafe { &*self.frame };
        // SAFETY: as above.
        let shared: &'static Shared<'static, u32> = unsafe { &*self.shared };
        let helper = thread::spawn(move || Self::thread(frame, shared, false, chunk).is_some());
        assert!(Self::thread(frame, shared, true, chunk).is_none());
        waited(&frame.places);
        let panicked = helper.join().expect("its panic is caught");
        let (ended, counts) = (shared.end(&NoUndo, None), frame.places.counts());
        Over { ended, counts, panicked, _job: GivenBack(self) }
    }
}

/// Controls for which a caller waits by itself: it looks for stalls, which no chunk of a model is.
fn watched() -> Controls {
    Controls { stall_after: Some(Duration::from_secs(3600)), ..Controls::default() }
}

#[test]
fn a_caller_that_watches_is_woken_when_the_last_thread_has_left_and_sees_what_it_did() {
    check(|| {
        let job = Job::new([0..0, 0..2], Steal::Anywhere, watched());
        // Where the wake-up is lost it sleeps on, which is a deadlock.
        let over = job.run(|_, _, _| Ok(()), |places| assert_eq!(places.counts(), [1, 1]));
        assert_eq!(over.ended.map(|report| report.completed).ok(), Some(2));
    });
}

#[test]
fn a_caller_that_watches_is_woken_when_a_thread_panics_whose_chunks_are_not_its_own() {
    check(|| {
        let job = Job::new([0..0, 0..2], Steal::Node, watched());
        let chunk = |_: &_, _: &_, _: &Chunk| resume_unwind(Box::new("on purpose"));
        let over = job.run(chunk, |_| ());
        assert!(over.panicked);
        assert_eq!(over.counts, [0, 0], "no thread takes another chunk");
    });
}

#[test]
fn a_caller_that_waits_is_woken_to_raise_a_helper_that_was_lowered() {
    check(|| {
        let controls = Controls { priority: Priority::Batch, ..Controls::default() };
        let job = Job::new([0..0, 0..1], Steal::Node, controls);
        let chunk = |_: &'static Frame, shared: &'static Shared<'static, u32>, _: &Chunk| {
            // Nothing but the caller ends this.
            while shared.watch.as_ref().is_some_and(|watch| watch.priority.report().raised == 0) {
                thread::yield_now();
            }
            Ok(())
        };
        let over = job.run(chunk, |_| ());
        let priority = over.ended.ok().and_then(|report| report.priority);
        assert_eq!(priority.map(|priority| (priority.lowered, priority.raised)), Some((1, 1)));
    });
}

#[test]
fn one_error_is_kept_and_all_that_completed_is_counted() {
    check(|| {
        let job = Job::new([0..2, 2..4], Steal::Anywhere, Controls::default());
        let chunk = |_: &_, _: &_, chunk: &Chunk| match chunk.start {
            number @ (0 | 2) => Err(number as u32),
            _ => Ok(()),
        };
        let over = job.run(chunk, |_| ());
        let Err(RunError::Chunk(failed)) = over.ended else { panic!("some chunk fails") };
        assert_eq!(failed.error as usize, failed.chunk.start);
        let completed = over.counts.iter().filter(|&&count| count == 1).count();
        assert_eq!(failed.report.completed, completed);
    });
}

#[test]
fn a_job_that_is_stopped_says_so_and_its_caller_sees_why() {
    check(|| {
        let token = CancelToken::new();
        let mut controls = Controls::default();
        controls.stop.tokens[0] = Some(token.clone());
        let job = Job::new([0..0, 0..2], Steal::Node, controls);
        let why = loom::sync::Arc::new(Places::new(1));
        let canceller = thread::spawn({
            let why = loom::sync::Arc::clone(&why);
            move || {
                why.count(0);
                token.cancel();
            }
        });
        let over = job.run(|_, _, _| Ok(()), |_| ());
        match over.ended {
            Ok(report) => assert_eq!(report.completed, 2),
            Err(RunError::Job(JobError::Stopped(stopped))) => {
                let Stopped { reason, report, .. } = *stopped;
                assert_eq!((reason, why.counts()), (StopReason::Cancelled, vec![1]));
                assert!(report.completed < 2);
            }
            Err(other) => panic!("{other}"),
        }
        canceller.join().expect("it cancels");
    });
}
