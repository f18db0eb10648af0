use proptest::prelude::*;

use super::*;

/// A share on the node of one site.
fn demand(size: usize, worth: usize, site: usize, sites: usize) -> Demand {
    let mut nearest: Vec<usize> = (0..sites).collect();
    nearest.sort_by_key(|&other| other.abs_diff(site));
    let near = (0..sites).filter(|&other| other.abs_diff(site) == 1).collect();
    Demand { size, worth, serving: vec![site], near, nearest, in_order: false }
}

/// A caller from outside on a site, who serves the shares of that site.
fn outside(site: usize, shares: &[Demand]) -> Caller {
    let serves: Vec<bool> = shares.iter().map(|share| share.serving.contains(&site)).collect();
    let mut nearest: Vec<usize> = (0..shares.len()).collect();
    nearest.sort_by_key(|&share| (!serves[share], shares[share].serving[0].abs_diff(site)));
    let near = shares.iter().map(|share| share.near.contains(&site)).collect();
    Caller { site: Some(site), is_helper: false, serves, near, nearest }
}

fn limits(threads: usize, worth: usize, steal: Steal) -> Limits {
    Limits { threads, per_site: usize::MAX, worth, steal }
}

#[test]
fn a_caller_near_to_a_share_may_run_it_where_near_threads_may() {
    // The caller's own node has nothing: it may help its neighbour, and nobody farther away.
    let shares = [demand(100, 9, 1, 4), demand(200, 9, 3, 4)];
    let caller = outside(0, &shares);
    let seated = |steal| seat(&shares, [4; 4], &caller, limits(16, 99, steal));
    let near = seated(Steal::Near);
    assert_eq!((near.caller, near.duty), (Some(0), vec![true, false]));
    assert_eq!(near.required, [false, false, false, true]);
    let never = seated(Steal::Node);
    assert_eq!((never.caller, never.required), (None, vec![false, true, false, true]));
    assert_eq!(seated(Steal::Anywhere).duty, [true, true]);
}

#[test]
fn threads_follow_the_work() {
    let shares = [demand(300, 99, 0, 2), demand(100, 99, 1, 2)];
    let caller = outside(0, &shares);
    let seating = seat(&shares, [8, 8], &caller, limits(8, 99, Steal::Node));
    assert_eq!(seating.threads, [6, 2]);
    assert_eq!(seating.seats, [vec![0; 5], vec![1; 2]]);
    assert_eq!(seating.caller, Some(0));
}

#[test]
fn the_caller_stands_in_for_a_helper_of_its_node() {
    let shares = [demand(100, 99, 0, 2), demand(100, 99, 1, 2)];
    let caller = outside(0, &shares);
    let seating = seat(&shares, [4, 4], &caller, limits(8, 99, Steal::Node));
    assert_eq!((seating.seats[0].len(), seating.seats[1].len()), (3, 4));
    let more = seat(&shares, [4, 4], &caller, limits(9, 99, Steal::Node));
    assert_eq!((more.seats[0].len(), more.seats[1].len()), (4, 4), "it comes on top when asked");
}

#[test]
fn a_helper_that_calls_is_not_invited_to_its_own_job() {
    let shares = [demand(100, 99, 0, 1)];
    let caller = Caller { is_helper: true, ..outside(0, &shares) };
    let seating = seat(&shares, [4], &caller, limits(99, 99, Steal::Anywhere));
    assert_eq!(seating.seats[0].len(), 3);
    let alone = seat(&shares, [1], &caller, limits(99, 99, Steal::Node));
    assert!(alone.is_caller_alone() && alone.duty[0]);
}

#[test]
fn without_stealing_each_part_has_a_thread_that_must_come() {
    let shares: Vec<_> = (0..4).map(|site| demand(100, 99, site, 4)).collect();
    let caller = outside(2, &shares);
    let seating = seat(&shares, [4; 4], &caller, limits(16, 99, Steal::Node));
    assert_eq!(seating.required, [true, true, false, true]);
    assert_eq!(seating.duty, [false, false, true, false]);
    let stealing = seat(&shares, [4; 4], &caller, limits(16, 99, Steal::Anywhere));
    assert_eq!(stealing.required, [false; 4], "the caller never waits for one to start");
    assert_eq!(stealing.duty, [true; 4]);
}

