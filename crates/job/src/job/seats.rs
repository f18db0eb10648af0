//! How many threads each share of a job gets, and whose.
//!
//! Pure arithmetic over small tables, so that machines of any shape can be
//! tried. A *site* is a node that has helpers, named by its index in the
//! pool's list of nodes; a *share* is what one node has of the job.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::Steal;

/// A share as the seating sees it.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    /// Units of work.
    pub(crate) size: usize,
    /// Threads it is worth; at least one.
    pub(crate) worth: usize,
    /// The sites whose helpers run its chunks; never empty.
    pub(crate) serving: Vec<usize>,
    /// The sites whose helpers run its chunks too under [`Steal::Near`].
    pub(crate) near: Vec<usize>,
    /// All sites, nearest to the share first.
    pub(crate) nearest: Vec<usize>,
    /// Whether the first serving sites are used up before the next; else they are used evenly.
    pub(crate) in_order: bool,
}

/// The thread that calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The site it is on, where that is one.
    pub(crate) site: Option<usize>,
    /// Whether it is itself a helper of the pool, on that site.
    pub(crate) is_helper: bool,
    /// For each share, whether the caller is local to it or on a site that serves it.
    pub(crate) serves: Vec<bool>,
    /// For each share, whether the caller is on a site that runs its chunks too under [`Steal::Near`].
    pub(crate) near: Vec<bool>,
    /// All shares, nearest to the caller first.
    pub(crate) nearest: Vec<usize>,
}

impl Caller {
    /// Whether it may run a share's chunks.
    fn may_run(&self, share: usize, steal: Steal) -> bool {
        match steal {
            Steal::Node => self.serves[share],
            Steal::Near => self.serves[share] || self.near[share],
            _ => true,
        }
    }
}

/// What the job allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Threads in all, the caller included.
    pub(crate) threads: usize,
    /// Threads on one node, the caller included.
    pub(crate) per_site: usize,
    /// Threads the whole range is worth.
    pub(crate) worth: usize,
    pub(crate) steal: Steal,
}

/// Who takes part, and with which share each begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seating {
    /// The share the caller begins with; `None` where it runs nothing but what it must.
    pub(crate) caller: Option<usize>,
    /// For each site, the share that each of its helpers begins with.
    pub(crate) seats: Vec<Vec<usize>>,
    /// For each site, whether one of its helpers must come, for shares that the caller does not see to.
    pub(crate) required: Vec<bool>,
    /// For each share, the threads that begin with it.
    pub(crate) threads: Vec<usize>,
    /// For each share that no thread serves, who runs it all the same.
    pub(crate) adopted: Vec<Option<Adopter>>,
    /// For each share, whether the caller sees to it that it is done, wherever it runs by then.
    pub(crate) duty: Vec<bool>,
}

/// Who runs a share that no thread serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adopter {
    Caller,
    /// The helpers of a site.
    Site(usize),
}

impl Seating {
    /// Threads that take part, the caller included where it begins with a share.
    pub(crate) fn total(&self) -> usize {
        self.threads.iter().sum()
    }

    /// Whether the caller runs it all.
    pub(crate) fn is_caller_alone(&self) -> bool {
        self.seats.iter().all(Vec::is_empty)
    }
}

