//! Copies of a slice, one on each node.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use firsttouch_memory::{Pod, Region, Residency};
use firsttouch_topology::{NodeId, Topology, affinity};

use crate::{NodeReport, PolicyUse};

/// Read-only copies of a slice, one on each of some nodes.
///
/// It is `Send` and `Sync` as a `Vec<T>` is. Made by
/// [`Replicate::run`](crate::Replicate::run).
pub struct Replicas<T> {
    topology: Arc<Topology>,
    /// Ascending by node; `None` for a copy of nothing. Invariant: not empty.
    copies: Vec<(NodeId, Option<Region>)>,
    /// For each node of the machine, ascending: the copy that is nearest to it.
    nearest: Vec<(NodeId, usize)>,
    len: usize,
    report: ReplicationReport,
    elements: PhantomData<T>,
}

/// What making replicas did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReplicationReport {
    /// Bytes of one copy.
    pub bytes: usize,
    /// Chunks run.
    pub chunks: usize,
    /// Chunks run by a thread local to the node of their copy.
    pub local_chunks: usize,
    /// Threads that ran at least one chunk, the caller included.
    pub threads: usize,
    /// From the call to the end of the last chunk's thread, mapping included; the reading back is not.
    pub elapsed: Duration,
    /// What placed the copies.
    pub policy: PolicyUse,
    /// One row for each copy: where the kernel says that it lies.
    pub replicas: Vec<ReplicaPages>,
    /// One row for each copy: who wrote it. Sizes in bytes, rounded up to whole pages.
    pub nodes: Vec<NodeReport>,
}

/// Where one copy lies.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReplicaPages {
    /// The node that it is for.
    pub node: NodeId,
    /// Where its pages lie; `None` where reading back is off, or refused by the kernel.
    pub residency: Option<Residency>,
}

impl ReplicaPages {
    /// Returns whether every page lies on the copy's node; `None` where that is not known.
    #[must_use]
    pub fn is_placed(&self) -> Option<bool> {
        let pages = self.residency.as_ref()?;
        Some(pages.pages_on(self.node) == pages.present() + pages.not_present())
    }
}

impl<T: Pod> Replicas<T> {
    pub(super) fn new(
        topology: Arc<Topology>,
        copies: impl Iterator<Item = (NodeId, Option<Region>)>,
        len: usize,
        report: ReplicationReport,
    ) -> Self {
        let copies: Vec<_> = copies.collect();
        let nearest = topology.nodes().iter().map(|node| {
            let from = node.id();
            let away = |copy: &usize| {
                let to = copies[*copy].0;
                (from != to, topology.distance(from, to))
            };
            (from, (0..copies.len()).min_by_key(away).unwrap_or(0))
        });
        let mut nearest: Vec<_> = nearest.collect();
        nearest.sort_unstable();
        Self { topology, copies, nearest, len, report, elements: PhantomData }
    }

    /// Returns the copy on the node of the CPU that the calling thread is on, or the nearest to it.
    ///
    /// It costs some nanoseconds: ask once for each chunk rather than for each
    /// element. A thread that is not pinned may have moved by the next look.
    #[must_use]
    pub fn local(&self) -> &[T] {
        let node = self.topology.node_of_cpu(affinity::current_cpu());
        self.copy(node.map_or(0, |node| self.nearest(node)))
    }

    /// Returns the copy on a node; `None` where it has none.
    #[must_use]
    pub fn on(&self, node: NodeId) -> Option<&[T]> {
        let copy = self.copies.binary_search_by_key(&node, |&(node, _)| node).ok()?;
        Some(self.copy(copy))
    }

    /// Returns the copy that is nearest to a node; the first for a node that the machine does not have.
    #[must_use]
    pub fn nearest_to(&self, node: NodeId) -> &[T] {
        self.copy(self.nearest(node))
    }

    /// Visits the nodes that have a copy, ascending.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.copies.iter().map(|&(node, _)| node)
    }

    /// Returns the elements of one copy.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the copies have no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns what making the copies did.
    #[must_use]
    pub fn report(&self) -> &ReplicationReport {
        &self.report
    }

    fn nearest(&self, node: NodeId) -> usize {
        let found = self.nearest.binary_search_by_key(&node, |&(node, _)| node);
        found.map_or(0, |index| self.nearest[index].1)
    }

    fn copy(&self, index: usize) -> &[T] {
        self.copies[index].1.as_ref().map_or(&[], |region| region.as_slice_of())
    }
}

impl<T> fmt::Debug for Replicas<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<NodeId> = self.copies.iter().map(|&(node, _)| node).collect();
        f.debug_struct("Replicas")
            .field("nodes", &nodes)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
