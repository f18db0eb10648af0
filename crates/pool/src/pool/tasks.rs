//! Tasks: pairs of closures, scopes, and closures that nobody waits for.

use firsttouch_topology::NodeId;

use super::Pool;
use crate::current::{enter, enter_out_of_line, has_enough};
use crate::error::NoSuchNode;
use crate::pin::KeptCaller;
use crate::steal::Steal;
use crate::task::{self, Scope, ScopeOptions};

impl Pool {
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
    /// Where the pool [starts no helper](crate::PoolBuilder::current_thread) it runs
    /// the closure itself before it returns, unless the thread runs another
    /// such closure of the pool's: then after that one.
    ///
    /// Nobody waits for it, except that dropping the pool runs what is queued.
    /// Its panic goes to the [panic handler](crate::PoolBuilder::panic_handler).
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
}
