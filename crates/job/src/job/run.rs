//! A run: the caller and the helpers that come take chunks of shares until none is left.
//!
//! Jobs and loops both stand on it. A job adds its report, errors and tracing;
//! a loop adds nothing.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Instant;

use firsttouch_pool::{Helper, Pool, Team};
use firsttouch_topology::{CpuId, NodeId, affinity};

use crate::Steal;
use crate::claims::Seat;
use crate::job::counter::Counter;
use crate::job::help::expected::Entry;
use crate::job::help::{Help, Pause, Way};
use crate::job::seats::{Adopter, Demand, Seating};
use crate::job::sites::{Sites, distance};
use crate::job::work::Work;

/// Shares and who sits where, while they are run.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    steal: Steal,
    sites: &'a Sites<'a>,
    demands: Vec<Demand>,
    work: Vec<Work<'a>>,
    seating: Seating,
    /// For each site, how many of its helpers have come: the next one's seat.
    came: Vec<Counter>,
    /// The most helpers that are asked for; set before they are.
    most_helpers: OnceLock<usize>,
}

impl<'a> Running<'a> {
    pub(crate) fn new(
        steal: Steal,
        sites: &'a Sites<'a>,
        demands: Vec<Demand>,
        work: Vec<Work<'a>>,
        seating: Seating,
    ) -> Self {
        let came = |(site, seats): (usize, &Vec<usize>)| {
            sites.counter(Some(site).filter(|_| !seats.is_empty()))
        };
        let came = seating.seats.iter().enumerate().map(came).collect();
        Self { steal, sites, demands, work, seating, came, most_helpers: OnceLock::new() }
    }

    /// The shares.
    pub(crate) fn work(&self) -> &[Work<'a>] {
        &self.work
    }

    /// Threads that are to take part.
    pub(crate) fn threads(&self) -> usize {
        self.seating.total()
    }

    /// Whether no helper is asked for.
    pub(crate) fn is_caller_alone(&self) -> bool {
        self.seating.is_caller_alone()
    }

    /// Helpers that are to take part.
    pub(crate) fn helpers(&self) -> usize {
        self.seating.seats.iter().map(Vec::len).sum()
    }

    /// Nodes of which a helper must come.
    pub(crate) fn required(&self) -> usize {
        self.seating.required.iter().filter(|&&required| required).count()
    }

    /// Whether a helper of the node must come.
    pub(crate) fn requires(&self, node: NodeId) -> bool {
        self.sites.index_of(node).is_some_and(|site| self.seating.required[site])
    }

    /// Has no more helpers asked for than this, but for those that must come; once, before [`run`](Self::run).
    pub(crate) fn limit_helpers(&self, most: usize) {
        let _ = self.most_helpers.set(most);
    }

    /// The site whose helpers begin with a share.
    pub(crate) fn writers(&self, share: usize) -> Option<usize> {
        self.demands[share].serving.first().copied().filter(|_| !self.seating.is_caller_alone())
    }

    /// Has no thread take another chunk.
    pub(crate) fn close(&self) {
        self.work.iter().for_each(Work::close);
    }

    /// Whether all chunks are taken.
    pub(crate) fn is_used_up(&self) -> bool {
        self.work.iter().all(Work::is_used_up)
    }

