//! What jobs and loops are asked for alike, and how a range is made ready to run.

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::job::help::expected::Expected;
use crate::job::run::Running;
use crate::job::seats::{self, Demand, Limits};
use crate::job::sites::Sites;
use crate::job::work::Work;
use crate::location::parts::{self, Share};
use crate::schedule::Cut;
use crate::{CpuShare, JobError, Location, Plan, PlanBuilder, PlanError, Steal};
use firsttouch_topology::Topology;

/// What jobs and loops are asked for alike.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) align: usize,
    pub(crate) min_chunk: usize,
    pub(crate) max_threads: Option<NonZeroUsize>,
    pub(crate) max_threads_per_node: Option<NonZeroUsize>,
    /// The share of each node's CPUs that is used, where none of the two above is set.
    pub(crate) cpu_share: Option<CpuShare>,
    pub(crate) location: Location,
    pub(crate) steal: Steal,
    pub(crate) cut: Cut,
}

impl Options {
    #[inline]
    pub(crate) fn new(cut: Cut) -> Self {
        Self {
            align: 1,
            min_chunk: 0,
            max_threads: None,
            max_threads_per_node: None,
            cpu_share: None,
            location: Location::default(),
            steal: Steal::default(),
            cut,
        }
    }

    /// The most threads, where so many helpers may be used.
    ///
    /// By default no more than the process's CPU quota lets run: the others
    /// would only use it up sooner, and then all stand still.
    #[inline]
    pub(crate) fn threads(&self, helpers: usize, topology: &Topology) -> usize {
        self.max_threads.map_or_else(
            || {
                let quota = topology.allowed().cpu_quota();
                let quota = quota.map_or(usize::MAX, |quota| quota.cpus().ceil() as usize);
                helpers.min(quota).max(1)
            },
            NonZeroUsize::get,
        )
    }

    /// The share of each node's CPUs that is used, where no number of threads is set.
    fn cpu_share(&self) -> Option<CpuShare> {
        let is_set = self.max_threads.is_some() || self.max_threads_per_node.is_some();
        self.cpu_share.filter(|_| !is_set)
    }

    /// The most threads on one node.
    pub(crate) fn most_per_node(&self) -> usize {
        self.max_threads_per_node.map_or(usize::MAX, NonZeroUsize::get)
    }

    /// How a range is cut for so many threads.
    #[inline]
    pub(crate) fn builder(&self, start: usize, size: usize, threads: usize) -> PlanBuilder<usize> {
        let builder = Plan::builder(start, size).align(self.align).min_chunk(self.min_chunk);
        builder.max_threads(threads).grain(self.cut.grain)
    }

    /// Cuts a range for so many threads.
    #[inline]
    pub(crate) fn plan(
        &self,
        range: Range<usize>,
        threads: usize,
    ) -> Result<Plan<usize>, PlanError> {
        self.builder(range.start, range.len(), threads).build()
    }

    /// Cuts a range for so many threads, which are expected to take so long.
    #[inline]
    pub(crate) fn plan_expecting(
        &self,
        range: Range<usize>,
        threads: usize,
        expected: Expected,
    ) -> Result<Plan<usize>, PlanError> {
        let builder = self.builder(range.start, range.len(), threads);
        builder.grain(self.cut.expecting(expected).grain).build()
    }

    /// The range, which is worth so many threads, as one share per node.
    pub(crate) fn shares(
        &self,
        range: Range<usize>,
        worth: usize,
        sites: &Sites<'_>,
    ) -> Result<Vec<Share>, JobError> {
        match &self.location {
            Location::Anywhere => Ok(parts::anywhere(range)),
            Location::PerNode(parts) => {
                parts::check(&range, parts, sites.topology())?;
                Ok(parts::by_node(parts.iter().cloned()))
            }
            Location::Spread => {
                let threads = self.max_threads.map_or(worth, |most| worth.min(most.get()));
                let used = sites.nearest_to_caller(threads.max(1));
                let weights: Vec<_> = used.iter().map(|&(_, helpers)| helpers as u128).collect();
                let pieces = parts::in_proportion(range, self.align, &weights);
                Ok(parts::by_node(used.iter().map(|&(node, _)| node).zip(pieces)))
            }
        }
    }

    /// Seats threads at shares, and cuts each share for those it gets.
    ///
    /// A thread that runs alone takes each part whole, where no length was
    /// asked for, unless it is to look around between chunks.
    pub(crate) fn ready<'a>(
        &self,
        sites: &'a Sites<'a>,
        shares: &[Share],
        need_chunks: bool,
    ) -> Result<Running<'a>, PlanError> {
        let helpers = sites.helpers_for(self.cpu_share());
        let threads = self.threads(helpers.iter().sum(), sites.topology());
        let size: usize = shares.iter().map(Share::size).sum();
        let limits = Limits {
            threads,
            per_site: self.most_per_node(),
            worth: self.plan(0..size, threads)?.threads(),
            steal: self.steal,
        };
        let demands = shares.iter().map(|share| {
            let worth = self.plan(0..share.size(), threads)?.threads().max(1);
            Ok(sites.demand(share, worth))
        });
        let demands: Vec<Demand> = demands.collect::<Result<_, PlanError>>()?;
        let caller = sites.caller(shares, &demands);
        let seating = seats::seat(&demands, helpers, &caller, limits);
        let alone = seating.total() <= 1;
        let work = shares.iter().zip(&demands).zip(&seating.threads);
        let work = work.map(|((share, demand), &threads)| {
            let size = share.size();
            let plans = share.ranges.iter().map(|range| {
                // Each range has threads in proportion, so that all have chunks of a size.
                let part = threads as u128 * range.len() as u128 / size as u128;
                let plan = self.plan(range.clone(), (part as usize).max(1))?;
                Ok(if alone && !need_chunks { self.cut.alone(plan) } else { plan })
            });
            let plans = plans.collect::<Result<_, PlanError>>()?;
            let topology = sites.topology();
            let writers = demand.serving.first().filter(|_| !alone);
            let counter = sites.counter(writers.copied());
            Ok(Work::new(share.node, size, plans, self.cut.order, threads, topology, counter))
        });
        let work = work.collect::<Result<_, PlanError>>()?;
        Ok(Running::new(self.steal, sites, demands, work, seating))
    }
}
