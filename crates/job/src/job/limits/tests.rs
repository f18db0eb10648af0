use std::time::Instant;

use proptest::prelude::*;

use super::*;

const MANY: Helpers = Helpers::MANY;

fn limits(max_jobs: usize, max_helpers: usize) -> JobLimits {
    let n = |number| NonZeroUsize::new(number).expect("not zero");
    JobLimits::builder().max_jobs(n(max_jobs)).max_helpers(n(max_helpers)).build()
}

fn granted(place: &Place) -> usize {
    place.granted().map_or(0, NonZeroUsize::get)
}

/// As many helpers come as the job may have.
fn all_come(place: &Place) -> Vec<Present<'_>> {
    std::iter::from_fn(|| place.come()).collect()
}

/// Asks all helpers whether they leave; those that do, leave.
fn ask(helpers: &mut Vec<Present<'_>>) {
    helpers.retain(|helper| !helper.gives_up());
}

#[test]
fn turns_come_in_the_order_of_arrival() {
    let limits = limits(1, 100);
    let mut places: VecDeque<Place> = (0..5).map(|_| limits.enter(MANY, 0, 3)).collect();
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
    let first = limits.enter(MANY, 4, 4);
    let (second, third) = (limits.enter(MANY, 0, 4), limits.enter(MANY, 0, 1));
    assert_eq!((granted(&first), granted(&second), granted(&third)), (4, 0, 0));
    drop(first);
    assert_eq!((granted(&second), granted(&third)), (2, 1), "what is free is for both");
    drop((second, third));
    assert_eq!(limits.helpers(), 0);
}

#[test]
fn a_wait_that_is_given_up_leaves_the_queue() {
    let limits = limits(1, 1);
    let first = limits.enter(MANY, 0, 1);
    let (second, third) = (limits.enter(MANY, 0, 1), limits.enter(MANY, 0, 1));
    drop(second);
    assert_eq!(limits.waiting(), 1);
    drop(first);
    assert_eq!(granted(&third), 1);
}

#[test]
fn a_job_with_more_than_its_share_gives_it_up_to_those_who_wait() {
    let limits = limits(9, 8);
    let first = limits.enter(MANY, 0, 8);
    let mut helpers = all_come(&first);
    ask(&mut helpers);
    assert_eq!(helpers.len(), 8, "nobody waits");
    let second = limits.enter(MANY, 0, 8);
    assert_eq!(granted(&second), 0, "all helpers are there");
    ask(&mut helpers);
    assert_eq!((helpers.len(), granted(&first), granted(&second)), (4, 4, 4));
    assert_eq!(limits.helpers(), 8);
    let mut of_second = all_come(&second);
    let third = limits.enter(MANY, 0, 8);
    ask(&mut helpers);
    ask(&mut of_second);
    assert_eq!((granted(&first), granted(&second), granted(&third)), (2, 4, 2));
    assert_eq!((helpers.len(), of_second.len()), (2, 4), "only what is asked for is given up");
    let blocked = self::limits(1, 8);
    let (first, _second) = (blocked.enter(MANY, 0, 8), blocked.enter(MANY, 0, 8));
    let mut helpers = all_come(&first);
    ask(&mut helpers);
    assert_eq!(helpers.len(), 8, "it would be no use");
}

#[test]
fn a_helper_that_gives_up_is_another_jobs_when_it_has_left() {
    let limits = limits(9, 2);
    let first = limits.enter(MANY, 0, 2);
    let helpers = all_come(&first);
    let second = limits.enter(MANY, 0, 1);
    assert!(helpers[0].gives_up());
    assert!(!helpers[1].gives_up(), "one is enough");
    assert_eq!((granted(&first), granted(&second), limits.helpers()), (1, 0, 2));
    assert!(first.come().is_none(), "nobody takes its place");
    drop(helpers);
    assert_eq!((granted(&first), granted(&second), limits.helpers()), (1, 1, 2));
}

#[test]
fn helpers_are_asked_only_where_it_is_of_use() {
    let limits = limits(1, 2);
    let first = limits.enter(MANY, 0, 2);
    let mut helpers = all_come(&first);
    let _second = limits.enter(MANY, 0, 1);
    assert_eq!(limits.0.lacking.load(Ordering::Relaxed), 0, "it waits for the first job to end");
    ask(&mut helpers);
    assert_eq!(helpers.len(), 2);
    let more = self::limits(9, 2);
    let first = more.enter(MANY, 0, 2);
    let helpers = all_come(&first);
    let _second = more.enter(MANY, 0, 1);
    assert_eq!(more.0.lacking.load(Ordering::Relaxed), 1);
    assert!(helpers[0].gives_up());
    assert_eq!(more.0.lacking.load(Ordering::Relaxed), 0, "one leaves");
}

