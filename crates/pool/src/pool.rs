//! The pool, and what it can run.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use firsttouch_topology::{NodeId, Topology};

use crate::builder::PoolBuilder;
use crate::call::{Arrival, Share};
use crate::counters::Counters;
use crate::current::{enter, enter_out_of_line, has_enough, under, with_current};
use crate::error::{NoSuchNode, PoolError};
use crate::helper::{Dropper, Helper};
use crate::node_counter::NodeCounter;
use crate::panic::{catch, discard};
use crate::pin::KeptCaller;
use crate::post::Tickets;
use crate::shared::Shared;
use crate::steal::Steal;
use crate::storage::Storage;
use crate::sync::UnsafeCell;
use crate::sync::thread::{self, JoinHandle};
use crate::task::{self, Scope, ScopeOptions};
use crate::team::{Ask, Late, Member, Team, fork};
use crate::worker::NO_SCOPE;

/// Helper threads, pinned per NUMA node, and the work they are given.
///
/// Every call may be made from any thread: from outside, from a helper, and
/// from a helper of another pool. A caller runs its own closures where no
/// helper has taken them, so a pool that is busy delays nobody, and calls nest
/// at will. While a helper waits for a call of its own to end, it runs that
/// call's work, and takes part in calls that require it
/// ([`Team::require`], [`Pool::broadcast`]), but runs no stranger's task.
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

    /// Runs `f` on every helper once, and returns the results by helper index.
    ///
    /// A caller from outside takes no part, unless the pool [starts no
    /// helper](PoolBuilder::current_thread): then it alone runs `f`, as member
    /// 0. A caller that is a helper runs its own share. Waits until every helper has come, which may be long where
    /// they run other work.
    ///
    /// # Panics
    ///
    /// With the first panic of `f`, when every helper has returned from it.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new()?;
    /// let indices = pool.broadcast(|member| member.index());
    /// assert!(indices.into_iter().eq(0..pool.helpers().len()));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn broadcast<R: Send>(&self, f: impl Fn(&Member<'_>) -> R + Sync) -> Vec<R> {
        broadcast_on(&self.shared, f)
    }

    /// Runs two closures, perhaps at once, and returns both results.
    ///
    /// The calling thread runs `a`, and `b` too where no helper takes it
    /// meanwhile. Both always run.
    ///
    /// # Panics
    ///
    /// With the panic of `a`, else that of `b`, when both have ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_pool::Pool;
    ///
    /// fn sum(pool: &Pool, numbers: &[u64]) -> u64 {
    ///     match numbers {
    ///         [] => 0,
    ///         [number] => *number,
    ///         _ => {
    ///             let (left, right) = numbers.split_at(numbers.len() / 2);
    ///             let (left, right) = pool.join(|| sum(pool, left), || sum(pool, right));
    ///             left + right
    ///         }
    ///     }
    /// }
    ///
    /// assert_eq!(sum(&Pool::new()?, &[1, 2, 3, 4]), 10);
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    ///
    /// Closures that must stay on their thread are rejected:
    ///
    /// ```compile_fail,E0277
    /// let pool = firsttouch_pool::Pool::new().unwrap();
    /// let one = std::rc::Rc::new(1);
    /// pool.join(|| *one, || 2);
    /// ```
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new().unwrap();
    /// let one = std::sync::Arc::new(1);
    /// pool.join(|| *one, || 2);
    /// ```
    #[inline]
    pub fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        // Nearly all joins of a deep recursion end here. What is left is out of
        // line, and gets a copy of the closures: here they stay in registers.
        if has_enough(&self.shared) {
            return task::join_in_turn(a, b);
        }
        enter_out_of_line(&self.shared, move |worker| task::join(worker, a, b))
    }

    /// Runs `f`, which may spawn tasks that borrow, and returns when all of them have ended.
    ///
    /// `f` itself runs on the calling thread, which then runs the tasks that
    /// no helper has taken.
    ///
    /// # Panics
    ///
    /// With the first panic of `f` or of a task, when all have ended.
    pub fn scope<'scope, R>(&self, f: impl FnOnce(&Scope<'scope>) -> R) -> R {
        enter(&self.shared, |worker| task::scope(worker, None, worker.steal(), f))
    }

    /// Runs `f` as [`Pool::scope`] does, with the tasks that it spawns queued on a node; that node's helpers are woken first.
    ///
    /// `f` itself runs on the calling thread. While it waits for tasks that
    /// nobody has started, it leaves them to the node's helpers as long as one
    /// of these has nothing to do, and runs them itself when all are at work.
    /// [`Pool::scope_with`] can keep them on the node.
    ///
    /// A node that the machine has, and that has no helpers in this pool, is
    /// served by the nearest that has.
    ///
    /// # Errors
    ///
    /// [`NoSuchNode`] where the machine has no such node. `f` does not run then.
    ///
    /// # Panics
    ///
    /// As [`Pool::scope`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new()?;
    /// let node = pool.helpers()[0].node;
    /// let mut numbers = [1, 2, 3];
    /// pool.scope_on(node, |scope| {
    ///     for number in &mut numbers {
    ///         scope.spawn(|_| *number *= 2);
    ///     }
    /// })?;
    /// assert_eq!(numbers, [2, 4, 6]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scope_on<'scope, R>(
        &self,
        node: NodeId,
        f: impl FnOnce(&Scope<'scope>) -> R,
    ) -> Result<R, NoSuchNode> {
        self.scope_with(&ScopeOptions::new().node(node), f)
    }

    /// Runs `f` as [`Pool::scope`] does, in a scope that is told where its tasks go.
    ///
    /// The calling thread runs tasks that nobody has started only where it may
    /// take them: those of its own node, and others as the [`Steal`]
    /// in force lets that node's helpers, while the node on which they are queued
    /// does not keep up. Where it may not, it waits for that node's helpers, and
    /// one of them that is itself waiting runs the tasks if all others are busy.
    /// So such a task must not want what a call of the pool on that node may
    /// hold while it waits, a lock above all.
    ///
    /// A caller from outside is kept to its node meanwhile where the options
    /// let fewer than all helpers run the tasks: its affinity is narrowed and restored.
    ///
    /// # Errors
    ///
    /// [`NoSuchNode`] where the machine does not have the options' node. `f` does not run then.
    ///
    /// # Panics
    ///
    /// As [`Pool::scope`].
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_pool::{Pool, ScopeOptions, Steal};
    ///
    /// let pool = Pool::new()?;
    /// let near = ScopeOptions::new().steal(Steal::Near);
    /// let mut both = [0; 2];
    /// let [left, right] = &mut both;
    /// pool.scope_with(&near, |scope| {
    ///     scope.spawn(|_| *left = 1);
    ///     scope.spawn(|_| *right = 2);
    /// })?;
    /// assert_eq!(both, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scope_with<'scope, R>(
        &self,
        options: &ScopeOptions,
        f: impl FnOnce(&Scope<'scope>) -> R,
    ) -> Result<R, NoSuchNode> {
        let node = options.node.map(|node| self.shared.nearest_to(node)).transpose()?;
        let steal = options.steal.map(|steal| self.shared.effective(steal));
        Ok(enter(&self.shared, |worker| {
            let stays =
                worker.helper.is_none() && steal.is_some_and(|steal| steal < Steal::Anywhere);
            let own = self.shared.nodes[worker.node].id;
            let _kept = stays.then(|| KeptCaller::on(&self.shared.topology, own));
            task::scope(worker, node, steal.unwrap_or(worker.steal()), f)
        }))
    }

    /// Queues a closure on the calling thread's node, and returns at once.
    ///
    /// Where the pool [starts no helper](PoolBuilder::current_thread) it runs
    /// the closure itself before it returns, unless the thread runs another
    /// such closure of the pool's: then after that one.
    ///
    /// Nobody waits for it, except that dropping the pool runs what is queued.
    /// Its panic goes to the [panic handler](PoolBuilder::panic_handler).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.spawn(move || sender.send(1).unwrap());
    /// assert_eq!(receiver.recv(), Ok(1));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    ///
    /// It cannot borrow what may end before it; [`Pool::scope`] can:
    ///
    /// ```compile_fail,E0597
    /// let pool = firsttouch_pool::Pool::new().unwrap();
    /// let one = 1;
    /// let one = &one;
    /// pool.spawn(move || assert_eq!(*one, 1));
    /// ```
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new().unwrap();
    /// let one = 1;
    /// pool.spawn(move || assert_eq!(one, 1));
    /// ```
    pub fn spawn(&self, f: impl FnOnce() + Send + 'static) {
        task::spawn(&self.shared, None, f);
    }

    /// Queues a closure on a node, whose helpers are woken first, and returns at once.
    ///
    /// As [`Pool::spawn`] in all else. A node that the machine has, and that has
    /// no helpers in this pool, is served by the nearest that has.
    ///
    /// # Errors
    ///
    /// [`NoSuchNode`] where the machine has no such node. The closure does not run then.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_pool::Pool;
    /// use firsttouch_topology::NodeId;
    ///
    /// let pool = Pool::new()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.spawn_on(pool.helpers()[0].node, move || sender.send(1).unwrap())?;
    /// assert_eq!(receiver.recv(), Ok(1));
    /// assert!(pool.spawn_on(NodeId::new(1_000_000), || ()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn_on(
        &self,
        node: NodeId,
        f: impl FnOnce() + Send + 'static,
    ) -> Result<(), NoSuchNode> {
        task::spawn(&self.shared, Some(self.shared.nearest_to(node)?), f);
        Ok(())
    }

    /// Runs `f` on the caller (member 0) and on a team of helpers; returns how many took part.
    ///
    /// When the caller's own call of `f` returns, invitations that no helper
    /// has accepted are withdrawn; required helpers are waited for. So `f`
    /// takes pieces of work from a place that all members share until there
    /// are none. Helpers that sleep cost the caller a wake-up for two of each
    /// node, or none at all with [`Team::wake_late`].
    ///
    /// # Panics
    ///
    /// With the first panic of any member, when every member has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use firsttouch_pool::{Pool, Team};
    ///
    /// let pool = Pool::new()?;
    /// let node = pool.helpers()[0].node;
    /// let calls = AtomicUsize::new(0);
    /// let members = pool.run(&Team::new().require(node, 1), |_| {
    ///     calls.fetch_add(1, Ordering::Relaxed);
    /// });
    /// assert_eq!((members, calls.into_inner()), (2, 2));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn run(&self, team: &Team, f: impl Fn(&Member<'_>) + Sync) -> usize {
        enter(&self.shared, |worker| {
            let _kept = team.keep_caller_of(worker);
            // In lines of its own, as the caller's stack is written to while helpers read this.
            let share = CachePadded::new(MemberShare { f, steal: worker.steal() });
            let late = Late::of(team, &self.shared, worker.helper);
            let own = || {
                (share.f)(&Member::new(&self.shared, 0, worker.helper, true).waking(late));
            };
            let asks = team.asks(&self.shared, worker.helper);
            fork(worker, asks, team.wakes_late(), &*share, own)
        })
    }
}

