//! Teams: which helpers take part in a fork-join call, and the call itself.

use std::fmt;

use firsttouch_topology::{NodeId, affinity};

use crate::call::{Call, CallRef, Share};
use crate::caller::Caller;
use crate::completion::Remaining;
use crate::current::with_current;
use crate::front::Tickets;
use crate::helper::Helper;
use crate::panic::catch;
use crate::pin::KeptCaller;
use crate::shared::Shared;
use crate::sync::offer_cpu;
use crate::worker::Worker;

/// Which helpers take part in a fork-join call.
///
/// The caller always does; an empty team is the caller alone.
///
/// # Examples
///
/// ```
/// use firsttouch_pool::{Pool, Team};
///
/// let pool = Pool::new()?;
/// // Every helper that comes in time, and at least one of the first node.
/// let mut team = Team::new();
/// for (node, helpers) in pool.nodes() {
///     team = team.invite(node, helpers);
/// }
/// let first = pool.helpers()[0].node;
/// let members = pool.run(&team.require(first, 1), |member| assert!(member.index() <= 1024));
/// assert!(members >= 2);
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct Team {
    /// The first node that was named: most teams are of one, and so need no allocation.
    first: Option<Wanted>,
    /// The others. Invariant: no node twice, the first included; empty where there is no first.
    more: Vec<Wanted>,
    keep: Keep,
    wakes_late: bool,
}

/// Where a caller from outside is kept during the call.
#[derive(Clone, Copy, Debug, Default)]
enum Keep {
    /// On its node where the machine has several.
    #[default]
    WhereSeveral,
    No,
    OnItsNode,
    On(NodeId),
}

/// What a team wants of one node.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    node: NodeId,
    invited: usize,
    required: usize,
}

impl Team {
    /// Returns a team that is the caller alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Invites up to `helpers` helpers of a node: those that come before the caller's own part is over.
    ///
    /// Adds to earlier calls for the node. More than the node has means all it
    /// has; a node without helpers has none.
    pub fn invite(mut self, node: NodeId, helpers: usize) -> Self {
        let wanted = self.wanted(node);
        wanted.invited = wanted.invited.saturating_add(helpers);
        self
    }

    /// Requires `helpers` helpers of a node: the caller waits until they have come and run the closure.
    ///
    /// Adds to earlier calls for the node. More than the node has means all it
    /// has, without the caller where it is one of them; a node without helpers
    /// has none.
    pub fn require(mut self, node: NodeId, helpers: usize) -> Self {
        let wanted = self.wanted(node);
        wanted.required = wanted.required.saturating_add(helpers);
        self
    }

    /// Leaves invited helpers that sleep asleep until the caller's member calls [`Member::wake`]. Default: they are woken first.
    ///
    /// To wake a helper costs the caller some microseconds, which a short call
    /// is better without. Helpers that are awake come as ever, and those that
    /// are required are woken.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use std::time::{Duration, Instant};
    /// use firsttouch_pool::{Pool, Team};
    ///
    /// let pool = Pool::new()?;
    /// let (next, began) = (AtomicUsize::new(0), Instant::now());
    /// let team = Team::new().invite(pool.helpers()[0].node, 1).wake_late();
    /// pool.run(&team, |member| {
    ///     while next.fetch_add(1, Ordering::Relaxed) < 1_000 {
    ///         if began.elapsed() > Duration::from_micros(20) {
    ///             member.wake();
    ///         }
    ///     }
    /// });
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn wake_late(mut self) -> Self {
        self.wakes_late = true;
        self
    }

    /// Says whether a caller from outside keeps to the node it is on.
    ///
    /// Its affinity is narrowed for the call and restored after. Default:
    /// it does where the machine has several nodes. Where the kernel refuses,
    /// the call goes on without, and a debug event says so.
    pub fn keep_caller(mut self, keep: bool) -> Self {
        self.keep = if keep { Keep::OnItsNode } else { Keep::No };
        self
    }

    /// Keeps a caller from outside to this node, as [`Team::keep_caller`] does to the one it is on.
    ///
    /// For a caller whose part was chosen for the node that it was on before
    /// the call: it may have moved since. A caller that may use none of the
    /// node's CPUs stays as it is.
    pub fn keep_caller_on(mut self, node: NodeId) -> Self {
        self.keep = Keep::On(node);
        self
    }

    fn wanted(&mut self, node: NodeId) -> &mut Wanted {
        let new = Wanted { node, invited: 0, required: 0 };
        let first = self.first.get_or_insert(new);
        if first.node == node {
            return first;
        }
        let index = self.more.iter().position(|wanted| wanted.node == node);
        let index = index.unwrap_or_else(|| {
            self.more.push(new);
            self.more.len() - 1
        });
        &mut self.more[index]
    }