    /// The calling thread's way through the shares; `number` is its own in the pool.
    fn caller(&self, number: usize) -> Thread<'_> {
        // A helper that calls is still where it was pinned.
        Thread::new(self, true, self.sites.calling_helper(), self.seating.caller, number)
    }

    /// The way of a helper that has come.
    fn helper(&self, helper: &Helper) -> Thread<'_> {
        let (mut own, mut must_stay) = (None, false);
        if let Some(site) = self.sites.index_of(helper.node) {
            // Relaxed: only the number must be unique.
            let seat = self.came[site].fetch_add(1, Ordering::Relaxed);
            own = self.seating.seats[site].get(seat).copied();
            must_stay = seat == 0 && self.seating.required[site];
        }
        let thread = Thread::new(self, false, Some(helper.node), own, helper.index);
        Thread { must_stay, ..thread }
    }

    /// Calls `work` on the caller, and on each helper that comes, with the thread's way through the shares.
    ///
    /// No chunk is left when it returns. On the caller it may be called twice:
    /// before it asks for help, and after. Where `work` panics on one thread,
    /// no thread takes another chunk, and the panic goes on in the caller.
    pub(crate) fn run<W: Fn(&mut Thread<'_>) + Sync>(&self, pool: &Pool, help: Help, work: W) {
        self.tell_adopted();
        self.tell_counters();
        let work = |thread: &mut Thread<'_>| {
            let close = OnUnwind(|| self.close());
            work(thread);
            close.forget();
        };
        let mut caller = self.caller(pool.current_helper().map_or(0, |helper| helper.index));
        if self.work.is_empty() {
            // Nothing to run, and nobody to ask.
        } else if self.is_caller_alone() {
            work(&mut caller);
        } else {
            let units = self.work.iter().map(|work| work.size).sum();
            let entry = Entry::of(Self::run::<W> as *const () as usize, units);
            help.run(
                pool,
                caller,
                entry,
                || self.team(),
                work,
                |helper| match self.neighbours(helper) {
                    // All of them are helpers, the one that brings the others too.
                    Some(team) => {
                        pool.run(&team, |member| {
                            work(&mut self.helper(member.helper().unwrap_or(helper)));
                        });
                    }
                    None => work(&mut self.helper(helper)),
                },
            );
        }
    }

    /// Calls `work` on the caller alone, with its way through the shares; chunks may be left.
    pub(crate) fn run_alone(&self, pool: &Pool, work: impl Fn(&mut Thread<'_>)) {
        let close = OnUnwind(|| self.close());
        work(&mut self.caller(pool.current_helper().map_or(0, |helper| helper.index)));
        close.forget();
    }

    /// How many helpers of a site are asked for, or brought along.
    ///
    /// Where there are fewer than seats, each site has its part of them.
    fn asked(&self, site: usize) -> usize {
        let seats = self.seating.seats[site].len();
        let Some(&most) = self.most_helpers.get() else { return seats };
        let all = self.helpers();
        if most >= all {
            return seats;
        }
        let must = |site: usize| usize::from(self.seating.required[site]);
        let others = |site: usize| self.seating.seats[site].len() - must(site);
        let before: usize = (0..site).map(others).sum();
        let (all, most) = (all - self.required(), most.saturating_sub(self.required()));
        let up_to = |seats: usize| (seats as u128 * most as u128 / all.max(1) as u128) as usize;
        must(site) + up_to(before + others(site)) - up_to(before)
    }

    /// The helpers that the caller asks for.
    ///
    /// A helper that must come invites the others of its node itself. The
    /// caller's own invitations would be withdrawn as soon as it has no chunk
    /// left to take, which can be at once, and that node's part be left to one.
    fn team(&self) -> Team {
        let mut team = Team::new();
        // Its part was chosen for the node that it was on.
        if let Some(node) = self.sites.node_of_caller() {
            team = team.keep_caller_on(node);
        }
        for (site, node) in self.sites.nodes().enumerate() {
            let asked = self.asked(site);
            if self.seating.required[site] {
                team = team.require(node, 1);
            } else if asked > 0 {
                team = team.invite(node, asked);
            }
        }
        team
    }

    /// The helpers that a helper brings along: the others that have seats on its node, where it is one that must come.
    fn neighbours(&self, helper: &Helper) -> Option<Team> {
        let site = self.sites.index_of(helper.node)?;
        let others = self.asked(site).checked_sub(1)?;
        let leads = self.seating.required[site] && others > 0;
        leads.then(|| Team::new().invite(helper.node, others))
    }

    /// Traces the shares that have no thread of their own.
    fn tell_adopted(&self) {
        for (work, adopted) in self.work.iter().zip(&self.seating.adopted) {
            let by = match adopted {
                None => continue,
                Some(Adopter::Caller) => self.sites.caller_node(),
                Some(Adopter::Site(site)) => self.sites.nodes().nth(*site),
            };
            tracing::debug!(
                node = work.node.map(NodeId::os_index),
                by = by.map(NodeId::os_index),
                "fewer threads than parts; another node's threads run this one"
            );
        }
    }

    /// Traces where the counters lie that were placed for those who count with them.
    fn tell_counters(&self) {
        let cursors = self.work.iter().filter_map(Work::counter).map(|cursor| ("cursor", cursor));
        let came = self.came.iter().map(|came| ("arrivals", came));
        for (what, counter) in cursors.chain(came) {
            let Some(node) = counter.node().map(NodeId::os_index) else { continue };
            tracing::trace!(what, node, address = &raw const **counter as usize, "counter placed");
        }
    }

    /// The shares that a thread tries, in this order: its own, those it serves, then the others it may take.
    fn order(
        &self,
        is_caller: bool,
        spot: Spot,
        site: Option<usize>,
        own: Option<usize>,
    ) -> Vec<usize> {
        let serves = |share: usize| {
            let by_site = site.is_some_and(|site| {
                let adopted = self.seating.adopted[share] == Some(Adopter::Site(site));
                adopted || self.demands[share].serving.contains(&site)
            });
            by_site || (is_caller && self.work[share].is_local(spot.cpu))
        };
        let may = |&share: &usize| {
            let near = |site: usize| self.demands[share].near.contains(&site);
            let by_steal = match self.steal {
                Steal::Node => false,
                Steal::Near => site.is_some_and(near),
                _ => true,
            };
            by_steal || serves(share) || (is_caller && self.seating.duty[share])
        };
        let mut order: Vec<usize> = (0..self.work.len()).filter(may).collect();
        if order.len() > 1 {
            order.sort_by_key(|&share| {
                let away = match (spot.node, self.work[share].node) {
                    (Some(from), Some(to)) => distance(self.sites.topology(), from, to),
                    _ => (false, 0),
                };
                (own != Some(share), !serves(share), away)
            });
        }
        order
    }
}

