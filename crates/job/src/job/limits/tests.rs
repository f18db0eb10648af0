use proptest::prelude::*;

use super::*;

fn limits(max_jobs: usize, max_helpers: usize) -> JobLimits {
    let n = |number| NonZeroUsize::new(number).expect("not zero");
    JobLimits::builder().max_jobs(n(max_jobs)).max_helpers(n(max_helpers)).build()
}

fn granted(place: &Place) -> usize {
    place.granted().map_or(0, NonZeroUsize::get)
}

#[test]
fn turns_come_in_the_order_of_arrival() {
    let limits = limits(1, 100);
    let mut places: VecDeque<Place> = (0..5).map(|_| limits.enter(1, 3)).collect();
    while let Some(first) = places.pop_front() {
        assert_eq!(granted(&first), 3);
        assert!(places.iter().all(|place| place.granted().is_none()));
        assert_eq!((limits.jobs(), limits.waiting()), (1, places.len()));
        drop(first);
    }
    assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
}

#[test]
fn one_who_wants_little_does_not_overtake() {
    let limits = limits(9, 4);
    let first = limits.enter(1, 4);
    let (second, third) = (limits.enter(1, 4), limits.enter(1, 1));
    assert_eq!((granted(&first), granted(&second), granted(&third)), (4, 0, 0));
    drop(first);
    assert_eq!((granted(&second), granted(&third)), (2, 1), "what is free is for both");
    drop((second, third));
    assert_eq!(limits.helpers(), 0);
}

#[test]
fn a_wait_that_is_given_up_leaves_the_queue() {
    let limits = limits(1, 1);
    let first = limits.enter(1, 1);
    let (second, third) = (limits.enter(1, 1), limits.enter(1, 1));
    drop(second);
    assert_eq!(limits.waiting(), 1);
    drop(first);
    assert_eq!(granted(&third), 1);
}

#[test]
fn a_job_with_more_than_its_share_gives_it_up_to_those_who_wait() {
    let limits = limits(9, 8);
    let first = limits.enter(1, 8);
    assert!(!first.gives_up_one(), "nobody waits");
    let second = limits.enter(1, 8);
    assert!(first.gives_up_one());
    assert_eq!((granted(&first), granted(&second), limits.helpers()), (7, 1, 8));
    assert!(!first.gives_up_one(), "nobody waits any more");
    let third = limits.enter(1, 8);
    while first.gives_up_one() {}
    assert_eq!((granted(&third), limits.helpers()), (1, 8));
    let blocked = self::limits(1, 8);
    let (first, _second) = (blocked.enter(1, 8), blocked.enter(1, 8));
    assert!(!first.gives_up_one(), "it would be no use");
}

#[test]
fn a_forced_turn_goes_over_the_limits_and_is_given_back() {
    let limits = limits(1, 2);
    let first = limits.enter(1, 2);
    let second = limits.enter(1, 2);
    second.force(1);
    second.force(1);
    assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (2, 3, 0));
    let third = limits.enter(1, 2);
    drop(second);
    assert_eq!(granted(&third), 0);
    drop(first);
    assert_eq!(granted(&third), 2);
}

#[test]
fn a_job_gets_no_less_than_it_needs() {
    let limits = limits(9, 4);
    let first = limits.enter(1, 2);
    let second = limits.enter(3, 3);
    let third = limits.enter(1, 1);
    assert_eq!((granted(&first), granted(&second), granted(&third)), (2, 0, 0));
    drop(first);
    assert_eq!((granted(&second), granted(&third)), (3, 1));
    let fourth = limits.enter(1, 1);
    assert!(!second.gives_up_one(), "it needs three");
    assert_eq!(granted(&fourth), 0);
    let fifth = limits.enter(9, 9);
    drop((second, third));
    assert_eq!((granted(&fourth), granted(&fifth)), (1, 0));
    drop(fourth);
    assert_eq!((granted(&fifth), limits.helpers()), (9, 9), "more than there can be, and alone");
    let sixth = limits.enter(1, 1);
    assert_eq!(granted(&sixth), 0);
    drop(fifth);
    assert_eq!(granted(&sixth), 1);
}

#[test]
fn every_waiter_of_many_threads_gets_its_turn() {
    let limits = limits(2, 3);
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let place = limits.enter(1, 2);
                    assert!(place.wait(None));
                    let now = inside.fetch_add(1, Ordering::Relaxed) + 1;
                    most.fetch_max(now, Ordering::Relaxed);
                    assert!(limits.helpers() <= 3);
                    inside.fetch_sub(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(most.into_inner() <= 2);
    assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
}

proptest! {
    #[test]
    fn any_order_of_comings_and_goings_keeps_to_the_limits(
        max_jobs in 1_usize..5,
        max_helpers in 1_usize..9,
        steps in prop::collection::vec((0_u8..3, 0_usize..8, 1_usize..12), 1..80),
    ) {
        let limits = limits(max_jobs, max_helpers);
        // In order of arrival.
        let mut places: Vec<Place> = Vec::new();
        for (what, which, wanted) in steps {
            match what {
                0 => places.push(limits.enter(1, wanted)),
                1 if !places.is_empty() => drop(places.remove(which % places.len())),
                2 if !places.is_empty() => {
                    let place = &places[which % places.len()];
                    let _ = place.granted().is_some() && place.gives_up_one();
                }
                _ => {}
            }
            let turned: Vec<bool> = places.iter().map(|place| place.granted().is_some()).collect();
            prop_assert!(turned.is_sorted_by(|before, after| before >= after), "nobody overtakes");
            prop_assert_eq!(limits.jobs(), turned.iter().filter(|&&turned| turned).count());
            prop_assert_eq!(limits.helpers(), places.iter().map(granted).sum::<usize>());
            prop_assert!(limits.jobs() <= max_jobs && limits.helpers() <= max_helpers);
            let full = limits.jobs() == max_jobs || limits.helpers() == max_helpers;
            prop_assert!(limits.waiting() == 0 || full, "nobody waits for nothing");
        }
        drop(places);
        prop_assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
    }
}
