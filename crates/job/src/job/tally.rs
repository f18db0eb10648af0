//! What a job's threads did, counted for its report.

use std::time::{Duration, Instant};

use firsttouch_pool::{Helper, Pinned};
use firsttouch_topology::NodeId;

use crate::job::run::{Running, Spot};
use crate::sync::{Mutex, lock};
use crate::{JobReport, NodeReport};

/// What one thread did for one share.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    units: usize,
    chunks: usize,
    local: usize,
    threads: usize,
    /// From the job's start to the end of the last chunk.
    end: Duration,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.units += other.units;
        self.chunks += other.chunks;
        self.local += other.local;
        self.threads += other.threads;
        self.end = self.end.max(other.end);
    }
}

/// What one thread did.
#[derive(Debug)]
pub(crate) struct ThreadTallies {
    shares: Vec<Tally>,
    /// Whether it is a helper that took a chunk on a CPU that it is not kept to.
    moved: bool,
}

impl ThreadTallies {
    pub(crate) fn new(shares: usize) -> Self {
        Self { shares: vec![Tally::default(); shares], moved: false }
    }

    /// Counts a chunk that is done.
    pub(crate) fn count(&mut self, share: usize, units: usize, local: bool, end: Duration) {
        let tally = &mut self.shares[share];
        tally.units += units;
        tally.chunks += 1;
        tally.local += usize::from(local);
        tally.threads = 1;
        tally.end = end;
    }

    /// Tells once where the kernel has taken a helper away from what it was kept to.
    pub(crate) fn look_for_move(&mut self, helper: Option<&Helper>, spot: &Spot) {
        let Some(helper) = helper.filter(|_| !self.moved) else { return };
        let moved = match helper.pinned {
            Pinned::Cpu(kept_to) => spot.cpu != kept_to,
            // A CPU that no node names counts for any.
            Pinned::Node(kept_to) => spot.cpu_node.is_some_and(|node| node != kept_to),
            _ => false,
        };
        if moved {
            self.moved = true;
            tracing::debug!(
                helper = helper.index,
                pinned = ?helper.pinned,
                cpu = spot.cpu.os_index(),
                cpu_node = spot.cpu_node.map(NodeId::os_index),
                "a helper is not where it was pinned: the kernel moves it where its CPUs go offline"
            );
        }
    }
}

/// What all threads did, put together when each is done.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    shares: Vec<Tally>,
    threads: usize,
    moved_helpers: usize,
}

impl Tallies {
    /// Adds what one thread did.
    pub(crate) fn add(&self, mut thread: ThreadTallies) {
        let mut all = lock(&self.0);
        all.moved_helpers += usize::from(thread.moved);
        all.threads += usize::from(thread.shares.iter().any(|tally| tally.chunks > 0));
        if all.shares.is_empty() {
            // The first one's are kept as they are.
            std::mem::swap(&mut all.shares, &mut thread.shares);
        }
        for (sum, own) in all.shares.iter_mut().zip(&thread.shares) {
            sum.add(own);
        }
    }

    /// The report of a job that began at `started` and is done.
    pub(crate) fn report(&self, running: &Running<'_>, started: Instant) -> JobReport {
        let mut all = lock(&self.0);
        // A job that was stopped before any thread began has no tally.
        all.shares.resize(running.work().len(), Tally::default());
        let rows = running.work().iter().zip(&all.shares).map(|(work, tally)| NodeReport {
            node: work.node,
            size: work.size,
            completed: tally.units,
            chunks: tally.chunks,
            local_chunks: tally.local,
            threads: tally.threads,
            elapsed: tally.end,
        });
        let nodes: Vec<NodeReport> = rows.collect();
        JobReport {
            size: nodes.iter().map(|row| row.size).sum(),
            completed: nodes.iter().map(|row| row.completed).sum(),
            chunks: nodes.iter().map(|row| row.chunks).sum(),
            local_chunks: nodes.iter().map(|row| row.local_chunks).sum(),
            threads: all.threads,
            moved_helpers: all.moved_helpers,
            priority: None,
            elapsed: started.elapsed(),
            nodes,
        }
    }
}
