//! Post: a ticket is taken once, and only with the call it is for.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::{Each, TOPOLOGY, check};
use crate::board::Looking;
use crate::call::{Arrival, Call, CallRef};
use crate::handlers::Handlers;
use crate::post::{Claim, Post, Tickets};
use crate::shared::Shared;
use crate::steal::Steal;

fn tickets(required: usize, optional: usize) -> Tickets {
    Tickets { required, optional }
}

/// What callers and helpers of a node share, without helpers.
fn front() -> Arc<(Post, Claim, Shared)> {
    let topology = TOPOLOGY.clone();
    let handlers = Handlers::default();
    let nobody = Shared::new(topology, Vec::new(), Duration::ZERO, Steal::Anywhere, handlers);
    Arc::new((Post::default(), Claim::default(), nobody))
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
                let (part, round) = post.accept(0, Looking::ForAny)?;
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
            let round = post.open(claim, call, 1, tickets(0, 1));
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
        let open = || {
            let front = Arc::clone(&front);
            move || {
                let (post, claim, _) = &*front;
                let call = Call::new(1);
                let work = Each(|_: Arrival| ());
                let call = CallRef::new(&call, &work);
                let round = post.open(claim, call, 1, tickets(0, 1))?;
                assert_eq!(post.withdraw(&call), 1, "nobody takes its ticket");
                claim.close(&call);
                Some(round)
            }
        };
        let other = thread::spawn(open());
        let mine = open()();
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
        assert_eq!(post.open(claim, first, 1, tickets(0, 1)), Some(1));
        // A helper comes to this round, and the next caller may open its own.
        assert!(post.accept(0, Looking::ForAny).is_some());
        // This caller is the one that loom starts late: it looks for steps to
        // put a load before, and finds the last store only.
        let caller = thread::spawn({
            let front = Arc::clone(&front);
            move || assert_eq!(front.0.withdraw(&first), 0, "its only ticket was taken")
        });
        let next = CallRef::new(&calls[1], &work);
        assert_eq!(post.open(claim, next, 1, tickets(0, 1)), Some(2));
        assert_eq!(post.withdraw(&next), 1, "nobody else takes its ticket");
        caller.join().expect("it ends");
    });
}

#[test]
fn a_call_that_closes_late_does_not_close_the_next() {
    check(|| {
        let front = front();
        let calls = |front: &Arc<(Post, Claim, Shared)>, number: usize| {
            let (post, claim, _) = &**front;
            for _ in 0..number {
                let call = Call::new(1);
                let work = Each(|_: Arrival| ());
                let call = CallRef::new(&call, &work);
                if post.open(claim, call, 1, tickets(0, 1)).is_some() {
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