#[test]
fn without_stealing_a_part_of_any_size_has_its_own_nodes_thread() {
    // Worth one thread in all, but the second part is not the caller's.
    let shares = [demand(1, 1, 0, 2), demand(1, 1, 1, 2)];
    let caller = outside(0, &shares);
    let seating = seat(&shares, [4, 4], &caller, limits(8, 1, Steal::Node));
    assert_eq!(seating.seats, [vec![], vec![1]]);
    let stealing = seat(&shares, [4, 4], &caller, limits(8, 1, Steal::Anywhere));
    assert!(stealing.is_caller_alone(), "with stealing it is a plain call");
}

#[test]
fn fewer_threads_than_parts_leave_parts_to_the_nearest_thread() {
    let shares: Vec<_> = (0..4).map(|site| demand(100 + site, 99, site, 4)).collect();
    let caller = outside(0, &shares);
    let alone = seat(&shares, [4; 4], &caller, limits(1, 99, Steal::Node));
    assert!(alone.is_caller_alone());
    assert_eq!(alone.duty, [true; 4]);
    // The caller and one helper, for the largest part that has no thread.
    let two = seat(&shares, [4; 4], &caller, limits(2, 99, Steal::Node));
    assert_eq!(two.seats, [vec![], vec![], vec![], vec![3]]);
    let (caller, last) = (Some(Adopter::Caller), Some(Adopter::Site(3)));
    assert_eq!(two.adopted, [None, caller, last, None]);
    assert_eq!(two.duty, [true, true, false, false]);
    assert_eq!(two.required, [false, false, false, true]);
}

#[test]
fn a_caller_far_from_all_parts_takes_none_unless_it_may_steal() {
    let shares = [demand(100, 99, 1, 3)];
    let caller = outside(0, &shares);
    let never = seat(&shares, [4; 3], &caller, limits(2, 99, Steal::Node));
    assert_eq!((never.caller, never.total()), (None, 2));
    assert_eq!((never.required[1], never.duty[0]), (true, false));
    let stealing = seat(&shares, [4; 3], &caller, limits(2, 99, Steal::Anywhere));
    assert_eq!((stealing.caller, stealing.total()), (Some(0), 2));
}

#[test]
fn a_cap_per_node_counts_the_caller() {
    let shares = [demand(100, 99, 0, 2), demand(100, 99, 1, 2)];
    let caller = outside(0, &shares);
    let capped = Limits { per_site: 2, ..limits(8, 99, Steal::Node) };
    let seating = seat(&shares, [4, 4], &caller, capped);
    assert_eq!((seating.seats[0].len(), seating.seats[1].len()), (1, 2));
}

#[test]
fn a_job_worth_few_threads_keeps_to_the_nearest_helpers() {
    let mut share = demand(100, 3, 0, 3);
    (share.serving, share.nearest, share.in_order) = (vec![1, 0, 2], vec![1, 0, 2], true);
    let shares = [share];
    let caller = outside(1, &shares);
    let seating = seat(&shares, [4; 3], &caller, limits(12, 3, Steal::Anywhere));
    assert_eq!(seating.seats, [vec![], vec![0, 0], vec![]]);
}

#[test]
fn one_helper_node_serves_several_parts_in_turn() {
    let shares = [demand(100, 99, 0, 1), demand(300, 99, 0, 1)];
    let caller = Caller {
        site: None,
        is_helper: false,
        serves: vec![false; 2],
        near: vec![false; 2],
        nearest: vec![0, 1],
    };
    let seating = seat(&shares, [4], &caller, limits(4, 99, Steal::Node));
    assert_eq!(seating.threads, [1, 3]);
    assert_eq!(seating.required, [true], "one that comes does both");
}

#[derive(Clone, Debug)]
struct Scene {
    shares: Vec<Demand>,
    helpers: Vec<usize>,
    caller: Caller,
    limits: Limits,
}