    /// Keeps a caller from outside to its node, as the team says.
    pub(crate) fn keep(&self, caller: &Caller<'_>) -> Option<KeptCaller> {
        let topology = &caller.shared().topology;
        let here = || topology.node_of_cpu(affinity::current_cpu());
        let several_nodes = topology.nodes().len() > 1;
        let node = match self.keep {
            _ if caller.helper().is_some() => None,
            Keep::No => None,
            Keep::WhereSeveral if !several_nodes => None,
            Keep::WhereSeveral | Keep::OnItsNode => here(),
            Keep::On(node) => Some(node),
        };
        KeptCaller::on(topology, node?)
    }

    /// Returns what the team asks of the pool's nodes, no more than they have.
    pub(crate) fn asks<'t>(
        &'t self,
        shared: &'t Shared,
        caller: Option<usize>,
    ) -> impl Iterator<Item = Ask> + Clone + 't {
        self.first.iter().chain(&self.more).filter_map(move |wanted| wanted.ask(shared, caller))
    }

    /// As [`Team::asks`], where that is one node at most; `None` where the team names several.
    ///
    /// Of one node it need be found out once.
    pub(crate) fn asks_one(&self, shared: &Shared, caller: Option<usize>) -> Option<Option<Ask>> {
        let ask = || self.first.and_then(|wanted| wanted.ask(shared, caller));
        self.more.is_empty().then(ask)
    }

    /// Whether helpers that need not come are woken only when the caller says so.
    pub(crate) fn wakes_late(&self) -> bool {
        self.wakes_late
    }
}

impl Wanted {
    /// What it comes to: no more helpers than there are.
    fn ask(self, shared: &Shared, caller: Option<usize>) -> Option<Ask> {
        let node = shared.nodes.iter().position(|node| node.id == self.node)?;
        let there = shared.others_on_node(node, caller);
        let required = self.required.min(there);
        let optional = self.invited.min(there - required);
        Some(Ask { node, tickets: Tickets { required, optional } })
    }
}

/// What a call asks of one of the pool's nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// The node's place in the pool.
    pub(crate) node: usize,
    pub(crate) tickets: Tickets,
}

/// Runs `own`, if there is any, on the caller and `share` on the helpers that come; returns how many took part, the caller included.
///
/// Returns, or resumes the first panic, when nobody runs `share` any more.
pub(crate) fn fork(
    caller: &Caller<'_>,
    asks: impl Iterator<Item = Ask> + Clone,
    wakes_late: bool,
    share: &impl Share,
    own: Option<impl FnOnce()>,
) -> usize {
    let shared = caller.shared();
    let asks = asks.filter(|ask| ask.tickets.total() > 0);
    let invited: usize = asks.clone().map(|ask| ask.tickets.total()).sum();
    let mut call = Call::new(invited);
    let reference = CallRef::new(&call, share);
    // A scope further down this stack must not push on the deque meanwhile.
    let _frame = caller.enter();
    let invites = |ask: &Ask| !wakes_late && ask.tickets.optional > 0;
    asks.clone().filter(invites).for_each(|ask| shared.begin_inviting(ask.node));
    // All nodes are asked before any helper is woken, which takes long.
    let wanted = |tickets: Tickets| Tickets {
        optional: if wakes_late { 0 } else { tickets.optional },
        ..tickets
    };
    let (mut first, mut sleepers) = (1, Places::default());
    for (place, Ask { node, tickets }) in asks.clone().enumerate() {
        if shared.invite(
            caller.as_worker(),
            node,
            reference,
            first,
            tickets,
            wanted(tickets).total(),
        ) {
            sleepers.insert(place);
        }
        first += tickets.total();
    }
    let shares_out = || asks.clone().any(|ask| ask.tickets.optional > 0);
    if own.is_some() && (!sleepers.is_empty() || shares_out()) {
        caller.note_cpu();
    }
    let must_wake = asks.clone().enumerate().filter(|&(place, _)| sleepers.contains(place));
    let summon = |(_, Ask { node, tickets })| shared.summon(node, wanted(tickets));
    offer_cpu_after(must_wake.map(summon));
    // Nothing between the first invitation and the end of the wait can
    // unwind, as the helpers use this frame; but where `own` has forked, no
    // helper has it in the child.
    let own = own.map_or(Ok(()), |own| catch(|| caller.run(own)));
    shared.process.assert_here();
    if let Err(payload) = own {
        call.keep_panic(payload);
    }
    let withdrawable = asks.clone().filter(|ask| ask.tickets.optional > 0);
    let withdrawn: usize = withdrawable.map(|ask| shared.withdraw(ask.node, &reference)).sum();
    asks.clone().filter(invites).for_each(|ask| shared.end_inviting(ask.node));
    if withdrawn < invited && call.give_up(withdrawn) == Remaining::Others {
        caller.wait(call.done());
    }
    for Ask { node, .. } in asks {
        shared.close(node, &reference);
    }
    call.resume_panic();
    1 + invited - withdrawn
}

