//! Cursors and claims: every number is one thread's, and none is handed out once they are closed.

use loom::sync::Arc;
use loom::thread;

use super::{Places, check};
use crate::claims::{Claims, Seat};
use crate::cursor::Cursor;
use crate::job::counter::Counter;

/// Has another thread take numbers.
fn beside<Q: Send + Sync + 'static>(
    shared: &Arc<(Q, Places)>,
    take: impl FnOnce(&Q, &Places) + Send + 'static,
) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || take(&shared.0, &shared.1))
}

/// Has so many threads take numbers until there are none, and looks that each was taken once.
fn take_all<Q, T>(
    threads: usize,
    queue: impl Fn() -> Q + Send + Sync + 'static,
    take: T,
    numbers: usize,
) where
    Q: Send + Sync + 'static,
    T: Fn(&Q, usize, &Places) + Copy + Send + Sync + 'static,
{
    check(move || {
        let shared = Arc::new((queue(), Places::new(numbers)));
        let other = |thread| beside(&shared, move |queue, places| take(queue, thread, places));
        let others: Vec<_> = (1..threads).map(other).collect();
        take(&shared.0, 0, &shared.1);
        others.into_iter().for_each(|other| other.join().expect("it takes numbers"));
        assert_eq!(shared.1.counts(), vec![1; numbers]);
    });
}

fn cursor(limit: usize) -> Cursor {
    Cursor::new(Counter::anywhere(), limit)
}

#[test]
fn each_number_of_a_cursor_is_taken_once() {
    let take = |cursor: &Cursor, _: usize, places: &Places| {
        while let Some(number) = cursor.take() {
            places.count(number);
        }
    };
    take_all(3, || cursor(3), take, 3);
}

#[test]
fn each_number_of_a_cursor_is_in_one_run() {
    let take = |cursor: &Cursor, _: usize, places: &Places| {
        while let Some(run) = cursor.take_run(|first| 2 - first.min(1)) {
            run.for_each(|number| places.count(number));
        }
    };
    take_all(3, || cursor(4), take, 4);
}

/// Takes all that there is for a thread.
fn claim(claims: &Claims, thread: usize, places: &Places) {
    let mut seat = Seat::of(thread);
    while let Some(run) = claims.take(&mut seat, |_| 0..usize::MAX) {
        run.for_each(|number| places.count(number));
    }
    assert!(claims.is_used_up());
}

#[test]
fn each_number_is_claimed_once() {
    take_all(3, || Claims::new(3, 2), claim, 3);
}

#[test]
fn each_number_is_claimed_once_where_several_are_at_a_time() {
    take_all(3, || Claims::new(5, 1), claim, 5);
}

#[test]
fn runs_that_nobody_sits_at_are_claimed() {
    take_all(2, || Claims::new(4, 4), claim, 4);
}

#[test]
fn what_threads_leave_that_do_not_come_again_is_claimed() {
    check(|| {
        let shared = Arc::new((Claims::new(3, 2), Places::new(3)));
        let others = beside(&shared, |claims, places| {
            // Both seats are taken then, and one number is left in the first.
            for thread in [0, 1] {
                let taken = claims.take(&mut Seat::of(thread), |_| 0..3);
                taken.into_iter().flatten().for_each(|number| places.count(number));
            }
        });
        claim(&shared.0, 0, &shared.1);
        others.join().expect("they take numbers");
        claim(&shared.0, 0, &shared.1);
        assert!(shared.0.has_nothing_left());
        assert_eq!(shared.1.counts(), vec![1; 3]);
    });
}

/// Has a thread close what another takes from, and looks that it takes nothing more itself.
fn close<Q: Send + Sync + 'static>(
    queue: impl Fn() -> Q + Send + Sync + 'static,
    take: impl Fn(&Q, &mut Seat) -> Option<usize> + Copy + Send + Sync + 'static,
    close: impl Fn(&Q) + Send + Sync + 'static,
    is_used_up: impl Fn(&Q) -> bool + Send + Sync + 'static,
) {
    check(move || {
        let shared = Arc::new((queue(), Places::new(3)));
        let other = beside(&shared, move |queue, places| {
            let mut seat = Seat::of(1);
            while let Some(number) = take(queue, &mut seat) {
                places.count(number);
            }
        });
        let mut seat = Seat::of(0);
        if let Some(number) = take(&shared.0, &mut seat) {
            shared.1.count(number);
        }
        close(&shared.0);
        assert!(is_used_up(&shared.0));
        assert_eq!(take(&shared.0, &mut seat), None);
        other.join().expect("it ends");
        assert!(shared.1.counts().iter().all(|&taken| taken <= 1));
    });
}

#[test]
fn who_closes_a_cursor_finds_it_used_up() {
    let take = |cursor: &Cursor, _: &mut Seat| cursor.take();
    close(|| cursor(3), take, Cursor::close, Cursor::is_used_up);
}

#[test]
fn who_closes_claims_finds_them_used_up() {
    let take = |claims: &Claims, seat: &mut Seat| claims.take(seat, |_| 0..3).map(|run| run.start);
    close(|| Claims::new(3, 1), take, Claims::close, Claims::has_nothing_left);
}
