//! The builder: which CPUs a pool uses, how many helpers, and how they start.

mod plan;
mod start;

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use firsttouch_topology::{CpuSet, NodeSet, Topology};

use self::plan::Plan;
use self::start::Start;
use crate::error::PoolError;
use crate::handlers::Handlers;
use crate::helper::Helper;
use crate::pin::{Pin, Pinned};
use crate::pool::Pool;
use crate::spin;
use crate::steal::Steal;

/// Room for the helper's own frames and for the report of a panic, in bytes.
const MIN_STACK: usize = 64 << 10;

/// A quarter of what an address can name, in bytes: the arithmetic of every C library stays in range.
const MAX_STACK: usize = usize::MAX / 4;

/// What one helper is for, where the builder is not told how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HelperPer {
    /// One hardware thread (SMT sibling): one helper for each CPU. (the default)
    #[default]
    Cpu,
    /// One core: one helper for all of its CPUs.
    ///
    /// For work that fills a core's execution units or its cache, where a
    /// second thread on the core would only take from the first. With
    /// [`Pin::Cpu`] each helper keeps to the first CPU of its core.
    Core,
}

/// How many helpers there are.
#[derive(Clone, Copy, Debug)]
enum Count {
    /// As many as can run at once.
    ByCpus,
    /// So many, spread over the nodes.
    InAll(NonZeroUsize),
    /// So many on each node.
    PerNode(NonZeroUsize),
    /// None: callers do it all.
    None,
}

/// Chooses a pool's CPUs, its helpers and how they are pinned.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroUsize;
/// use firsttouch_pool::{Pin, Pool};
///
/// let pool = Pool::builder()
///     .helpers_per_node(NonZeroUsize::MIN)
///     .pin(Pin::None)
///     .build()?;
/// assert_eq!(pool.helpers().len(), pool.nodes().count());
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
#[must_use]
pub struct PoolBuilder {
    topology: Option<Arc<Topology>>,
    nodes: Option<NodeSet>,
    cpus: Option<CpuSet>,
    count: Count,
    helper_per: HelperPer,
    accept_fewer: bool,
    pin: Pin,
    thread_name: Box<dyn Fn(usize) -> String + Send + Sync>,
    stack_size: Option<usize>,
    spin: Duration,
    steal: Steal,
    handlers: Handlers,
}

impl PoolBuilder {
    pub(crate) fn new() -> Self {
        Self {
            topology: None,
            nodes: None,
            cpus: None,
            count: Count::ByCpus,
            helper_per: HelperPer::default(),
            accept_fewer: false,
            pin: Pin::default(),
            thread_name: Box::new(|helper| format!("firsttouch-{helper}")),
            stack_size: None,
            spin: spin::DEFAULT,
            steal: Steal::default(),
            handlers: Handlers::default(),
        }
    }

    /// Sets the machine that the pool is built on. Default: [`Topology::discover`].
    pub fn topology(mut self, topology: Arc<Topology>) -> Self {
        self.topology = Some(topology);
        self
    }

    /// Sets the nodes whose CPUs may hold helpers. Default: all that have allowed CPUs.
    ///
    /// A memory-only node among them holds none.
    pub fn nodes(mut self, nodes: NodeSet) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// Sets the CPUs that helpers may use. Default: those that this process may use.
    ///
    /// Those of them that this process may not use are left out.
    pub fn cpus(mut self, cpus: CpuSet) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// Sets the number of helpers in all.
    ///
    /// They are spread over the nodes in proportion to their CPUs, at least one
    /// on each while there are enough. Replaces an earlier call of this, of
    /// [`helpers_per_node`](Self::helpers_per_node) and of
    /// [`current_thread`](Self::current_thread). Default: as many as the CPUs,
    /// and the CPU quota of the process's control groups, let run at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    ///
    /// let three = NonZeroUsize::new(3).unwrap();
    /// let pool = firsttouch_pool::Pool::builder().helpers(three).build()?;
    /// assert_eq!(pool.helpers().len(), 3);
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn helpers(mut self, helpers: NonZeroUsize) -> Self {
        self.count = Count::InAll(helpers);
        self
    }

