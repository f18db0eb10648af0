//! The engine of loops: who takes part, and the chunks that each thread takes.

use std::ops::Range;
use std::time::Instant;

use firsttouch_pool::{Helper, Pool, Team};
use firsttouch_topology::{NodeId, affinity};

use crate::claims::Seat;
use crate::job::help::expected::{Entry, Expected};
use crate::job::help::{Help, Pause, Way, ticks};
use crate::job::run::{OnUnwind, Thread};
use crate::job::sites::{Sites, distance};
use crate::job::work::Work;
use crate::location::parts::Share;
use crate::options::Options;
use crate::schedule::Order;
use crate::{JobError, Location, Plan, plan};

/// The chunks that one thread takes, one after another.
pub(crate) enum ThreadChunks<'t, 'r> {
    /// All of them: nobody else takes part.
    Alone(plan::Chunks<'t, usize>),
    /// All of them unless they take longer than expected: nobody else has been asked yet.
    Brief(Brief<'t>),
    Anywhere(&'t mut Anywhere<'r>),
    Located(&'t mut Thread<'r>),
}

impl ThreadChunks<'_, '_> {
    /// The node that the thread works on.
    pub(crate) fn node(&self, pool: &Pool) -> Option<NodeId> {
        let known = match self {
            Self::Alone(_) | Self::Brief(_) => None,
            Self::Anywhere(way) => way.helper_node,
            Self::Located(thread) => thread.node(),
        };
        known.or_else(|| pool.topology().node_of_cpu(affinity::current_cpu()))
    }
}

impl Iterator for ThreadChunks<'_, '_> {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        match self {
            Self::Alone(chunks) => chunks.next(),
            Self::Brief(brief) => brief.take(),
            Self::Anywhere(way) => way.take(),
            Self::Located(thread) => thread.take().map(|(_, range)| range),
        }
    }
}

/// The caller's way through a loop that is expected to be over before help would pay.
pub(crate) struct Brief<'p> {
    chunks: plan::Chunks<'p, usize>,
    /// By [`ticks`].
    began: u64,
    has_begun: bool,
}

impl Brief<'_> {
    #[inline]
    /// Takes a chunk at least; another while the time of a brief loop is not over, about.
    fn take(&mut self) -> Option<Range<usize>> {
        let is_over = || ticks::now().wrapping_sub(self.began) >= ticks::MICROSECOND;
        if std::mem::replace(&mut self.has_begun, true) && is_over() {
            return None;
        }
        self.chunks.next()
    }
}

/// A thread's way through a range that lives nowhere in particular.
#[derive(Clone, Debug)]
pub(crate) struct Anywhere<'r> {
    work: &'r Work<'r>,
    seat: Seat,
    pause: Pause,
    /// Units taken.
    taken: usize,
    /// The node of a helper; `None` for a caller from outside.
    helper_node: Option<NodeId>,
}

impl<'r> Anywhere<'r> {
    #[inline]
    fn new(work: &'r Work<'r>, helper: Option<&Helper>) -> Self {
        let seat = Seat::of(helper.map_or(0, |helper| helper.index));
        let helper_node = helper.map(|helper| helper.node);
        Self { work, seat, pause: Pause::default(), taken: 0, helper_node }
    }

    #[inline]
    fn take(&mut self) -> Option<Range<usize>> {
        // A look at the clock takes longer than one at what is left.
        if self.pause.is_set() && (self.work.is_used_up() || self.pause.is_now()) {
            return None;
        }
        let taken = self.work.take(&mut self.seat);
        self.taken += taken.as_ref().map_or(0, Range::len);
        taken
    }
}

impl Way for Anywhere<'_> {
    #[inline]
    fn pause_at(&mut self, time: Option<Instant>) {
        self.pause = Pause::at(time);
    }

    #[inline]
    fn is_used_up(&self) -> bool {
        self.work.is_used_up()
    }

    fn taken(&self) -> Option<(usize, usize)> {
        // It is asked for at once, whatever it took.
        (!self.work.is_guided()).then_some((self.taken, self.work.size))
    }
}

/// Calls `body` on every thread that takes part, with the chunks of the range that are that thread's.
///
/// Every chunk is taken once. On the caller `body` may be called twice.
pub(crate) fn run(
    pool: &Pool,
    options: &Options,
    help: Help,
    range: Range<usize>,
    body: impl Fn(&mut ThreadChunks<'_, '_>) + Sync,
) -> Result<(), JobError> {
    if is_anywhere(pool, &options.location) {
        return run_anywhere(pool, options, help, range, body);
    }
    let sites = Sites::of(pool);
    let shares = shares(options, range, &sites)?;
    run_shares(pool, options, help, &sites, &shares, body)
}

/// Whether it makes no difference which thread takes what.
#[inline]
pub(crate) fn is_anywhere(pool: &Pool, location: &Location) -> bool {
    match location {
        Location::Anywhere => true,
        Location::Spread => pool.topology().nodes().len() <= 1,
        Location::PerNode(_) => false,
    }
}

