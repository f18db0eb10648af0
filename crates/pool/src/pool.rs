//! The pool: its helpers, and what it says of itself.

mod broadcast;
mod drop;
mod fork_join;
mod tasks;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use firsttouch_topology::{NodeId, Topology};

use crate::builder::PoolBuilder;
use crate::counters::Counters;
use crate::current::{enter, with_current};
use crate::error::PoolError;
use crate::helper::Helper;
use crate::node_counter::NodeCounter;
use crate::shared::Shared;
use crate::storage::Storage;
use crate::sync::thread::JoinHandle;

pub(crate) use broadcast::broadcast_on;

/// Helper threads, pinned per NUMA node, and the work they are given.
///
/// Every call may be made from any thread: from outside, from a helper, and
/// from a helper of another pool. A caller runs its own closures where no
/// helper has taken them, so a pool that is busy delays nobody, and calls nest
/// at will. While a helper waits for a call of its own to end, it runs that
/// call's work, and takes part in calls that require it
/// ([`Team::require`](crate::Team::require), [`Pool::broadcast`]), but runs no stranger's task.
///
/// Dropping it runs what is still queued and joins every helper; dropped in
/// one of its own helpers, it joins the others, and that one ends by itself.
/// So a closure given to [`Pool::spawn`] must not wait for what the dropping
/// thread does after the drop.
///
/// # Fork
///
/// A child that `fork` makes has none of the helpers, so a pool that it
/// inherits is of no use there: every call that would run something panics and
/// says so, and so does a call during which the thread forked, when its
/// closure returns in the child. (Pairs of closures nested in such a call may
/// still run, one after the other.) Dropping the pool there returns at once.
/// The child can build pools of its own, or replace itself by `exec`, as
/// [`std::process::Command`] does. Where the kernel cannot tell parent from
/// child (Linux before 4.14, or a filter that refuses `madvise`), a warning
/// event says so when the pool is built, and its use in a child can hang.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// The helpers that were asked for.
    wanted: usize,
}

