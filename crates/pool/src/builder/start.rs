//! Starting the helpers: all that were asked for, fewer where that was allowed, or none.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use firsttouch_topology::Topology;

use super::plan::{Assignment, NodeSize, Plan};
use crate::deque::{self, Deque};
use crate::error::PoolError;
use crate::handlers::Handlers;
use crate::helper::{self, Helper};
use crate::pin::{Kept, Pin};
use crate::pool::Pool;
use crate::shared::{HelperWork, NodeWork, Shared, Started};
use crate::steal::Steal;
use crate::storage::OwnPages;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{self, mpsc};
use crate::worker::Worker;

/// What a pool is started with.
pub(super) struct Start {
    pub(super) topology: Arc<Topology>,
    pub(super) pin: Pin,
    pub(super) stack_size: Option<usize>,
    pub(super) spin: Duration,
    pub(super) steal: Steal,
    pub(super) accept_fewer: bool,
    pub(super) handlers: Handlers,
}

/// A helper's thread that waits to be told where it is to go.
struct Starting {
    thread: JoinHandle<()>,
    assign: mpsc::SyncSender<Assignment>,
    reported: mpsc::Receiver<Started>,
    share: mpsc::SyncSender<Arc<Shared>>,
}

impl Start {
    /// Starts the plan's helpers, by these names; without helpers, a pool of callers.
    pub(super) fn helpers(self, mut plan: Plan, names: Vec<String>) -> Result<Pool, PoolError> {
        deque::prepare();
        let wanted = plan.helpers();
        if wanted == 0 {
            let nodes = plan.nodes.iter().map(|node| (node.node, node.capacity));
            let shared =
                Shared::without_helpers(self.topology, nodes, self.spin, self.steal, self.handlers);
            return Ok(Pool::from_parts(Arc::new(shared), Vec::new(), 0));
        }
        let (starting, refused) = self.threads(names);
        if let Some(source) = refused {
            let started = starting.len();
            if started == 0 || !self.accept_fewer {
                end(starting);
                return Err(PoolError::Spawn { started, wanted, source });
            }
            let error: &(dyn std::error::Error + 'static) = &source;
            tracing::warn!(started, wanted, error, "the pool has fewer helpers than it asked for");
            plan.reduce_to(started);
        }
        let assignments = plan.assignments(&self.topology, self.pin);
        for (one, assignment) in starting.iter().zip(assignments) {
            one.assign.send(assignment).expect("a helper waits to be told where to go");
        }
        let report =
            |one: &Starting| one.reported.recv().expect("a helper reports when it is told");
        let started = starting.iter().map(report).collect();
        let shared =
            Arc::new(Shared::new(self.topology, started, self.spin, self.steal, self.handlers));
        let threads = starting.into_iter().map(|Starting { thread, share, .. }| {
            share.send(Arc::clone(&shared)).expect("a helper waits for what it shares");
            thread
        });
        let threads = threads.collect();
        Ok(Pool::from_parts(shared, threads, wanted))
    }

    /// Starts a thread for each name until the system refuses one.
    fn threads(&self, names: Vec<String>) -> (Vec<Starting>, Option<io::Error>) {
        let mut starting = Vec::with_capacity(names.len());
        for (index, name) in names.into_iter().enumerate() {
            let (assign, assigned) = mpsc::sync_channel(1);
            let (report, reported) = mpsc::sync_channel(1);
            let (share, shared) = mpsc::sync_channel(1);
            let mut thread = thread::Builder::new().name(name);
            if let Some(bytes) = self.stack_size {
                thread = thread.stack_size(bytes);
            }
            match thread.spawn(move || live(index, &assigned, &report, &shared)) {
                Ok(thread) => starting.push(Starting { thread, assign, reported, share }),
                Err(source) => return (starting, Some(source)),
            }
        }
        (starting, None)
    }
}

/// Ends threads that nobody has told where to go; returns when none is left.
fn end(starting: Vec<Starting>) {
    // All at once: each ends when nobody can tell it any more.
    let threads: Vec<_> = starting.into_iter().map(|one| one.thread).collect();
    for thread in threads {
        // It has run nothing that could panic.
        let _ = thread.join();
    }
}

/// A helper's life: it pins itself, reports, and runs work until the pool shuts down.
fn live(
    index: usize,
    assigned: &mpsc::Receiver<Assignment>,
    report: &mpsc::SyncSender<Started>,
    shared: &mpsc::Receiver<Arc<Shared>>,
) {
    // Where a later helper could not be started, nobody tells this one anything.
    let Ok(Assignment { node, place, first_of, nodes }) = assigned.recv() else { return };
    let pinned = place.pin_current();
    // Made here, so that their memory is first touched on the helper's node.
    let deque = Deque::new();
    let work = OwnPages::new(HelperWork::new(nodes));
    let node_work = first_of.map(|NodeSize { helpers, capacity, cpus }| {
        OwnPages::new(NodeWork::new(helpers, capacity, &cpus))
    });
    let started = Started {
        helper: Helper { index, node, pinned },
        thread: sync::current(),
        stealer: deque.stealer(),
        work,
        node_work,
    };
    if report.send(started).is_err() {
        return;
    }
    let Ok(shared) = shared.recv() else { return };
    let node = shared.place_of_node(index);
    let kept = Kept::to(place, pinned);
    helper::run(&Worker::helper(&shared, deque, node, index), index, kept);
}
