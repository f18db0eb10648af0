//! What each thread does to the pages of a chunk.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use firsttouch_memory::{MemoryError, Part, Parts};
use firsttouch_topology::{CpuId, NodeId, Topology, affinity};

use crate::Chunk;
use crate::init::elements::{Elements, Owned};
use crate::init::follow::{Follow, Following};
use crate::init::placement::{Binding, Layout};
use crate::init::report::PolicyUse;
use crate::job::sites::Sites;

/// A run of bytes, and who touched them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The node they were meant for.
    pub(crate) node: Option<NodeId>,
    /// Bytes of the region.
    pub(crate) range: Range<usize>,
    /// The CPU that the thread was on before and after.
    pub(crate) cpus: [CpuId; 2],
}

/// Why a chunk failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The thread cannot be bound to the chunk's node.
    Policy { range: Range<usize>, source: MemoryError },
    /// A page cannot be had.
    Populate { node: Option<NodeId>, range: Range<usize>, source: MemoryError },
}

/// Initialises the chunks of one region.
pub(crate) struct Touch<'a> {
    parts: Parts<'a>,
    layout: &'a Layout,
    elements: Elements,
    /// Bytes populated, and then written, at a time. Invariant: whole pages.
    piece: usize,
    policy: PolicyUse,
    follow: Follow,
    topology: &'a Topology,
    /// Bytes initialised. Relaxed: it is read when all threads are joined.
    initialised: AtomicUsize,
    records: Mutex<Vec<Record>>,
}

/// What one thread keeps from chunk to chunk.
#[derive(Debug, Default)]
pub(crate) struct Own {
    policy: Following,
    records: Vec<Record>,
}

impl<'a> Touch<'a> {
    pub(crate) fn new(
        parts: Parts<'a>,
        layout: &'a Layout,
        elements: Elements,
        piece: usize,
        binding: Binding,
        policy: PolicyUse,
        sites: &Sites<'a>,
    ) -> Self {
        Self {
            parts,
            layout,
            elements,
            piece,
            policy,
            follow: Follow::new(binding),
            topology: sites.topology(),
            initialised: AtomicUsize::new(0),
            records: Mutex::new(Vec::new()),
        }
    }

    /// What a thread begins with.
    pub(crate) fn begin(&self) -> Own {
        Own::default()
    }

    /// Initialises one chunk.
    pub(crate) fn chunk(
        &self,
        own: &mut Own,
        chunk: &Chunk,
        write: &impl Fn(usize, &mut Part<'_>),
    ) -> Result<(), Failure> {
        let mut done = 0;
        let result = self.pieces(chunk).try_for_each(|range| {
            let before = affinity::current_cpu();
            self.piece(own, chunk.node, &range, write)?;
            done += range.len();
            let cpus = [before, affinity::current_cpu()];
            own.record(Record { node: chunk.node, range, cpus }, self.topology);
            Ok(())
        });
        self.initialised.fetch_add(done, Ordering::Relaxed);
        result
    }

    /// Keeps what a thread recorded.
    pub(crate) fn end(&self, own: Own) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).extend(own.records);
    }

    /// Bytes initialised so far; all of them, once the job has ended.
    pub(crate) fn initialised(&self) -> usize {
        self.initialised.load(Ordering::Relaxed)
    }

    /// What placed the pages, once the job has ended.
    pub(crate) fn policy(&self) -> PolicyUse {
        if self.follow.is_refused() { PolicyUse::Refused } else { self.policy }
    }

    pub(crate) fn into_records(self) -> Vec<Record> {
        self.records.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pieces of a chunk, in bytes of the region.
    fn pieces(&self, chunk: &Chunk) -> impl Iterator<Item = Range<usize>> + use<'a, '_> {
        self.layout.bytes(chunk.node, chunk.range()).flat_map(move |Range { start, end }| {
            (start..end)
                .step_by(self.piece)
                .map(move |start| start..end.min(start.saturating_add(self.piece)))
        })
    }

    /// Places a piece's pages, and writes to the elements that it owns.
    fn piece(
        &self,
        own: &mut Own,
        node: Option<NodeId>,
        range: &Range<usize>,
        write: &impl Fn(usize, &mut Part<'_>),
    ) -> Result<(), Failure> {
        let Owned { elements, rest } = self.elements.owned(range);
        self.place(own, node, &elements)?;
        self.place(own, node, &rest)?;
        if !elements.is_empty() {
            let first = elements.start / self.elements.size();
            // SAFETY: [disjoint] the job hands out each unit once, a layout
            // turns units into bytes one to one, and ranges that do not
            // overlap own elements that do not; the part ends before this
            // thread takes another.
            let mut part = unsafe { self.parts.part(elements) };
            write(first, &mut part);
        }
        Ok(())
    }

    /// Places the pages of bytes that a piece owns.
    ///
    /// A piece's last element can reach into blocks of other nodes. Their
    /// pages are placed for these nodes, as they may not have been touched yet.
    fn place(
        &self,
        own: &mut Own,
        node: Option<NodeId>,
        bytes: &Range<usize>,
    ) -> Result<(), Failure> {
        match &self.layout.interleave {
            Some(interleave) if self.policy == PolicyUse::Thread => {
                interleave.homes(bytes.clone()).try_for_each(|(node, block)| {
                    self.follow(own, node, &block)?;
                    self.populate(Some(node), block)
                })
            }
            _ => {
                if let (PolicyUse::Thread, Some(node)) = (self.policy, node) {
                    self.follow(own, node, bytes)?;
                }
                self.populate(node, bytes.clone())
            }
        }
    }

    fn populate(&self, node: Option<NodeId>, range: Range<usize>) -> Result<(), Failure> {
        // SAFETY: [disjoint] as for the elements: these bytes are of the same
        // piece, and its rest lies past all elements.
        let mut part = unsafe { self.parts.part(range.clone()) };
        part.populate().map_err(|source| Failure::Populate { node, range, source })
    }

    /// Gives the thread the policy of the node that a range is on.
    fn follow(&self, own: &mut Own, node: NodeId, range: &Range<usize>) -> Result<(), Failure> {
        let range = range.clone();
        let followed = self.follow.follow(&mut own.policy, node);
        followed.map_err(|source| Failure::Policy { range, source })
    }
}

impl Own {
    /// Adds a record, to the last one where it goes on from there.
    fn record(&mut self, next: Record, topology: &Topology) {
        let node_of = |cpu| topology.node_of_cpu(cpu);
        if let Some(last) = self.records.last_mut() {
            let goes_on = last.node == next.node && last.range.end == next.range.start;
            if goes_on && last.cpus.map(node_of) == next.cpus.map(node_of) {
                last.range.end = next.range.end;
                return;
            }
        }
        self.records.push(next);
    }
}
