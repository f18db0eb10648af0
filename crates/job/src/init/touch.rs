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
use crate::init::provide::{Provide, Source};
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

/// How a chunk's bytes get what they are to hold.
pub(crate) struct Pieces<'a> {
    pub(crate) elements: Elements,
    /// Bytes provided, or populated and then written, at a time. Invariant: whole pages.
    pub(crate) piece: usize,
    /// How pages come with their contents; `None` where the kernel clears them.
    pub(crate) provide: Option<Provide<'a>>,
}

/// Initialises the chunks of one region.
pub(crate) struct Touch<'a> {
    parts: Parts<'a>,
    layout: &'a Layout,
    pieces: Pieces<'a>,
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
    source: Source,
    records: Vec<Record>,
}

impl<'a> Touch<'a> {
    pub(crate) fn new(
        parts: Parts<'a>,
        layout: &'a Layout,
        pieces: Pieces<'a>,
        binding: Binding,
        policy: PolicyUse,
        sites: &Sites<'a>,
    ) -> Self {
        Self {
            parts,
            layout,
            pieces,
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

    /// Bytes whose pages came with their contents; all of them, once the job has ended.
    pub(crate) fn provided(&self) -> usize {
        self.pieces.provide.as_ref().map_or(0, Provide::provided)
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
                .step_by(self.pieces.piece)
                .map(move |start| start..end.min(start.saturating_add(self.pieces.piece)))
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
        if let Some(provide) = &self.pieces.provide {
            return self.place(own, node, range, |own, node, range| {
                self.provide(provide, own, node, range, write)
            });
        }
        let Owned { elements, rest } = self.pieces.elements.owned(range);
        let populate = |_: &mut Own, node, range| self.populate(node, range);
        self.place(own, node, &elements, populate)?;
        self.place(own, node, &rest, populate)?;
        self.write(elements, write);
        Ok(())
    }

    /// Places the pages of bytes that a piece owns, node by node.
    ///
    /// A piece's last element can reach into blocks of other nodes. Their
    /// pages are placed for these nodes, as they may not have been touched yet.
    fn place(
        &self,
        own: &mut Own,
        node: Option<NodeId>,
        bytes: &Range<usize>,
        bring: impl Fn(&mut Own, Option<NodeId>, Range<usize>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match &self.layout.interleave {
            Some(interleave) if self.policy == PolicyUse::Thread => {
                interleave.homes(bytes.clone()).try_for_each(|(node, block)| {
                    self.follow(own, node, &block)?;
                    bring(own, Some(node), block)
                })
            }
            _ => {
                if let (PolicyUse::Thread, Some(node)) = (self.policy, node) {
                    self.follow(own, node, bytes)?;
                }
                bring(own, node, bytes.clone())
            }
        }
    }

    fn populate(&self, node: Option<NodeId>, range: Range<usize>) -> Result<(), Failure> {
        // SAFETY: [disjoint] as for the elements: these bytes are of the same
        // piece, and its rest lies past all elements.
        let mut part = unsafe { self.parts.part(range.clone()) };
        part.populate().map_err(|source| Failure::Populate { node, range, source })
    }

    /// Has pages come with their contents; by the kernel's clearing and stores where that fails.
    ///
    /// What fails so is most often that there is no page left; then populating
    /// says more about it.
    fn provide(
        &self,
        provide: &Provide<'a>,
        own: &mut Own,
        node: Option<NodeId>,
        range: Range<usize>,
        write: &impl Fn(usize, &mut Part<'_>),
    ) -> Result<(), Failure> {
        let Owned { elements, rest } = self.pieces.elements.owned(&range);
        let write = || self.write(elements.clone(), write);
        let brought = provide.bring(self.parts, &mut own.source, &range, write);
        let is_provided = brought.map_err(|source| {
            let range = range.clone();
            Failure::Populate { node, range, source }
        })?;
        if !is_provided {
            self.populate(node, range)?;
            write();
        }
        // What is repeated goes on past the last element.
        self.write(rest, &|_, part| part.as_mut_slice().fill(0));
        Ok(())
    }

    /// Writes to elements of a piece, whose pages are there.
    fn write(&self, elements: Range<usize>, write: &impl Fn(usize, &mut Part<'_>)) {
        if elements.is_empty() {
            return;
        }
        let first = elements.start / self.pieces.elements.size();
        // SAFETY: [disjoint] the job hands out each unit once, a layout turns
        // units into bytes one to one, and ranges that do not overlap own
        // elements that do not; the part ends before this thread takes another.
        let mut part = unsafe { self.parts.part(elements) };
        write(first, &mut part);
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
