//! What a job's threads did, counted for its report.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::job::run::Running;
use crate::sync::lock;
use crate::{JobReport, NodeReport};

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

/// What one thread did.
#[derive(Debug)]
pub(crate) struct ThreadTallies(Vec<Tally>);

impl ThreadTallies {
    pub(crate) fn new(shares: usize) -> Self {
        Self(vec![Tally::default(); shares])
    }

    /// Counts a chunk that is done.
    pub(crate) fn count(&mut self, share: usize, local: bool, end: Duration) {
        let tally = &mut self.0[share];
        tally.chunks += 1;
        tally.local += usize::from(local);
        tally.threads = 1;
        tally.end = end;
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
    /// Adds what one thread did, and whether it is a helper that has been moved.
    pub(crate) fn add(&self, thread: &ThreadTallies, has_moved: bool) {
        let mut all = lock(&self.0);
        all.shares.resize(thread.0.len(), Tally::default());
        all.threads += usize::from(thread.0.iter().any(|tally| tally.chunks > 0));
        all.moved_helpers += usize::from(has_moved);
        for (sum, own) in all.shares.iter_mut().zip(&thread.0) {
            sum.add(own);
        }
    }

    /// The report of a job that began at `started` and is done.
    pub(crate) fn report(&self, running: &Running<'_>, started: Instant) -> JobReport {
        let all = lock(&self.0);
        let rows = running.work().iter().zip(&all.shares).map(|(work, tally)| NodeReport {
            node: work.node,
            size: work.size,
            chunks: tally.chunks,
            local_chunks: tally.local,
            threads: tally.threads,
            elapsed: tally.end,
        });
        let nodes: Vec<NodeReport> = rows.collect();
        JobReport {
            size: nodes.iter().map(|row| row.size).sum(),
            chunks: nodes.iter().map(|row| row.chunks).sum(),
            local_chunks: nodes.iter().map(|row| row.local_chunks).sum(),
            threads: all.threads,
            moved_helpers: all.moved_helpers,
            elapsed: started.elapsed(),
            nodes,
        }
    }
}