/// Offers the CPU where any of these wake-ups has woken somebody: after the last, as others may have the CPU for long.
fn offer_cpu_after(wake_ups: impl Iterator<Item = bool>) {
    if wake_ups.filter(|&woke| woke).count() > 0 {
        offer_cpu();
    }
}

/// Some of a call's nodes, by their place in its team; from the 64th on they are one.
#[derive(Clone, Copy, Default)]
struct Places(u64);

impl Places {
    fn insert(&mut self, place: usize) {
        self.0 |= 1 << place.min(63);
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn contains(self, place: usize) -> bool {
        self.0 & 1 << place.min(63) != 0
    }
}

/// A call that wakes late, as its caller knows it.
#[derive(Clone, Copy)]
pub(crate) struct Late<'a> {
    team: &'a Team,
    lacks_helpers: bool,
}

impl<'a> Late<'a> {
    /// Looks at a team before its call is made; `None` where the call does not wake late.
    ///
    /// After, what this looks at would have to come back from who watches for the call.
    pub(crate) fn of(team: &'a Team, caller: &Caller<'_>) -> Option<Self> {
        let shared = caller.shared();
        let lacks = |Ask { node, tickets }: Ask| shared.searching(node) < tickets.total();
        let lacks_helpers = || team.asks(shared, caller.helper()).any(lacks);
        team.wakes_late.then(|| Self { team, lacks_helpers: lacks_helpers() })
    }
}

/// One thread's part in a fork-join call.
pub struct Member<'a> {
    index: usize,
    shared: &'a Shared,
    helper: Option<usize>,
    is_caller: bool,
    /// What only the caller of a call that wakes late has.
    late: Option<Late<'a>>,
}

impl<'a> Member<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        index: usize,
        helper: Option<usize>,
        is_caller: bool,
    ) -> Self {
        Self { index, shared, helper, is_caller, late: None }
    }

    /// The caller's member of a call of this team.
    pub(crate) fn waking(self, late: Option<Late<'a>>) -> Self {
        Self { late, ..self }
    }

    /// Returns whether fewer helpers look for work than a call that [wakes late](Team::wake_late) invites; false elsewhere.
    ///
    /// The others slept or ran something when the call was made: without
    /// [`Member::wake`] they may not come.
    #[must_use]
    pub fn lacks_helpers(&self) -> bool {
        self.late.is_some_and(|late| late.lacks_helpers)
    }

    /// Wakes helpers for a call that [wakes late](Team::wake_late): as many as are still invited.
    ///
    /// Does nothing on other members, or in other calls. Once is enough; each
    /// time costs as much as what it wakes.
    pub fn wake(&self) {
        let Some(late) = self.late else { return };
        with_current(self.shared, |worker| worker.into_iter().for_each(Worker::note_cpu_of_guest));
        let asks = late.team.asks(self.shared, self.helper);
        offer_cpu_after(asks.map(|ask| self.shared.summon_late(ask.node, ask.tickets)));
    }

    /// Returns the member's number: 0 for the caller, and for helpers one from 1 to as many as were asked, none twice.
    ///
    /// In a [`broadcast`](crate::Pool::broadcast) it is the helper's index.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the helper that this member is; `None` for a caller from outside of the pool.
    #[must_use]
    pub fn helper(&self) -> Option<&Helper> {
        self.shared.helpers.get(self.helper?)
    }

    /// Returns the node this thread works on: its own where it is a pinned helper, else that of the CPU it is on now.
    ///
    /// A thread that is not pinned may have moved by the time the caller
    /// looks. `None` where no node names the CPU.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self.helper() {
            Some(helper) if helper.pinned.is_granted() => Some(helper.node),
            _ => self.shared.topology.node_of_cpu(affinity::current_cpu()),
        }
    }

    /// Returns whether this member is the thread that made the call.
    #[must_use]
    pub fn is_caller(&self) -> bool {
        self.is_caller
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("index", &self.index)
            .field("helper", &self.helper())
            .field("is_caller", &self.is_caller)
            .finish()
    }
}