/// One thread's way through the shares.
#[derive(Clone, Debug)]
pub(crate) struct Thread<'r> {
    running: &'r Running<'r>,
    is_caller: bool,
    /// Whether it is the first helper of a node of which one must run what others may not.
    must_stay: bool,
    /// The node of a helper; `None` for a caller from outside, who may move.
    helper_node: Option<NodeId>,
    /// The share it begins with.
    own: Option<usize>,
    /// Where it was when `order` was made; `None` before that.
    ordered_at: Option<Spot>,
    order: Vec<usize>,
    /// How many of `order` are known to have no chunk left.
    done: usize,
    /// Its number in the pool; 0 for a caller from outside.
    number: usize,
    /// Its seat at the share it is at.
    seat: Seat,
    pause: Pause,
}

/// Where a thread is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) cpu: CpuId,
    /// The node of that CPU; `None` where no node names it.
    pub(crate) cpu_node: Option<NodeId>,
    /// The node it works for.
    node: Option<NodeId>,
}

impl<'r> Thread<'r> {
    pub(crate) fn new(
        running: &'r Running<'r>,
        is_caller: bool,
        helper_node: Option<NodeId>,
        own: Option<usize>,
        number: usize,
    ) -> Self {
        Self {
            running,
            is_caller,
            must_stay: false,
            helper_node,
            own,
            ordered_at: None,
            order: Vec::new(),
            done: 0,
            number,
            seat: Seat::of(number),
            pause: Pause::default(),
        }
    }

    /// Whether it is the thread that called.
    pub(crate) fn is_caller(&self) -> bool {
        self.is_caller
    }

    /// Whether others of the job's threads may not run all of what it may.
    pub(crate) fn must_stay(&self) -> bool {
        self.must_stay
    }

    /// The node that the thread works for, as it was at the last look.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.ordered_at.and_then(|spot| spot.node)
    }

    /// Looks where the thread is, and puts the shares in order where it has moved to another node.
    pub(crate) fn look(&mut self) -> Spot {
        let cpu = affinity::current_cpu();
        let sites = self.running.sites;
        let cpu_node = sites.topology().node_of_cpu(cpu);
        let spot = Spot { cpu, cpu_node, node: self.helper_node.or(cpu_node) };
        if self.ordered_at.is_none_or(|before| before.node != spot.node) {
            let site = spot.node.and_then(|node| sites.index_of(node));
            self.order = self.running.order(self.is_caller, spot, site, self.own);
            self.done = 0;
            self.seat = Seat::of(self.number);
            self.ordered_at = Some(spot);
        }
        spot
    }

    /// Takes a chunk, and names its share; `None` once there is none for this thread, or before the first look.
    pub(crate) fn take(&mut self) -> Option<(usize, Range<usize>)> {
        if self.pause.is_now() {
            return None;
        }
        while let Some(&share) = self.order.get(self.done) {
            if let Some(range) = self.running.work[share].take(&mut self.seat) {
                return Some((share, range));
            }
            self.done += 1;
            self.seat = Seat::of(self.number);
        }
        None
    }
}

impl Way for Thread<'_> {
    fn pause_at(&mut self, time: Option<Instant>) {
        self.pause = Pause::at(time);
    }

    fn is_used_up(&self) -> bool {
        self.running.is_used_up()
    }

    fn taken(&self) -> Option<(usize, usize)> {
        None
    }
}

/// Does something when the thread unwinds through it.
pub(crate) struct OnUnwind<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> OnUnwind<F> {
    /// Ends the watch: nothing has unwound.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl<F: FnMut()> Drop for OnUnwind<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
