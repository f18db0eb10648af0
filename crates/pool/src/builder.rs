//! The builder: which CPUs a pool uses, how many helpers, and how they start.

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use firsttouch_topology::{CpuSet, Node, NodeId, NodeSet, Topology};

use crate::deque::Deque;
use crate::error::PoolError;
use crate::helper::{self, Helper};
use crate::pin::{Kept, Pin, Pinned, Place};
use crate::pool::Pool;
use crate::shared::{HelperWork, NodeWork, PanicHandler, Shared, Started};
use crate::spin;
use crate::spread::{one_per_core_first, spread};
use crate::steal::Steal;
use crate::storage::OwnPages;
use crate::sync;
use crate::worker::Worker;

/// Room for the helper's own frames and for the report of a panic, in bytes.
const MIN_STACK: usize = 64 << 10;

/// A quarter of what an address can name, in bytes: the arithmetic of every C library stays in range.
const MAX_STACK: usize = usize::MAX / 4;

/// `PID_MAX_LIMIT` of 64-bit kernels: no kernel runs more threads.
const MAX_HELPERS: usize = 4 << 20;

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
    helpers_per_node: Option<NonZeroUsize>,
    pin: Pin,
    thread_name: Box<dyn Fn(usize) -> String + Send + Sync>,
    stack_size: Option<usize>,
    spin: Duration,
    steal: Steal,
    panic_handler: Option<PanicHandler>,
}