#[test]
fn helpers_that_have_not_come_or_have_left_go_at_once_to_who_waits() {
    let limits = limits(9, 8);
    let first = limits.enter(MANY, 0, 8);
    let helper = first.come();
    let second = limits.enter(MANY, 1, 8);
    assert_eq!((granted(&first), granted(&second)), (4, 4));
    let late = all_come(&first);
    assert_eq!((helper.iter().len(), late.len()), (1, 3), "the others are sent away");
    let mut of_second = all_come(&second);
    assert_eq!(of_second.len(), 3, "one must come, and is not counted as here");
    let third = limits.enter(MANY, 0, 8);
    assert_eq!(granted(&third), 0);
    of_second.pop();
    assert_eq!((granted(&second), granted(&third)), (3, 0), "one is not an even share");
    of_second.pop();
    assert_eq!((granted(&second), granted(&third)), (2, 2));
}

#[test]
fn a_pools_helpers_are_shared_out_by_the_jobs_that_run_there_alone() {
    let limits = JobLimits::builder().build();
    let [one, other] = [(1, 6), (2, 4)].map(|(pool, count)| Helpers { pool, count });
    let (first, elsewhere) = (limits.enter(one, 0, 6), limits.enter(other, 0, 4));
    let (mut helpers, mut others) = (all_come(&first), all_come(&elsewhere));
    assert_eq!((helpers.len(), others.len()), (6, 4));
    let second = limits.enter(one, 0, 6);
    ask(&mut others);
    assert_eq!((granted(&second), others.len()), (0, 4), "the other pool's are no use to it");
    ask(&mut helpers);
    assert_eq!((granted(&second), helpers.len()), (3, 3));
}

#[test]
fn a_job_of_another_pool_gives_up_what_is_lacking_in_all_and_no_more() {
    let limits = limits(9, 24);
    let [one, other] = [(1, 12), (2, 12)].map(|(pool, count)| Helpers { pool, count });
    // Of another pool, and none of its helpers have come.
    let elsewhere = limits.enter(other, 0, 10);
    let first = limits.enter(one, 0, 9);
    let helpers = all_come(&first);
    assert_eq!((granted(&elsewhere), helpers.len()), (10, 9));
    // Lacks 6 - 3 of the pool's, and 6 - 5 of all.
    let second = limits.enter(one, 0, 12);
    assert_eq!((granted(&elsewhere), granted(&first), granted(&second)), (9, 9, 0));
}

#[test]
fn a_job_that_can_but_wait_takes_what_it_needs_and_waits_for_no_pool() {
    let over = Some(Instant::now());
    let limits = limits(9, 4);
    let first = limits.enter(MANY, 0, 3);
    let mut helpers = all_come(&first);
    let second = limits.enter(MANY, 1, 4);
    assert_eq!(granted(&second), 0, "one is free, and its share is two");
    assert!(second.wait(over));
    assert_eq!((granted(&second), limits.helpers()), (1, 4));
    ask(&mut helpers);
    assert_eq!(helpers.len(), 3, "nobody waits any more");
    let third = limits.enter(MANY, 1, 4);
    assert!(!third.wait(over), "none is free");
    let small = Helpers { pool: 1, count: 2 };
    let unlimited = JobLimits::builder().build();
    let (first, second) = (unlimited.enter(small, 2, 2), unlimited.enter(small, 2, 2));
    assert_eq!((granted(&first), granted(&second)), (2, 2), "no turn makes a pool's helpers come");
}

#[test]
fn a_forced_turn_goes_over_the_limits_and_is_given_back() {
    let limits = limits(1, 2);
    let first = limits.enter(MANY, 0, 2);
    let second = limits.enter(MANY, 0, 2);
    second.force(1);
    second.force(1);
    assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (2, 3, 0));
    let third = limits.enter(MANY, 0, 2);
    drop(second);
    assert_eq!(granted(&third), 0);
    drop(first);
    assert_eq!(granted(&third), 2);
}

