//! A pool of helper threads, pinned per NUMA node.
//!
//! Skeleton: signatures only.
#![allow(missing_docs, clippy::todo, unused, missing_debug_implementations)]

use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::sync::Arc;

use firsttouch_topology::{CpuId, CpuSet, NodeId, NodeSet, Topology};

/// How helpers are kept in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pin {
    #[default]
    Node,
    Cpu,
    None,
}

/// What pinning came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pinned {
    Cpu(CpuId),
    Node(NodeId),
    /// Not asked for.
    None,
    /// Asked for and refused by the kernel; the helper runs unpinned.
    Refused,
}

#[derive(Debug, thiserror::Error)]
#[error("skeleton")]
#[non_exhaustive]
pub struct PoolError;

#[must_use]
pub struct PoolBuilder;
impl PoolBuilder {
    /// Default: Topology::discover().
    pub fn topology(self, topology: Arc<Topology>) -> Self {
        todo!()
    }
    /// Nodes whose CPUs may hold helpers. Default: all allowed.
    pub fn nodes(self, nodes: NodeSet) -> Self {
        todo!()
    }
    /// CPUs that helpers may use. Default: the allowed CPUs.
    pub fn cpus(self, cpus: CpuSet) -> Self {
        todo!()
    }
    /// Default: as many as allowed CPUs and quota give, spread over nodes by their CPUs.
    pub fn helpers_per_node(self, n: NonZeroUsize) -> Self {
        todo!()
    }
    pub fn pin(self, pin: Pin) -> Self {
        todo!()
    }
    pub fn thread_name(self, name: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        todo!()
    }
    pub fn stack_size(self, bytes: usize) -> Self {
        todo!()
    }
    pub fn build(self) -> Result<Pool, PoolError> {
        todo!()
    }
}

/// Send + Sync. Dropping it joins every helper.
pub struct Pool;
impl Pool {
    pub fn builder() -> PoolBuilder {
        todo!()
    }
    pub fn new() -> Result<Self, PoolError> {
        todo!()
    }
    pub fn topology(&self) -> &Arc<Topology> {
        todo!()
    }
    /// All helpers, by index; helpers of one node are neighbours.
    pub fn helpers(&self) -> &[Helper] {
        todo!()
    }
    /// Nodes that have helpers, ascending by number, and their helper counts.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, usize)> + '_ {
        std::iter::empty()
    }
    /// The helper that the current thread is, if it is one of this pool's.
    pub fn current_helper(&self) -> Option<&Helper> {
        todo!()
    }
    /// Runs on every helper once (not on an outside caller); results by helper index.
    pub fn broadcast<R: Send>(&self, f: impl Fn(&Member) -> R + Sync) -> Vec<R> {
        todo!()
    }
    pub fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        todo!()
    }
    pub fn scope<'scope, R>(&self, f: impl FnOnce(&Scope<'scope>) -> R) -> R {
        todo!()
    }
    pub fn spawn(&self, f: impl FnOnce() + Send + 'static) {
        todo!()
    }
    /// The fork-join primitive: runs `f` on the caller (member 0) and on the team's helpers.
    /// When the caller's call returns, invitations (`invite`) that no helper has accepted are withdrawn;
    /// required ones (`require`) are waited for. Returns when every member that started has returned.
    /// A panic in any member reaches the caller after that. Returns how many members took part.
    pub fn run(&self, team: &Team, f: impl Fn(&Member) + Sync) -> usize {
        todo!()
    }
}

/// One helper thread as the pool started it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Helper {
    pub index: usize,
    pub node: NodeId,
    pub pinned: Pinned,
}

/// Which helpers take part in a fork-join call.
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct Team;
impl Team {
    pub fn new() -> Self {
        todo!()
    }
    /// Up to `n` helpers of the node, those that come in time. Adds to earlier calls for the node. More than the node has means all it has.
    pub fn invite(self, node: NodeId, n: usize) -> Self {
        todo!()
    }
    /// `n` helpers of the node that must each run `f`; the caller waits for them to come (n capped at what node has, excluding the caller itself if it is a helper of that node).
    pub fn require(self, node: NodeId, n: usize) -> Self {
        todo!()
    }
    /// Whether an outside caller keeps to the node it is on (affinity narrowed for the call and restored after). Default: true where the machine has several nodes.
    pub fn keep_caller(self, keep: bool) -> Self {
        todo!()
    }
}

/// One thread's part in a fork-join call.
pub struct Member<'a>(PhantomData<&'a ()>);
impl Member<'_> {
    /// 0 for the caller, then in order of arrival. For broadcast: the helper's index.
    pub fn index(&self) -> usize {
        todo!()
    }
    /// None for a caller from outside of the pool.
    pub fn helper(&self) -> Option<&Helper> {
        todo!()
    }
    /// The node this thread works for: a helper's own, else that of the CPU the caller is on now.
    pub fn node(&self) -> Option<NodeId> {
        todo!()
    }
    pub fn is_caller(&self) -> bool {
        todo!()
    }
}

pub struct Scope<'scope>(PhantomData<fn(&'scope ()) -> &'scope ()>);
impl<'scope> Scope<'scope> {
    pub fn spawn(&self, f: impl FnOnce(&Scope<'scope>) + Send + 'scope) {
        todo!()
    }
}