    /// Sets the number of helpers on each node that has a CPU for them.
    ///
    /// Replaces an earlier call of this, of [`helpers`](Self::helpers) and of
    /// [`current_thread`](Self::current_thread), and has the same default as
    /// `helpers`.
    pub fn helpers_per_node(mut self, helpers: NonZeroUsize) -> Self {
        self.count = Count::PerNode(helpers);
        self
    }

    /// Sets whether there is a helper for each CPU or for each core. Default: [`HelperPer::Cpu`].
    ///
    /// Where [`helpers`](Self::helpers) sets their number, this decides in
    /// proportion to what they are spread over the nodes.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_pool::{HelperPer, Pool};
    ///
    /// let pool = Pool::builder().helper_per(HelperPer::Core).build()?;
    /// assert!(pool.helpers().len() <= pool.topology().cores().len());
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn helper_per(mut self, unit: HelperPer) -> Self {
        self.helper_per = unit;
        self
    }

    /// Starts no helper: whoever calls runs everything itself.
    ///
    /// For tests, for debuggers, and where another runtime has the CPUs. The
    /// pool has the builder's nodes, with no helpers on any, so a job's parts
    /// and a region's pages are spread over them all the same, equally. A
    /// [`broadcast`](Pool::broadcast) runs once, on the caller. A closure given
    /// to [`spawn`](Pool::spawn) runs on the calling thread before `spawn`
    /// returns; what it spawns itself runs after it, in order, so that no
    /// depth of them fills the stack. It must not wait for what its caller does
    /// after the call, such as giving up a lock.
    ///
    /// Replaces an earlier call of [`helpers`](Self::helpers) and of
    /// [`helpers_per_node`](Self::helpers_per_node).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::builder().current_thread().build()?;
    /// let caller = std::thread::current().id();
    /// pool.spawn(move || assert_eq!(std::thread::current().id(), caller));
    /// assert_eq!(pool.join(|| 1, || 2), (1, 2));
    /// assert_eq!(pool.broadcast(|member| member.is_caller()), [true]);
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn current_thread(mut self) -> Self {
        self.count = Count::None;
        self
    }

    /// Sets whether the pool may have fewer helpers where the system refuses to start one. Default: no.
    ///
    /// Then those that could be started are spread over the nodes in
    /// proportion to what was asked for; [`Pool::refused_helpers`] says how
    /// many are missing, and so does a warning event. Where not one can be
    /// started, it is an error all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::builder().accept_fewer(true).build()?;
    /// if pool.refused_helpers() > 0 {
    ///     println!("{} helpers only", pool.helpers().len());
    /// }
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn accept_fewer(mut self, accept: bool) -> Self {
        self.accept_fewer = accept;
        self
    }

