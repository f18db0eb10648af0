//! Post: a ticket is taken once, and only with the call it is for.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::{Each, TOPOLOGY, check};
use crate::board::Looking;
use crate::call::{Arrival, Call, CallRef};
use crate::front::{Claim, Front, Round, Searching, Tickets};
use crate::handlers::Handlers;
use crate::shared::Shared;
use crate::steal::Steal;

/// Opens a call for one helper that may come; returns its round.
fn open(front: &Front, claim: &Claim, call: CallRef) -> Option<Round> {
    let tickets = Tickets { required: 0, optional: 1 };
    front.open(claim, call, 1, tickets).map(|opened| opened.round)
}

/// What callers and helpers of a node share, without helpers.
fn front() -> Arc<(Front, Claim, Shared)> {
    let topology = TOPOLOGY.clone();
    let handlers = Handlers::default();
    let nobody = Shared::new(topology, Vec::new(), Duration::ZERO, Steal::Anywhere, handlers);
    Arc::new((Front::default(), Claim::default(), nobody))
}

/// Opens two calls one after the other, and takes back what a helper does not take meanwhile.
fn two_rounds(closes: bool) {
    check(move || {
        let front = front();
        let calls = Arc::new([Call::new(1), Call::new(1)]);
        let helper = thread::spawn({
            let (front, calls) = (Arc::clone(&front), Arc::clone(&calls));
            move || {
                let (post, _, shared) = &*front;
                let accepted = post.accept(0, Looking::ForAny, false)?;
                let (part, round) = (accepted.part, accepted.round);
                // The round, the call and what it runs belong together.
                let place = calls.iter().position(|call| std::ptr::eq(call, part.call.call));
                assert_eq!(place.map(|place| place as u64 + 1), Some(round));
                assert_eq!(part.order, 1);
                // SAFETY: [part] it was accepted.
                unsafe { part.take(shared, 0, || ()) };
                Some(round)
            }
        });
        let (post, claim, _) = &*front;
        let works = [(); 2].map(|()| Each(|arrival: Arrival| assert_eq!(arrival.helper, Some(0))));
        let mut withdrawn = [0; 2];
        for place in [0, 1] {
            let call = CallRef::new(&calls[place], &works[place]);
            let round = open(post, claim, call);
            assert_eq!(round, Some(place as u64 + 1), "nobody else has a call open");
            withdrawn[place] = post.withdraw(&call);
            if closes {
                claim.close(&call);
            }
        }
        let came = helper.join().expect("the helper ends");
        for (place, withdrawn) in withdrawn.into_iter().enumerate() {
            assert_eq!(withdrawn == 0, came == Some(place as u64 + 1));
        }
    });
}

#[test]
fn a_ticket_of_one_round_is_not_taken_with_the_call_of_the_next() {
    two_rounds(true);
}

#[test]
fn a_round_whose_tickets_are_gone_is_followed_by_the_next_though_its_caller_has_not_closed_it() {
    two_rounds(false);
}

#[test]
fn two_callers_do_not_open_the_same_round() {
    check(|| {
        let front = front();
        let opens = || {
            let front = Arc::clone(&front);
            move || {
                let (post, claim, _) = &*front;
                let call = Call::new(1);
                let work = Each(|_: Arrival| ());
                let call = CallRef::new(&call, &work);
                let round = open(post, claim, call)?;
                assert_eq!(post.withdraw(&call), 1, "nobody takes its ticket");
                claim.close(&call);
                Some(round)
            }
        };
        let other = thread::spawn(opens());
        let mine = opens()();
        let theirs = other.join().expect("it ends");
        assert!(mine.is_some() || theirs.is_some());
        assert_ne!(mine, theirs);
    });
}

#[test]
fn a_caller_takes_back_no_ticket_of_the_next_round() {
    check(|| {
        let front = front();
        let calls = Arc::new([Call::new(1), Call::new(1)]);
        let work = Each(|_: Arrival| ());
        let (post, claim, _) = &*front;
        let first = CallRef::new(&calls[0], &work);
        assert_eq!(open(post, claim, first), Some(1));
        // A helper comes to this round, and the next caller may open its own.
        assert!(post.accept(0, Looking::ForAny, false).is_some());
        // This caller is the one that loom starts late: it looks for steps to
        // put a load before, and finds the last store only.
        let caller = thread::spawn({
            let front = Arc::clone(&front);
            move || assert_eq!(front.0.withdraw(&first), 0, "its only ticket was taken")
        });
        let next = CallRef::new(&calls[1], &work);
        assert_eq!(open(post, claim, next), Some(2));
        assert_eq!(post.withdraw(&next), 1, "nobody else takes its ticket");
        caller.join().expect("it ends");
    });
}

#[test]
fn a_call_that_closes_late_does_not_close_the_next() {
    check(|| {
        let front = front();
        let calls = |front: &Arc<(Front, Claim, Shared)>, number: usize| {
            let (post, claim, _) = &**front;
            for _ in 0..number {
                let call = Call::new(1);
                let work = Each(|_: Arrival| ());
                let call = CallRef::new(&call, &work);
                if open(post, claim, call).is_some() {
                    assert_eq!(post.withdraw(&call), 1, "nobody takes its ticket");
                    claim.close(&call);
                }
            }
        };
        let other = thread::spawn({
            let front = Arc::clone(&front);
            move || calls(&front, 1)
        });
        calls(&front, 2);
        other.join().expect("it ends");
    });
}

#[test]
fn a_helper_that_a_call_counts_on_sees_its_tickets_before_it_ends_its_search() {
    check(|| {
        let front = front();
        front.0.begin_search();
        let helper = thread::spawn({
            let front = Arc::clone(&front);
            move || {
                let last = front.0.end_search() == Searching::Nobody;
                last && front.0.required().is_some()
            }
        });
        let (post, claim, _) = &*front;
        let call = Call::new(1);
        let work = Each(|_: Arrival| ());
        let tickets = Tickets { required: 1, optional: 0 };
        let opened = post.open(claim, CallRef::new(&call, &work), 1, tickets);
        let counts_on_it = opened.expect("nobody else has a call open").searching > 0;
        let saw = helper.join().expect("it ends");
        assert!(saw || !counts_on_it, "nobody sees to the tickets");
    });
}

#[test]
fn a_helper_that_takes_a_ticket_ends_its_search_with_it() {
    check(|| {
        let front = front();
        front.0.begin_search();
        let calls = Arc::new([Call::new(1), Call::new(1)]);
        let helper = thread::spawn({
            let front = Arc::clone(&front);
            move || {
                let (post, _, shared) = &*front;
                let Some(accepted) = post.accept(0, Looking::ForAny, true) else {
                    return post.end_search();
                };
                // SAFETY: [part] it was accepted.
                unsafe { accepted.part.take(shared, 0, || ()) };
                accepted.searching.expect("its search has ended")
            }
        });
        let (post, claim, _) = &*front;
        let work = Each(|_: Arrival| ());
        let first = CallRef::new(&calls[0], &work);
        assert_eq!(open(post, claim, first), Some(1));
        // Another begins to search meanwhile.
        post.begin_search();
        let withdrawn = post.withdraw(&first);
        assert!(withdrawn <= 1);
        let _ = helper.join().expect("it ends");
        assert_eq!(post.searching(), 1, "the other is left");
        assert_eq!(post.all_tickets(), Tickets::default());
        assert_eq!(open(post, claim, CallRef::new(&calls[1], &work)), Some(2));
        assert_eq!(post.withdraw(&CallRef::new(&calls[1], &work)), 1);
    });
}