/// A share waiting for one more thread; the greatest has the most work per thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    size: usize,
    threads: usize,
    share: usize,
}

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> Ordering {
        // size / threads, compared without dividing; no thread at all is the most.
        let load = (self.size as u128) * (other.threads as u128);
        let other_load = (other.size as u128) * (self.threads as u128);
        let by_threads = (self.threads == 0).cmp(&(other.threads == 0));
        let by_load = load.cmp(&other_load);
        let by_size = self.size.cmp(&other.size);
        by_threads.then(by_load).then(by_size).then(other.share.cmp(&self.share))
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Seats the caller and the helpers.
///
/// Every share gets one thread while they last, the largest first; each
/// further thread goes to the share with the most work per thread. The caller
/// stands in for a helper of its own node, unless more threads are asked for
/// than there are helpers. `helpers` are the helpers of each site.
pub(crate) fn seat(
    shares: &[Demand],
    helpers: impl Into<Vec<usize>>,
    caller: &Caller,
    limits: Limits,
) -> Seating {
    let is_restricted = limits.steal != Steal::Anywhere;
    let mut free: Vec<usize> = helpers.into();
    let all_helpers: usize = free.iter().sum();
    let mut seating = Seating {
        caller: None,
        seats: vec![Vec::new(); free.len()],
        required: vec![false; free.len()],
        threads: vec![0; shares.len()],
        adopted: vec![None; shares.len()],
        duty: vec![!is_restricted; shares.len()],
    };

    // The largest share it serves, else the nearest it may run.
    let served = (0..shares.len()).filter(|&share| caller.serves[share]);
    let largest = served.max_by_key(|&share| (shares[share].size, usize::MAX - share));
    let mut nearest = caller.nearest.iter().copied();
    let nearest = nearest.find(|&share| caller.may_run(share, limits.steal));
    seating.caller = largest.or(nearest);
    if let Some(site) = caller.site {
        // A helper that calls cannot also be invited; an outside caller uses a
        // helper's CPU, where it is not asked for on top of all helpers.
        let stands_in = seating.caller.is_some() && limits.threads <= all_helpers;
        free[site] -= usize::from(caller.is_helper || stands_in);
    }
    for (site, free) in free.iter_mut().enumerate() {
        let taken = usize::from(seating.caller.is_some() && caller.site == Some(site));
        *free = (*free).min(limits.per_site - taken);
    }

    let mut left =
        limits.threads.min(limits.worth.max(if is_restricted { shares.len() } else { 1 }));
    if let Some(share) = seating.caller {
        seating.threads[share] = 1;
        left -= 1;
    }
    let claims = shares.iter().enumerate();
    let claim = |(share, demand): (usize, &Demand)| Claim {
        size: demand.size,
        threads: seating.threads[share],
        share,
    };
    let mut claims: BinaryHeap<Claim> = claims.map(claim).collect();
    while left > 0 {
        let Some(mut claim) = claims.pop() else { break };
        let demand = &shares[claim.share];
        let mut sites = demand.serving.iter().copied().filter(|&site| free[site] > 0);
        let site = if demand.in_order {
            sites.next()
        } else {
            // Of those with the most helpers left, the first.
            sites.rev().max_by_key(|&site| free[site])
        };
        let Some(site) = site.filter(|_| claim.threads < demand.worth) else { continue };
        free[site] -= 1;
        left -= 1;
        seating.seats[site].push(claim.share);
        claim.threads += 1;
        seating.threads[claim.share] = claim.threads;
        claims.push(claim);
    }
    if is_restricted {
        cover_all(shares, caller, limits.steal, &mut seating);
    }
    seating
}

/// Sees to it that every share has a thread that must come: the caller, or a required helper.
fn cover_all(shares: &[Demand], caller: &Caller, steal: Steal, seating: &mut Seating) {
    let caller_site = caller.site.filter(|_| seating.caller.is_some());
    for (share, demand) in shares.iter().enumerate() {
        if seating.caller.is_some() && caller.may_run(share, steal) {
            seating.duty[share] = true;
            continue;
        }
        let seated = |site: usize| !seating.seats[site].is_empty();
        let serving = demand.serving.iter().copied().find(|&site| seated(site));
        let site = serving.or_else(|| {
            let present = |&site: &usize| seated(site) || caller_site == Some(site);
            let nearest = demand.nearest.iter().copied().find(present);
            let site = nearest.filter(|&site| seated(site));
            seating.adopted[share] = Some(site.map_or(Adopter::Caller, Adopter::Site));
            site
        });
        match site {
            // One helper that comes does all that its site serves.
            Some(site) => seating.required[site] = true,
            None => seating.duty[share] = true,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