/// A closure that each member of a team calls.
struct MemberShare<F> {
    f: F,
    /// What the caller queues jobs under, and so each member.
    steal: Steal,
}

impl<F: Fn(&Member<'_>) + Sync> Share for MemberShare<F> {
    fn run(&self, shared: &Shared, Arrival { order, helper }: Arrival) {
        let member = Member::new(shared, order, helper, false);
        under(shared, self.steal, || (self.f)(&member));
    }
}

/// A closure that each helper calls, and the places for the results.
struct Broadcast<'a, F, R> {
    results: &'a Results<R>,
    f: F,
    /// What the caller queues jobs under, and so each helper.
    steal: Steal,
}

impl<F: Fn(&Member<'_>) -> R + Sync, R: Send> Broadcast<'_, F, R> {
    fn run_as(&self, shared: &Shared, helper: usize, is_caller: bool) {
        let member = Member::new(shared, helper, Some(helper), is_caller);
        let result = under(shared, self.steal, || (self.f)(&member));
        // SAFETY: [own] every helper runs its share once, and has its own place.
        unsafe { self.results.set(helper, result) }
    }
}

impl<F: Fn(&Member<'_>) -> R + Sync, R: Send> Share for Broadcast<'_, F, R> {
    fn run(&self, shared: &Shared, arrival: Arrival) {
        if let Some(helper) = arrival.helper {
            self.run_as(shared, helper, false);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.is_here() {
            // No handle names a thread of this process now, and each may name one later.
            self.threads.drain(..).for_each(std::mem::forget);
            return;
        }
        self.shared.shut_down();
        let current = thread::current().id();
        with_current(&self.shared, |worker| {
            // A helper of the pool is needed for what no other may run.
            let dropper = worker.and_then(|worker| Some(Dropper::new(worker, worker.helper?)));
            for (index, thread) in self.threads.drain(..).enumerate() {
                if thread.thread().id() == current {
                    continue;
                }
                match &dropper {
                    Some(dropper) => dropper.wait_for_end_of(index),
                    None => self.shared.wait_for_end_of(index),
                }
                // A helper catches every panic, so it ends well.
                let _ = thread.join();
            }
            if let Some(dropper) = dropper {
                // What it runs after this, it runs alone.
                dropper.rests();
            }
        });
        // A subscriber is user code, and this may be a drop while a panic unwinds.
        discard(catch(|| tracing::debug!(helpers = self.shared.helpers.len(), "pool stopped")));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("helpers", &self.shared.helpers).finish_non_exhaustive()
    }
}

/// Runs `f` on every helper once, and returns the results by helper index; without helpers, on the caller.
pub(crate) fn broadcast_on<R: Send>(
    shared: &Arc<Shared>,
    f: impl Fn(&Member<'_>) -> R + Sync,
) -> Vec<R> {
    if shared.helpers.is_empty() {
        return enter(shared, |worker| {
            let _frame = worker.enter(NO_SCOPE);
            vec![f(&Member::new(shared, 0, None, true))]
        });
    }
    let results = Results::new(shared.helpers.len());
    let ended = catch(|| broadcast_into(shared, &results, f));
    match ended {
        Ok(()) => results.into_vec(),
        Err(payload) => {
            // Not while the payload unwinds: a second panic would abort.
            results.discard();
            resume_unwind(payload)
        }
    }
}

/// Runs `f` on every helper once, and puts each result in its place.
fn broadcast_into<R: Send>(
    shared: &Arc<Shared>,
    results: &Results<R>,
    f: impl Fn(&Member<'_>) -> R + Sync,
) {
    enter(shared, |worker| {
        let asks = (0..shared.nodes.len()).map(|node| {
            let required = shared.others_on_node(node, worker.helper);
            Ask { node, tickets: Tickets { required, optional: 0 } }
        });
        let share = CachePadded::new(Broadcast { results, f, steal: worker.steal() });
        fork(worker, asks, false, &*share, || {
            if let Some(helper) = worker.helper {
                share.run_as(shared, helper, true);
            }
        });
    });
}

/// A place for each helper's result.
struct Results<R>(Box<[UnsafeCell<Option<R>>]>);

// SAFETY: each place is written by one thread and read when all have ended.
unsafe impl<R: Send> Sync for Results<R> {}

impl<R> Results<R> {
    fn new(helpers: usize) -> Self {
        Self((0..helpers).map(|_| UnsafeCell::new(None)).collect())
    }

    /// Writes one helper's result.
    ///
    /// # Safety
    ///
    /// - `[own]` No other thread uses this place.
    unsafe fn set(&self, helper: usize, result: R) {
        self.0[helper].with_mut(|place| {
            // SAFETY: [own].
            unsafe { *place = Some(result) }
        });
    }

    /// Drops every result; no panic of their destructors comes out.
    fn discard(self) {
        self.0.into_iter().for_each(discard);
    }

    fn into_vec(self) -> Vec<R> {
        // Every helper has run its share, but where the pool has shut down.
        self.0.into_iter().filter_map(UnsafeCell::into_inner).collect()
    }
}