/// The shares of a range that lives on nodes.
pub(crate) fn shares(
    options: &Options,
    range: Range<usize>,
    sites: &Sites<'_>,
) -> Result<Vec<Share>, JobError> {
    // Checks the numbers, whatever the parts are.
    let whole = options.plan(range, usize::MAX)?;
    options.shares(whole.range(), whole.threads(), sites)
}

/// As [`run`], over shares that the caller answers for.
pub(crate) fn run_shares(
    pool: &Pool,
    options: &Options,
    help: Help,
    sites: &Sites<'_>,
    shares: &[Share],
    body: impl Fn(&mut ThreadChunks<'_, '_>) + Sync,
) -> Result<(), JobError> {
    let running = options.ready(sites, shares, false)?;
    running.run(pool, help, |thread| {
        thread.look();
        body(&mut ThreadChunks::Located(thread));
    });
    Ok(())
}

/// A range that lives nowhere in particular needs nobody seated: one queue, which all take from.
///
/// Nothing here allocates but the pool's own call, unless there are more
/// threads than a queue has room for in this frame, or nodes to choose from.
pub(super) fn run_anywhere<B: Fn(&mut ThreadChunks<'_, '_>) + Sync>(
    pool: &Pool,
    options: &Options,
    help: Help,
    range: Range<usize>,
    body: B,
) -> Result<(), JobError> {
    let helpers = pool.helpers().len();
    let calling = pool.current_helper();
    // A caller from outside can be one more.
    let most =
        options.threads(helpers, pool.topology()).min(helpers + usize::from(calling.is_none()));
    let mut entry = Entry::of(run_anywhere::<B> as *const () as usize, range.len());
    let learns = help.after.is_none() && options.cut.order != Order::Guided;
    let expected = if learns { entry.expected() } else { Expected::Long };
    let mut plan = options.plan_expecting(range, most, expected)?;
    if plan.threads() > 1 && expected == Expected::Brief {
        match run_briefly(&plan, &body) {
            None => return Ok(()),
            Some(left) => {
                entry.note(Expected::Short);
                entry = entry.of_rest();
                plan = options.plan_expecting(left, most, Expected::Short)?;
            }
        }
    }
    let threads = plan.threads();
    if threads <= 1 {
        let plan = options.cut.alone(plan);
        if plan.chunks() > 0 {
            body(&mut ThreadChunks::Alone(plan.iter()));
        }
        return Ok(());
    }
    let claims = Work::claims(&plan, options.cut.order);
    let work = Work::anywhere(plan, options.cut.order, claims.as_ref());
    let own = |way: &mut Anywhere<'_>| {
        let close = OnUnwind(|| work.close());
        body(&mut ThreadChunks::Anywhere(way));
        close.forget();
    };
    let caller = Anywhere::new(&work, calling);
    let team = || team(pool, calling, threads);
    help.run(pool, caller, entry, team, own, |helper| {
        // One that comes late looks at nothing else in the caller's cache.
        if !work.is_used_up() {
            own(&mut Anywhere::new(&work, Some(helper)));
        }
    });
    Ok(())
}

/// Begins a loop without asking anybody; returns what is left where it takes longer than expected.
fn run_briefly(
    plan: &Plan<usize>,
    body: &impl Fn(&mut ThreadChunks<'_, '_>),
) -> Option<Range<usize>> {
    let brief = Brief { chunks: plan.iter(), began: ticks::now(), has_begun: false };
    let mut chunks = ThreadChunks::Brief(brief);
    body(&mut chunks);
    let ThreadChunks::Brief(mut brief) = chunks else { return None };
    brief.chunks.next().map(|next| next.start..plan.range().end)
}

/// So many threads, the caller one of them, those nearest to it.
fn team(pool: &Pool, calling: Option<&Helper>, threads: usize) -> Team {
    // No part is on the caller's node, which is then no reason to keep it there.
    let team = Team::new().keep_caller(false);
    let mut nodes = pool.nodes();
    match (nodes.next(), nodes.next()) {
        (Some((node, _)), None) => team.invite(node, threads - 1),
        _ => team_of_nodes(pool, calling, threads, team),
    }
}

fn team_of_nodes(pool: &Pool, calling: Option<&Helper>, threads: usize, mut team: Team) -> Team {
    let topology = pool.topology();
    let here =
        calling.map(|helper| helper.node).or_else(|| topology.node_of_cpu(affinity::current_cpu()));
    let mut nodes: Vec<(NodeId, usize)> = pool.nodes().collect();
    if let Some(here) = here {
        nodes.sort_by_key(|&(node, _)| distance(topology, here, node));
    }
    // The caller uses a helper's CPU, where it is not asked for on top of all helpers.
    let stands_in = calling.is_some() || threads <= pool.helpers().len();
    let mut left = threads - 1;
    for (node, helpers) in nodes {
        let others = helpers - usize::from(stands_in && here == Some(node));
        let invited = others.min(left);
        left -= invited;
        team = team.invite(node, invited);
    }
    team
}