impl Pool {
    /// Returns a builder, to choose nodes, CPUs, helpers and pinning.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// Starts as many helpers as this process may use CPUs, pinned to their nodes.
    ///
    /// # Errors
    ///
    /// As for [`PoolBuilder::build`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new()?;
    /// let (a, b) = pool.join(|| 1 + 1, || 2 + 2);
    /// assert_eq!((a, b), (2, 4));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn new() -> Result<Self, PoolError> {
        Self::builder().build()
    }

    pub(crate) fn from_parts(
        shared: Arc<Shared>,
        threads: Vec<JoinHandle<()>>,
        wanted: usize,
    ) -> Self {
        Self { shared, threads, wanted }
    }

    /// Returns the pool of the whole process; starts it with the defaults where there is none yet.
    ///
    /// A program builds it otherwise with [`PoolBuilder::build_global`], before
    /// anything uses it. [`join`](crate::join), [`scope`](crate::scope),
    /// [`spawn`](crate::spawn) and [`broadcast`](crate::broadcast) use it on
    /// threads that work for no pool. It is never dropped: its helpers sleep
    /// until the process ends, and closures of [`Pool::spawn`] may be left when
    /// it does.
    ///
    /// # Errors
    ///
    /// As for [`PoolBuilder::build`] where it has to be built; the next call
    /// tries again. [`PoolError::Forked`] in a child that `fork` has made after
    /// it was built.
    ///
    /// # Panics
    ///
    /// Where it is called while the same thread builds it.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_pool::Pool;
    ///
    /// let pool = Pool::global()?;
    /// assert_eq!(pool.join(|| 1, || 2), (1, 2));
    /// assert!(std::ptr::eq(pool, Pool::global()?));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn global() -> Result<&'static Self, PoolError> {
        crate::global::global()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether this process is the one that built it.
    pub(crate) fn is_here(&self) -> bool {
        self.shared.process.is_here()
    }

    /// Returns the topology that the pool was built on.
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.shared.topology
    }

    /// Returns all helpers by index; helpers of one node are neighbours.
    ///
    /// Empty where the pool [starts none](PoolBuilder::current_thread).
    #[must_use]
    pub fn helpers(&self) -> &[Helper] {
        &self.shared.helpers
    }

    /// Visits the nodes that have helpers, ascending by number, with how many each has.
    ///
    /// Where the pool [starts no helper](PoolBuilder::current_thread), these
    /// are the builder's nodes, and each has 0.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, usize)> + '_ {
        self.shared.nodes.iter().map(|node| (node.id, node.helpers.len()))
    }

    /// Returns whether the kernel keeps every helper where the builder's [`Pin`](crate::Pin) wanted it; also true without helpers.
    ///
    /// [`Helper::pinned`] says it of each. Not so where no pin was asked for.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_pool::{Pin, Pool};
    ///
    /// let pool = Pool::builder().pin(Pin::None).build()?;
    /// assert!(!pool.is_pinned());
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.shared.helpers.iter().all(|helper| helper.pinned.is_granted())
    }

    /// Returns how many of the helpers asked for the system refused to start; 0 unless the builder [accepts fewer](PoolBuilder::accept_fewer).
    #[must_use]
    pub fn refused_helpers(&self) -> usize {
        self.wanted - self.shared.helpers.len()
    }

    /// Returns how long a thread looks for work before it sleeps, as the [builder](PoolBuilder::spin) was told.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = firsttouch_pool::Pool::builder().spin(Duration::ZERO).build()?;
    /// assert_eq!(pool.spin(), Duration::ZERO);
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    #[must_use]
    pub fn spin(&self) -> Duration {
        self.shared.spin
    }

    /// Reads what each helper has run so far, by helper index.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new()?;
    /// pool.broadcast(|_| ());
    /// assert!(pool.counters().iter().all(|counters| counters.calls == 1));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    #[must_use]
    pub fn counters(&self) -> Vec<Counters> {
        (0..self.shared.helpers.len()).map(|helper| self.shared.counters(helper)).collect()
    }

    /// Lends a counter that lies on the memory of a node's helpers; `None` where the node has none, or all are lent.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::Ordering::Relaxed;
    ///
    /// let pool = firsttouch_pool::Pool::new()?;
    /// let node = pool.helpers()[0].node;
    /// let counter = pool.counter_on(node).expect("a pool has some to lend");
    /// pool.broadcast(|_| counter.fetch_add(1, Relaxed));
    /// assert_eq!(counter.load(Relaxed), pool.helpers().len());
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    #[must_use]
    pub fn counter_on(&self, node: NodeId) -> Option<NodeCounter> {
        let place = self.shared.nodes.iter().position(|there| there.id == node)?;
        NodeCounter::lend(&self.shared, place)
    }

    /// Runs `f` with the calling thread at work for this pool, and returns what it returns.
    ///
    /// What `f` queues goes to this pool's helpers. `f` itself runs on the
    /// calling thread, so a call from outside costs no hand-over; calls of the
    /// pool inside of it find the thread at work already.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new()?;
    /// let sum = pool.install(|| {
    ///     let (a, b) = pool.join(|| 1, || 2);
    ///     a + b
    /// });
    /// assert_eq!(sum, 3);
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn install<R>(&self, f: impl FnOnce() -> R) -> R {
        enter(&self.shared, |_| f())
    }

    /// Returns where the pool's own structures lie.
    #[doc(hidden)]
    #[must_use]
    pub fn storage(&self) -> Vec<Storage> {
        self.shared.storage().collect()
    }

    /// Returns the helper that the current thread is, if it is one of this pool's.
    #[must_use]
    pub fn current_helper(&self) -> Option<&Helper> {
        let helper = with_current(&self.shared, |worker| worker?.helper)?;
        self.shared.helpers.get(helper)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("helpers", &self.shared.helpers).finish_non_exhaustive()
    }
}