const STEALS: &[Steal] = &[Steal::Node, Steal::Near, Steal::Anywhere];

fn scene() -> impl Strategy<Value = Scene> {
    let sizes = (1_usize..6, 1_usize..7);
    sizes.prop_flat_map(|(sites, shares)| {
        let share = (1_usize..usize::MAX >> 14, 1_usize..9, 0..sites, 0..sites, any::<bool>());
        let limits = (1_usize..20, prop_oneof![1_usize..4, Just(usize::MAX)], 1_usize..20);
        (
            prop::collection::vec(1_usize..6, sites),
            prop::collection::vec(share, shares),
            prop::collection::vec(any::<bool>(), shares),
            (prop::option::of(0..sites), any::<bool>(), limits, prop::sample::select(STEALS)),
        )
            .prop_map(move |(helpers, shares, local, (site, is_helper, limit, steal))| {
                let shares: Vec<Demand> = shares
                    .into_iter()
                    .map(|(size, worth, first, second, in_order)| {
                        let mut share = demand(size, worth, first, sites);
                        if second != first {
                            share.serving.push(second);
                        }
                        share.near.retain(|site| !share.serving.contains(site));
                        Demand { in_order, ..share }
                    })
                    .collect();
                let by_site =
                    |share: &Demand| site.is_some_and(|site| share.serving.contains(&site));
                let serves: Vec<bool> = shares
                    .iter()
                    .zip(local)
                    .map(|(share, local)| local || by_site(share))
                    .collect();
                let mut nearest: Vec<usize> = (0..shares.len()).collect();
                nearest.sort_by_key(|&share| !serves[share]);
                let is_helper = is_helper && site.is_some();
                let is_near = |share: &Demand| site.is_some_and(|site| share.near.contains(&site));
                let near = shares.iter().map(is_near).collect();
                let caller = Caller { site, is_helper, serves, near, nearest };
                let (threads, per_site, worth) = limit;
                Scene {
                    shares,
                    helpers,
                    caller,
                    limits: Limits { threads, per_site, worth, steal },
                }
            })
    })
}

proptest! {
    #[test]
    fn every_share_has_a_thread_that_comes_and_no_limit_is_passed(scene in scene()) {
        let Scene { shares, helpers, caller, limits } = scene;
        let seating = seat(&shares, helpers.clone(), &caller, limits);

        prop_assert!(seating.total() <= limits.threads);
        let seated: usize = seating.seats.iter().map(Vec::len).sum();
        prop_assert_eq!(seating.total(), seated + usize::from(seating.caller.is_some()));
        for (site, seats) in seating.seats.iter().enumerate() {
            let calls = caller.is_helper && caller.site == Some(site);
            prop_assert!(seats.len() + usize::from(calls) <= helpers[site]);
            let works = seating.caller.is_some() && caller.site == Some(site);
            prop_assert!(seats.len() + usize::from(works) <= limits.per_site);
            prop_assert!(!seating.required[site] || !seats.is_empty());
            for &share in seats {
                prop_assert!(shares[share].serving.contains(&site), "helpers begin with what they serve");
            }
        }
        for (share, demand) in shares.iter().enumerate() {
            let comes = |site: usize| seating.required[site];
            let served = demand.serving.iter().any(|&site| comes(site));
            let adopted = matches!(seating.adopted[share], Some(Adopter::Site(site)) if comes(site));
            prop_assert!(seating.duty[share] || served || adopted, "nobody sees to share {}", share);
            let seats = seating.seats.iter().flatten().filter(|&&seat| seat == share).count();
            let caller = usize::from(seating.caller == Some(share));
            prop_assert_eq!(seating.threads[share], seats + caller);
        }
        if limits.steal != Steal::Anywhere {
            if let Some(share) = seating.caller {
                let near = limits.steal == Steal::Near && caller.near[share];
                prop_assert!(caller.serves[share] || near);
            }
        } else {
            prop_assert!(seating.caller.is_some());
            prop_assert!(!seating.required.contains(&true));
        }
    }
}