#[test]
fn a_job_gets_no_less_than_it_needs() {
    let limits = limits(9, 4);
    let first = limits.enter(MANY, 2, 2);
    let second = limits.enter(MANY, 3, 3);
    let third = limits.enter(MANY, 1, 1);
    assert_eq!((granted(&first), granted(&second), granted(&third)), (2, 0, 0));
    drop(first);
    assert_eq!((granted(&second), granted(&third)), (3, 1));
    let fourth = limits.enter(MANY, 1, 1);
    assert_eq!(granted(&fourth), 0, "the second needs three");
    let fifth = limits.enter(MANY, 9, 9);
    drop((second, third));
    assert_eq!((granted(&fourth), granted(&fifth)), (1, 0));
    drop(fourth);
    assert_eq!((granted(&fifth), limits.helpers()), (9, 9), "more than there can be, and alone");
    let sixth = limits.enter(MANY, 1, 1);
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
                    let place = limits.enter(MANY, 0, 2);
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

/// A place, and its helpers that are there.
struct Busy {
    place: Place,
    /// All that are there.
    present: usize,
    /// Those of them that have been told to leave.
    leaving: usize,
}

impl Busy {
    fn comes(&mut self) {
        if let Some(present) = self.place.come() {
            std::mem::forget(present);
            self.present += 1;
        }
    }

    /// Has one leave, one that has been told to if there is one.
    fn leaves(&mut self) {
        if self.present > 0 {
            self.present -= 1;
            self.leaving = self.leaving.saturating_sub(1);
            drop(Present(&self.place));
        }
    }

    /// Asks one of its helpers; returns whether it is to leave.
    fn is_asked(&mut self) -> bool {
        if self.present == self.leaving {
            return false;
        }
        let present = Present(&self.place);
        let leaves = present.gives_up();
        std::mem::forget(present);
        self.leaving += usize::from(leaves);
        leaves
    }

    fn has_turn(&self) -> bool {
        self.place.granted().is_some()
    }
}

/// Asks all helpers, and has those leave that are to, until nothing changes any more.
fn settle(places: &mut [Busy]) {
    loop {
        let mut changes = false;
        for busy in &mut *places {
            changes |= busy.is_asked() || busy.leaving > 0;
            (0..busy.leaving).for_each(|_| busy.leaves());
        }
        if !changes {
            break;
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_comings_and_goings_keeps_to_the_limits_and_shares_out_evenly(
        max_jobs in 1_usize..5,
        max_helpers in 1_usize..9,
        steps in prop::collection::vec((0_u8..8, 0_usize..8, 1_usize..12), 1..120),
    ) {
        let limits = limits(max_jobs, max_helpers);
        let pools = [(1, 6), (2, 3)].map(|(pool, count)| Helpers { pool, count });
        // In order of arrival.
        let mut places: Vec<Busy> = Vec::new();
        for (what, which, wanted) in steps {
            let last = places.len().saturating_sub(1);
            let which_place = which.min(last);
            let waiting = places.iter().filter(|busy| !busy.has_turn());
            let mut waited: Vec<_> = waiting.map(|busy| Arc::clone(&busy.place.turn)).collect();
            match what {
                0 | 1 => {
                    let place = limits.enter(pools[which % 2], which / 2 % 2, wanted);
                    waited.push(Arc::clone(&place.turn));
                    places.push(Busy { place, present: 0, leaving: 0 });
                }
                2 if !places.is_empty() => {
                    let mut ends = places.remove(which_place);
                    while ends.present > 0 {
                        ends.leaves();
                    }
                }
                3 | 4 if !places.is_empty() => (0..wanted).for_each(|_| places[which_place].comes()),
                5 if !places.is_empty() => places[which_place].leaves(),
                6 if !places.is_empty() => _ = places[which_place].is_asked(),
                7 if !places.is_empty() => _ = places[which_place].place.wait(Some(Instant::now())),
                _ => {}
            }
            {
                let state = lock(&limits.0.state);
                for turn in waited.iter().filter(|turn| turn.granted() > 0 && !turn.is_idle()) {
                    // Where a job has ended as well, those that began before had the smaller share of more.
                    let at_least = if what == 2 { 1 } else { turn.wanted.min(state.share(turn)) };
                    prop_assert!(turn.granted() >= at_least, "a turn comes with an even share");
                }
            }
            if wanted % 2 == 0 {
                settle(&mut places);
                let state = lock(&limits.0.state);
                let is_full = state.running.len() == max_jobs
                    || state.running.iter().map(|turn| turn.granted()).sum::<usize>() == max_helpers;
                prop_assert!(state.queue.is_empty() || is_full, "nobody waits for nothing");
                let is_even = |turn: &Arc<Turn>| turn.granted() <= state.share(turn).max(1);
                let waits_for_helpers = !state.queue.is_empty() && state.running.len() < max_jobs;
                prop_assert!(!waits_for_helpers || state.running.iter().all(is_even));
            }
            let turned: Vec<bool> = places.iter().map(Busy::has_turn).collect();
            prop_assert!(turned.is_sorted_by(|before, after| before >= after), "nobody overtakes");
            prop_assert_eq!(limits.jobs(), turned.iter().filter(|&&turned| turned).count());
            let may_be_there = |busy: &Busy| granted(&busy.place).max(busy.present);
            let there: usize = places.iter().map(may_be_there).sum();
            prop_assert!(limits.helpers() >= there);
            prop_assert!(limits.jobs() <= max_jobs && limits.helpers() <= max_helpers);
            let stays = |busy: &Busy| busy.present - busy.leaving <= granted(&busy.place);
            prop_assert!(places.iter().all(stays), "no more come than may");
        }
        for busy in &mut places {
            (0..busy.present).for_each(|_| busy.leaves());
        }
        drop(places);
        prop_assert_eq!((limits.jobs(), limits.helpers(), limits.waiting()), (0, 0, 0));
    }
}