    /// Sets how helpers are kept in place. Default: [`Pin::Node`].
    ///
    /// Where the kernel refuses, the helper runs unpinned:
    /// [`Helper::pinned`] tells, and a warning event.
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = pin;
        self
    }

    /// Sets the name of each helper's thread by its index. Default: `firsttouch-0` and so on.
    ///
    /// Linux shows the first 15 bytes.
    pub fn thread_name(mut self, name: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        self.thread_name = Box::new(name);
        self
    }

    /// Sets the size of each helper's stack in bytes. Default: that of [`std::thread`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Sets how long a thread looks for work, or for the end of what it waits for, before it sleeps.
    ///
    /// Work that comes in that time finds a helper awake: it begins in a
    /// fraction of a microsecond, where a wake-up takes some tens of them. For
    /// the first sixteenth the thread keeps its CPU, then it offers it to other
    /// threads at each look; where one of them takes it, it soon sleeps. Zero
    /// means to sleep at once. Default: 100 microseconds, about what a wake-up
    /// costs.
    pub fn spin(mut self, time: Duration) -> Self {
        self.spin = time;
        self
    }

    /// Sets whose helpers may run what is queued on a node. Default: [`Steal::Anywhere`].
    ///
    /// A scope may let fewer run its tasks, and never more.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_pool::{Pool, Steal};
    ///
    /// let pool = Pool::builder().steal(Steal::Node).build()?;
    /// assert_eq!(pool.join(|| 1, || 2), (1, 2));
    /// assert!(pool.counters().iter().all(|counters| counters.remote_steals() == 0));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn steal(mut self, steal: Steal) -> Self {
        self.steal = steal;
        self
    }

    /// Sets what each helper's thread calls before it looks for its first work. Default: nothing.
    ///
    /// The helper is pinned by then. `build` does not wait for the handlers,
    /// so that one which takes its time delays only its own helper. In a
    /// handler the thread works for the pool: [`join`](crate::join) and the
    /// other functions of the crate mean this pool there. A panic in a handler
    /// is one for which no caller waits: it goes to the
    /// [panic handler](Self::panic_handler), and the helper works on.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let pool = firsttouch_pool::Pool::builder()
    ///     .start_handler(move |helper| sender.send(helper.index).unwrap())
    ///     .build()?;
    /// let mut started: Vec<_> = receiver.iter().take(pool.helpers().len()).collect();
    /// started.sort();
    /// assert!(started.into_iter().eq(0..pool.helpers().len()));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    ///
    /// It outlives the builder, so it cannot borrow:
    ///
    /// ```compile_fail,E0597
    /// let count = std::sync::atomic::AtomicUsize::new(0);
    /// let count = &count;
    /// firsttouch_pool::Pool::builder().start_handler(move |helper| {
    ///     count.fetch_add(helper.index, std::sync::atomic::Ordering::Relaxed);
    /// });
    /// ```
    ///
    /// ```
    /// static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    /// let count = &COUNT;
    /// firsttouch_pool::Pool::builder().start_handler(move |helper| {
    ///     count.fetch_add(helper.index, std::sync::atomic::Ordering::Relaxed);
    /// });
    /// ```
    ///
    /// Every helper calls the same one, so it cannot be bound to a thread:
    ///
    /// ```compile_fail,E0277
    /// let one = std::cell::Cell::new(1);
    /// firsttouch_pool::Pool::builder().start_handler(move |helper| one.set(helper.index));
    /// ```
    ///
    /// ```
    /// let one = std::sync::Mutex::new(1);
    /// firsttouch_pool::Pool::builder().start_handler(move |helper| {
    ///     *one.lock().unwrap() = helper.index;
    /// });
    /// ```
    pub fn start_handler(mut self, handler: impl Fn(&Helper) + Send + Sync + 'static) -> Self {
        self.handlers.start = Some(Box::new(handler));
        self
    }

    /// Sets what each helper's thread calls after its last work, when the pool shuts down. Default: nothing.
    ///
    /// Dropping the pool waits for it, so it must not wait for what the
    /// dropping thread does afterwards. The thread still works for the pool,
    /// but the other helpers may have ended: a [`broadcast`](crate::broadcast)
    /// there is run by this helper alone. A panic in a handler goes to the
    /// [panic handler](Self::panic_handler).
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let pool = firsttouch_pool::Pool::builder()
    ///     .exit_handler(move |helper| sender.send(helper.index).unwrap())
    ///     .build()?;
    /// let helpers = pool.helpers().len();
    /// drop(pool);
    /// assert_eq!(receiver.iter().count(), helpers);
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn exit_handler(mut self, handler: impl Fn(&Helper) + Send + Sync + 'static) -> Self {
        self.handlers.exit = Some(Box::new(handler));
        self
    }

    /// Sets what becomes of a panic for which no caller waits: in a closure of [`Pool::spawn`], or in another handler.
    ///
    /// The handler runs on the thread that panicked, which lives on; a panic
    /// in the handler is dropped. Default: a warning event.
    pub fn panic_handler(
        mut self,
        handler: impl Fn(Box<dyn Any + Send>) + Send + Sync + 'static,
    ) -> Self {
        self.handlers.panic = Some(Box::new(handler));
        self
    }

    /// Starts the helpers; returns when each has been pinned, or refused, and is ready.
    ///
    /// # Errors
    ///
    /// [`PoolError`] where the machine cannot be read, where the nodes or CPUs
    /// do not exist or leave none that is allowed, where the stack size, a
    /// thread's name or so many helpers cannot be had, and where the system
    /// refuses to start a thread, unless [fewer](Self::accept_fewer) will do.
    /// Nothing is left behind then.
    ///
    /// # Panics
    ///
    /// Where the function that names threads does.
    pub fn build(self) -> Result<Pool, PoolError> {
        let topology = match &self.topology {
            Some(topology) => Arc::clone(topology),
            None => Arc::new(Topology::discover()?),
        };
        if let Some(bytes) = self.stack_size.filter(|size| !(MIN_STACK..=MAX_STACK).contains(size))
        {
            return Err(PoolError::StackSize { bytes, min: MIN_STACK, max: MAX_STACK });
        }
        let plan = Plan::new(&self, &topology)?;
        let names: Vec<_> = (0..plan.helpers()).map(|helper| (self.thread_name)(helper)).collect();
        if let Some(helper) = names.iter().position(|name| name.contains('\0')) {
            let name = names.into_iter().nth(helper).unwrap_or_default();
            return Err(PoolError::ThreadName { helper, name });
        }
        let start = Start {
            topology,
            pin: self.pin,
            stack_size: self.stack_size,
            spin: self.spin,
            steal: self.steal,
            accept_fewer: self.accept_fewer,
            handlers: self.handlers,
        };
        let pool = start.helpers(plan, names)?;
        report(&pool, self.pin);
        Ok(pool)
    }

    /// Starts the pool that [`Pool::global`] gives, and that the crate's free functions use outside of every pool.
    ///
    /// For a program's `main`, before anything uses that pool; a library leaves
    /// it to the program. It is never dropped: its helpers sleep until the
    /// process ends.
    ///
    /// # Errors
    ///
    /// [`PoolError::GlobalExists`] where there is one already, built by this or
    /// by its first use, else as for [`build`](Self::build).
    ///
    /// # Panics
    ///
    /// As for [`build`](Self::build), and where it is called while the same thread builds it.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_pool::{HelperPer, Pool, PoolError};
    ///
    /// let pool = Pool::builder().helper_per(HelperPer::Core).build_global()?;
    /// assert_eq!(firsttouch_pool::broadcast(|_| ()).len(), pool.helpers().len());
    /// let again = Pool::builder().build_global();
    /// assert!(matches!(again, Err(PoolError::GlobalExists { .. })));
    /// # Ok::<(), PoolError>(())
    /// ```
    pub fn build_global(self) -> Result<&'static Pool, PoolError> {
        crate::global::build(self)
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("nodes", &self.nodes)
            .field("cpus", &self.cpus)
            .field("count", &self.count)
            .field("helper_per", &self.helper_per)
            .field("accept_fewer", &self.accept_fewer)
            .field("pin", &self.pin)
            .field("stack_size", &self.stack_size)
            .field("spin", &self.spin)
            .field("handlers", &self.handlers)
            .finish_non_exhaustive()
    }
}

/// Tells the log what became of the pool.
fn report(pool: &Pool, pin: Pin) {
    tracing::debug!(
        nodes = %pool.nodes().map(|(node, _)| node).collect::<NodeSet>(),
        helpers = pool.helpers().len(),
        ?pin,
        "pool started"
    );
    for helper in pool.helpers().iter().filter(|helper| helper.pinned == Pinned::Refused) {
        tracing::warn!(
            helper = helper.index,
            node = helper.node.os_index(),
            "the kernel refused to pin this helper; it runs unpinned"
        );
    }
}
