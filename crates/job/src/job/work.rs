//! One share of a run, cut, and the chunks of it that nobody has taken.

use std::ops::{Deref, Range};

use firsttouch_topology::{CpuId, CpuSet, NodeId, Topology};

use crate::Plan;
use crate::claims::{Claims, Seat};
use crate::cursor::Cursor;
use crate::job::counter::Counter;
use crate::schedule::Order;

/// One share, cut, with what its chunks are taken from.
#[derive(Debug)]
pub(crate) struct Work<'t> {
    pub(crate) node: Option<NodeId>,
    /// The CPUs to which the node is local.
    local_cpus: Option<&'t CpuSet>,
    /// Units of the share.
    pub(crate) size: usize,
    pieces: Pieces,
    queue: Queue<'t>,
}

/// The ranges of a share; almost always one, which needs no allocation.
#[derive(Debug)]
enum Pieces {
    One(Plan<usize>),
    Many {
        plans: Vec<Plan<usize>>,
        /// Chunks in all plans up to and with each.
        ends: Vec<usize>,
    },
}

/// The chunks that nobody has taken.
#[derive(Debug)]
enum Queue<'t> {
    Ascending(Cursor),
    Guided { cursor: Cursor, threads: usize },
    OwnFirst(Held<'t>),
}

/// Claims; they are large.
#[derive(Debug)]
enum Held<'t> {
    /// In the frame of the loop that makes them.
    InFrame(&'t Claims),
    Boxed(Box<Claims>),
}

impl Deref for Held<'_> {
    type Target = Claims;

    #[inline]
    fn deref(&self) -> &Claims {
        match self {
            Self::InFrame(claims) => claims,
            Self::Boxed(claims) => claims,
        }
    }
}

impl<'t> Work<'t> {
    /// A share that lives nowhere in particular; it has [its own claims](Self::claims).
    #[inline]
    pub(crate) fn anywhere(plan: Plan<usize>, order: Order, claims: Option<&'t Claims>) -> Self {
        let Range { start, end } = plan.range();
        let queue = match claims {
            Some(claims) => Queue::OwnFirst(Held::InFrame(claims)),
            None => {
                let cursor = Cursor::new(Counter::anywhere(), plan.chunks());
                Queue::of_cursor(cursor, order, plan.threads())
            }
        };
        let pieces = Pieces::One(plan);
        Self { node: None, local_cpus: None, size: end - start, pieces, queue }
    }

    /// The claims of a share that lives nowhere in particular, where its threads take their own chunks first.
    #[inline]
    pub(crate) fn claims(plan: &Plan<usize>, order: Order) -> Option<Claims> {
        match order {
            Order::OwnFirst => Some(Claims::new(plan.chunks(), plan.threads())),
            Order::Ascending | Order::Guided => None,
        }
    }

    /// A share of several ranges, for so many threads.
    pub(crate) fn new(
        node: Option<NodeId>,
        size: usize,
        plans: Vec<Plan<usize>>,
        order: Order,
        threads: usize,
        topology: &'t Topology,
        counter: Counter,
    ) -> Self {
        let mut chunks = 0;
        let ends = plans.iter().map(|plan| {
            chunks += plan.chunks();
            chunks
        });
        let ends = ends.collect();
        let local_cpus = node.and_then(|node| topology.node(node)).map(|node| node.local_cpus());
        let queue = match order {
            Order::OwnFirst => Queue::OwnFirst(Held::Boxed(Box::new(Claims::new(chunks, threads)))),
            Order::Ascending | Order::Guided => {
                Queue::of_cursor(Cursor::new(counter, chunks), order, threads)
            }
        };
        Self { node, local_cpus, size, pieces: Pieces::Many { plans, ends }, queue }
    }

    /// Chunks of the share.
    #[inline]
    pub(crate) fn chunks(&self) -> usize {
        match &self.pieces {
            Pieces::One(plan) => plan.chunks(),
            Pieces::Many { ends, .. } => ends.last().copied().unwrap_or(0),
        }
    }

    /// Takes the next range for the thread in a seat; `None` once all are taken.
    #[inline]
    pub(crate) fn take(&self, seat: &mut Seat) -> Option<Range<usize>> {
        match &self.queue {
            Queue::Ascending(cursor) => self.chunk(cursor.take()?),
            Queue::OwnFirst(claims) => self.span(claims.take(seat, |one| self.together(one))?),
            Queue::Guided { cursor, threads } => {
                let chunks = self.chunks();
                self.span(cursor.take_run(|first| {
                    let share = (chunks - first) / threads / 2;
                    share.min(self.together(first).end - first)
                })?)
            }
        }
    }

    /// The counter that chunks are taken with; `None` where each thread has its own.
    pub(crate) fn counter(&self) -> Option<&Counter> {
        match &self.queue {
            Queue::Ascending(cursor) | Queue::Guided { cursor, .. } => Some(cursor.counter()),
            Queue::OwnFirst(_) => None,
        }
    }

    /// Whether it is cut by [`Schedule::Guided`](crate::Schedule::Guided).
    pub(crate) fn is_guided(&self) -> bool {
        matches!(self.queue, Queue::Guided { .. })
    }

    /// Whether all is taken.
    #[inline]
    pub(crate) fn is_used_up(&self) -> bool {
        match &self.queue {
            Queue::Ascending(cursor) | Queue::Guided { cursor, .. } => cursor.is_used_up(),
            Queue::OwnFirst(claims) => claims.is_used_up(),
        }
    }

    /// Has no thread take another chunk.
    pub(crate) fn close(&self) {
        match &self.queue {
            Queue::Ascending(cursor) | Queue::Guided { cursor, .. } => cursor.close(),
            Queue::OwnFirst(claims) => claims.close(),
        }
    }

    /// Whether a CPU is local to the share; any is to one that lives nowhere in particular.
    pub(crate) fn is_local(&self, cpu: CpuId) -> bool {
        self.node.is_none() || self.local_cpus.is_some_and(|cpus| cpus.contains(cpu))
    }

    #[inline]
    fn chunk(&self, index: usize) -> Option<Range<usize>> {
        let (before, plan) = self.piece(index);
        plan.chunk(index - before)
    }

    /// Neighbouring chunks as one range; all are [together](Self::together).
    #[inline]
    fn span(&self, indices: Range<usize>) -> Option<Range<usize>> {
        let (before, plan) = self.piece(indices.start);
        plan.span(indices.start - before..indices.end - before)
    }

    /// The chunks that make one range with this one: a range ends where its plan does.
    #[inline]
    fn together(&self, index: usize) -> Range<usize> {
        let (before, plan) = self.piece(index);
        before..before + plan.chunks()
    }

    /// The plan that a chunk is of, and the chunks of the plans before it.
    #[inline]
    fn piece(&self, index: usize) -> (usize, &Plan<usize>) {
        match &self.pieces {
            Pieces::One(plan) => (0, plan),
            Pieces::Many { plans, ends } => {
                let at = ends.partition_point(|&end| end <= index);
                let before = at.checked_sub(1).map_or(0, |earlier| ends[earlier]);
                (before, &plans[at])
            }
        }
    }
}

impl Queue<'_> {
    /// Chunks that all threads take from one cursor.
    #[inline]
    fn of_cursor(cursor: Cursor, order: Order, threads: usize) -> Self {
        match order {
            Order::Guided => Self::Guided { cursor, threads: threads.max(1) },
            Order::Ascending | Order::OwnFirst => Self::Ascending(cursor),
        }
    }
}
