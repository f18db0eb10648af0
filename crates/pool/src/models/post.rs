//! Post: a ticket is taken once, and only with the call it is for.

use loom::sync::Arc;
use loom::thread;

use super::check;
use crate::board::Looking;
use crate::call::{Arrival, Call, CallRef};
use crate::post::{Post, Tickets};

fn tickets(required: usize, optional: usize) -> Tickets {
    Tickets { required, optional }
}

#[test]
fn a_ticket_of_one_round_is_not_taken_with_the_call_of_the_next() {
    check(|| {
        let post = Arc::new(Post::default());
        let calls = Arc::new([Call::new(1), Call::new(1)]);
        let helper = thread::spawn({
            let (post, calls) = (Arc::clone(&post), Arc::clone(&calls));
            move || {
                let (part, round) = post.accept(0, Looking::ForAny)?;
                // The round, the call and its closure belong together.
                let place = calls.iter().position(|call| std::ptr::eq(call, part.call.call));
                assert_eq!(place.map(|place| place as u64 + 1), Some(round));
                assert_eq!(part.order, 1);
                // SAFETY: [part] it was accepted.
                unsafe { part.take(0) };
                Some(round)
            }
        });
        let works = [|arrival: Arrival| assert_eq!(arrival.helper, Some(0)); 2];
        let mut withdrawn = [0; 2];
        for place in [0, 1] {
            let call = CallRef::new(&calls[place], &works[place]);
            let round = post.open(call, 1, tickets(0, 1));
            assert_eq!(round, Some(place as u64 + 1), "nobody else has a call open");
            withdrawn[place] = post.withdraw(&call);
        }
        let came = helper.join().expect("the helper ends");
        for (place, withdrawn) in withdrawn.into_iter().enumerate() {
            assert_eq!(withdrawn == 0, came == Some(place as u64 + 1));
        }
    });
}

#[test]
fn two_callers_do_not_open_the_same_round() {
    check(|| {
        let post = Arc::new(Post::default());
        let open = || {
            let post = Arc::clone(&post);
            move || {
                let call = Call::new(1);
                let work = |_: Arrival| ();
                let call = CallRef::new(&call, &work);
                let round = post.open(call, 1, tickets(0, 1))?;
                assert_eq!(post.withdraw(&call), 1, "nobody takes its ticket");
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
