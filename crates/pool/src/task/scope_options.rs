//! What a scope may be told: where its tasks are queued, and whose helpers may run them.

use firsttouch_topology::NodeId;

use crate::steal::Steal;

/// What a scope is told; [`Pool::scope_with`](crate::Pool::scope_with) opens one.
///
/// # Examples
///
/// ```
/// use firsttouch_pool::{Pool, ScopeOptions, Steal};
///
/// let pool = Pool::new()?;
/// let node = pool.helpers()[0].node;
/// // Where the data lies, by that node's helpers and nobody else.
/// let there = ScopeOptions::new().node(node).steal(Steal::Node);
/// let mut data = vec![1; 1000];
/// let chunks = pool.scope_with(&there, |scope| {
///     let chunks = data.chunks_mut(100);
///     chunks.map(|chunk| scope.spawn(move |_| chunk.fill(2))).count()
/// })?;
/// assert_eq!((chunks, data.iter().sum::<i32>()), (10, 2000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeOptions {
    pub(crate) node: Option<NodeId>,
    pub(crate) steal: Option<Steal>,
}

impl ScopeOptions {
    /// Returns the options of a scope that is told nothing, as [`Pool::scope`](crate::Pool::scope) opens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the node on which tasks are queued. Default: that of the thread that spawns them.
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = Some(node);
        self
    }

    /// Sets whose helpers may run the tasks, and whatever these queue in turn. Default: as around the scope.
    ///
    /// It narrows what is in force around the scope and never widens it: the
    /// narrower of both counts.
    pub fn steal(mut self, steal: Steal) -> Self {
        self.steal = Some(steal);
        self
    }
}