impl PoolBuilder {
    pub(crate) fn new() -> Self {
        Self {
            topology: None,
            nodes: None,
            cpus: None,
            helpers_per_node: None,
            pin: Pin::default(),
            thread_name: Box::new(|helper| format!("firsttouch-{helper}")),
            stack_size: None,
            spin: spin::DEFAULT,
            steal: Steal::default(),
            panic_handler: None,
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

    /// Sets the number of helpers on each node that has a CPU for them.
    ///
    /// Default: as many in all as the CPUs, and the CPU quota of the process's
    /// control groups, let run at once; spread over the nodes in proportion to
    /// their CPUs, at least one on each while there are enough.
    pub fn helpers_per_node(mut self, helpers: NonZeroUsize) -> Self {
        self.helpers_per_node = Some(helpers);
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
    /// threads at each look. Zero means to sleep at once. Default: 100
    /// microseconds, about what a wake-up costs.
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

    /// Sets what becomes of a panic in a closure of [`Pool::spawn`], for which no caller waits.
    ///
    /// The handler runs on the helper, which lives on; a panic in the handler
    /// is dropped. Default: a warning event.
    pub fn panic_handler(
        mut self,
        handler: impl Fn(Box<dyn Any + Send>) + Send + Sync + 'static,
    ) -> Self {
        self.panic_handler = Some(Box::new(handler));
        self
    }

    /// Starts the helpers; returns when each has been pinned, or refused, and is ready.
    ///
    /// # Errors
    ///
    /// [`PoolError`] where the machine cannot be read, where the nodes or CPUs
    /// do not exist or leave none that is allowed, where the stack size, a
    /// thread's name or so many helpers cannot be had, and where the system refuses to start a
    /// thread. Nothing is left behind then.
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
        let plans = self.plan(&topology)?;
        let names: Vec<_> = (0..plans.len()).map(|helper| (self.thread_name)(helper)).collect();
        if let Some(helper) = names.iter().position(|name| name.contains('\0')) {
            let name = names.into_iter().nth(helper).unwrap_or_default();
            return Err(PoolError::ThreadName { helper, name });
        }
        let pool = start(
            topology,
            plans,
            names,
            self.stack_size,
            self.spin,
            self.steal,
            self.panic_handler,
        )?;
        report(&pool, self.pin);
        Ok(pool)
    }

    /// Decides which helper goes where.
    fn plan(&self, topology: &Topology) -> Result<Vec<Plan>, PoolError> {
        let nodes = self.usable_cpus(topology)?;
        // How many threads the process may run at once on each node.
        let cpus: Vec<_> = nodes.iter().map(|(_, cpus)| cpus.len()).collect();
        let parallelism = topology.allowed().parallelism().get();
        let capacities = spread(parallelism.min(cpus.iter().sum()), &cpus);
        let counts = match self.helpers_per_node {
            Some(helpers) => vec![helpers.get(); nodes.len()],
            None => capacities.clone(),
        };
        // Before anything is planned for each, which could take all memory.
        let wanted = counts.iter().fold(0, |all: usize, &count| all.saturating_add(count));
        if wanted > MAX_HELPERS {
            return Err(PoolError::TooManyHelpers { wanted, max: MAX_HELPERS });
        }
        let mut plans: Vec<Plan> = Vec::with_capacity(wanted);
        let used = counts.iter().filter(|&&count| count > 0).count();
        for (((node, cpus), count), capacity) in nodes.into_iter().zip(counts).zip(capacities) {
            let singly = one_per_core_first(topology, &cpus);
            let places = singly.into_iter().cycle().map(|cpu| match self.pin {
                Pin::Node => Place::Node(node, cpus.clone()),
                Pin::Cpu => Place::Cpu(cpu),
                Pin::None => Place::Anywhere,
            });
            plans.extend(places.take(count).enumerate().map(|(index, place)| Plan {
                node,
                place,
                first_of: (index == 0).then_some((count, capacity)),
                nodes: used,
            }));
        }
        Ok(plans)
    }

    /// Returns the nodes that have CPUs for helpers, and these CPUs.
    fn usable_cpus(&self, topology: &Topology) -> Result<Vec<(NodeId, CpuSet)>, PoolError> {
        let present: NodeSet = topology.nodes().iter().map(Node::id).collect();
        let chosen_nodes = self.nodes.as_ref().unwrap_or(&present);
        let absent = chosen_nodes.difference(&present);
        if !absent.is_empty() {
            return Err(PoolError::NoSuchNode { absent, present });
        }
        let online = topology.online_cpus();
        let chosen_cpus = self.cpus.as_ref().unwrap_or(online);
        let absent = chosen_cpus.difference(online);
        if !absent.is_empty() {
            return Err(PoolError::NoSuchCpu { absent, online: online.clone() });
        }
        let mut nodes = cpus_by_node(topology);
        nodes.retain(|(node, _)| chosen_nodes.contains(*node));
        let chosen = nodes.iter().fold(CpuSet::new(), |all, (_, cpus)| all.union(cpus));
        let chosen = chosen.intersection(chosen_cpus);
        let allowed = topology.allowed().cpus();
        let usable = chosen.intersection(allowed);
        if usable.is_empty() {
            return Err(PoolError::NoCpus { allowed: allowed.clone(), chosen });
        }
        for (_, cpus) in &mut nodes {
            *cpus = cpus.intersection(&usable);
        }
        nodes.retain(|(_, cpus)| !cpus.is_empty());
        Ok(nodes)
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("nodes", &self.nodes)
            .field("cpus", &self.cpus)
            .field("helpers_per_node", &self.helpers_per_node)
            .field("pin", &self.pin)
            .field("stack_size", &self.stack_size)
            .field("spin", &self.spin)
            .field("steal", &self.steal)
            .finish_non_exhaustive()
    }
}

/// Where one helper is to go.
struct Plan {
    node: NodeId,
    place: Place,
    /// Where it is the first of its node, the node's helpers and how many threads it has CPUs for.
    first_of: Option<(usize, usize)>,
    /// How many nodes the pool has.
    nodes: usize,
}

/// Returns every node with its CPUs; CPUs that no node names go to the first node that has CPUs, else to the first.
fn cpus_by_node(topology: &Topology) -> Vec<(NodeId, CpuSet)> {
    let mut nodes: Vec<_> =
        topology.nodes().iter().map(|node| (node.id(), node.cpus().clone())).collect();
    let named = nodes.iter().fold(CpuSet::new(), |all, (_, cpus)| all.union(cpus));
    let homeless = topology.online_cpus().difference(&named);
    let first = nodes.iter().position(|(_, cpus)| !cpus.is_empty()).unwrap_or(0);
    if let (false, Some((node, cpus))) = (homeless.is_empty(), nodes.get_mut(first)) {
        tracing::warn!(
            cpus = %homeless,
            node = node.os_index(),
            "no node names these CPUs; their helpers work for this node"
        );
        *cpus = cpus.union(&homeless);
    }
    nodes
}

/// Starts every helper, or none.
fn start(
    topology: Arc<Topology>,
    plans: Vec<Plan>,
    names: Vec<String>,
    stack_size: Option<usize>,
    spin: Duration,
    steal: Steal,
    panic_handler: Option<PanicHandler>,
) -> Result<Pool, PoolError> {
    let wanted = plans.len();
    let mut threads = Vec::with_capacity(wanted);
    let mut starting = Vec::with_capacity(wanted);
    for (index, (plan, name)) in plans.into_iter().zip(names).enumerate() {
        let (report, reported) = mpsc::sync_channel(1);
        let (share, shared) = mpsc::sync_channel(1);
        let mut thread = thread::Builder::new().name(name);
        if let Some(bytes) = stack_size {
            thread = thread.stack_size(bytes);
        }
        match thread.spawn(move || live(index, plan, &report, &shared)) {
            Ok(thread) => threads.push(thread),
            Err(source) => {
                // The helpers already started end when nobody can tell them what they share.
                drop(starting);
                for thread in threads.drain(..) {
                    let _ = thread.join();
                }
                return Err(PoolError::Spawn { started: index, wanted, source });
            }
        }
        starting.push((reported, share));
    }
    let (reports, shares): (Vec<_>, Vec<_>) = starting.into_iter().unzip();
    let started = reports
        .into_iter()
        .map(|reported| reported.recv().expect("a helper reports before it can fail"));
    let shared = Arc::new(Shared::new(topology, started.collect(), spin, steal, panic_handler));
    for share in shares {
        share.send(Arc::clone(&shared)).expect("a helper waits for what it shares");
    }
    Ok(Pool::from_parts(shared, threads))
}

/// A helper's life: it pins itself, reports, and runs work until the pool shuts down.
fn live(
    index: usize,
    plan: Plan,
    report: &mpsc::SyncSender<Started>,
    shared: &mpsc::Receiver<Arc<Shared>>,
) {
    let pinned = plan.place.pin_current();
    // Made here, so that their memory is first touched on the helper's node.
    let deque = Deque::new();
    let work = OwnPages::new(HelperWork::new(plan.nodes));
    let node_work =
        plan.first_of.map(|(helpers, capacity)| OwnPages::new(NodeWork::new(helpers, capacity)));
    let started = Started {
        helper: Helper { index, node: plan.node, pinned },
        thread: sync::current(),
        stealer: deque.stealer(),
        work,
        node_work,
    };
    // Where a later helper could not be started, nobody listens any more.
    if report.send(started).is_err() {
        return;
    }
    let Ok(shared) = shared.recv() else { return };
    let node = shared.place_of_node(index);
    let kept = Kept::to(plan.place, pinned);
    helper::run(&Worker::helper(&shared, deque, node, index), index, kept);
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
