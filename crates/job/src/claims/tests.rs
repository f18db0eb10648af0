use std::collections::HashSet;
use std::iter;
use std::thread;

use proptest::prelude::*;

use super::*;

/// Takes whatever is there in one piece.
fn take(claims: &Claims, seat: &mut Seat) -> Option<Range<usize>> {
    claims.take(seat, |_| 0..usize::MAX)
}

fn all(claims: &Claims, thread: usize) -> Vec<Range<usize>> {
    let mut seat = Seat::of(thread);
    iter::from_fn(|| take(claims, &mut seat)).collect()
}

#[test]
fn a_thread_takes_quarters_of_its_own_run_then_halves_of_what_is_left() {
    let claims = Claims::new(128, 2);
    let mut seat = Seat::of(1);
    let own: Vec<_> = (0..8).filter_map(|_| take(&claims, &mut seat)).collect();
    assert_eq!(own, [64..80, 80..96, 96..112, 112..120, 120..124, 124..126, 126..127, 127..128]);
    assert!(!claims.is_used_up());
}

#[test]
fn then_it_takes_the_ends_of_the_runs_after() {
    let claims = Claims::new(12, 3);
    assert_eq!(all(&claims, 1)[3..7], [7..8, 11..12, 10..11, 9..10]);
    assert!(claims.is_used_up());
    let claims = Claims::new(8, 2);
    let (mut first, mut second) = (Seat::of(0), Seat::of(1));
    assert_eq!(take(&claims, &mut first), Some(0..1));
    assert_eq!(all(&claims, 1), [4..5, 5..6, 6..7, 7..8, 3..4, 2..3, 1..2]);
    assert_eq!(take(&claims, &mut first), None);
    assert_eq!(take(&claims, &mut second), None);
}

#[test]
fn a_thread_whose_seat_is_taken_gets_the_next_that_is_free() {
    let claims = Claims::new(8, 4);
    let (mut first, mut second, mut third) = (Seat::of(3), Seat::of(3), Seat::of(7));
    assert_eq!(take(&claims, &mut first), Some(6..7));
    assert_eq!(take(&claims, &mut second), Some(0..1));
    assert_eq!(take(&claims, &mut third), Some(2..3));
    assert_eq!(take(&claims, &mut first), Some(7..8));
    assert_eq!(take(&claims, &mut second), Some(1..2));
    assert_eq!(take(&claims, &mut second), Some(3..4), "then what is left");
}

#[test]
fn what_is_taken_at_once_lies_together() {
    let together = |number: usize| if number < 5 { 0..5 } else { 5..40 };
    let claims = Claims::new(40, 1);
    let (mut own, mut other) = (Seat::of(0), Seat::of(0));
    let next = |seat: &mut Seat| claims.take(seat, together);
    assert_eq!(next(&mut own), Some(0..5), "not the quarter, which is 10");
    assert_eq!(next(&mut other), Some(30..40));
    assert_eq!(next(&mut own), Some(5..15));
    assert_eq!(next(&mut other), Some(22..30));
    let claims = Claims::new(40, 1);
    let together = |number: usize| if number < 38 { 0..38 } else { 38..40 };
    let next = |seat: &mut Seat| claims.take(seat, together);
    let (mut own, mut other) = (Seat::of(0), Seat::of(0));
    assert_eq!(next(&mut own), Some(0..10));
    assert_eq!(next(&mut other), Some(38..40));
    assert_eq!(next(&mut other), Some(28..38));
}

#[test]
fn closed_and_empty_claims_hand_out_nothing() {
    let claims = Claims::new(1000, 7);
    let mut seat = Seat::of(1);
    assert!(take(&claims, &mut seat).is_some() && !claims.is_used_up());
    claims.close();
    assert!(claims.is_used_up() && take(&claims, &mut seat).is_none());
    let empty = Claims::new(0, 3);
    assert!(empty.is_used_up() && all(&empty, 1).is_empty());
}

#[test]
fn few_seats_have_words_in_lines_of_their_own() {
    let lines = |seats: usize| {
        let claims = Claims::new(1 << 20, seats);
        let places = || (0..seats).map(|seat| std::ptr::from_ref(claims.words.of(seat)) as usize);
        assert_eq!(places().collect::<HashSet<_>>().len(), seats, "each has a word of its own");
        places().map(|place| place / 64).collect::<HashSet<_>>().len()
    };
    assert_eq!([1, 2, LINES].map(lines), [1, 2, LINES]);
    assert_eq!(lines(LINES * LINES + 1), LINES * LINES + 1);
}

#[test]
fn more_numbers_than_a_word_can_count_are_dealt_to_more_seats() {
    let most = u32::MAX as usize;
    for (limit, seats) in [(most, 1), (most + 1, 2), (3 * most, 3)] {
        let claims = Claims::new(limit, 1);
        assert_eq!(claims.seats.chunks(), seats);
        assert_eq!(take(&claims, &mut Seat::of(0)).map(|run| run.start), Some(0));
    }
}

#[test]
fn every_number_is_taken_once_by_threads_in_contention() {
    for limit in [16, 64, 500, 513, 4096] {
        let claims = Claims::new(limit, 4);
        let mut taken: Vec<usize> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let claims = &claims;
                    scope.spawn(move || all(claims, thread))
                })
                .collect();
            let runs = threads.into_iter().flat_map(|thread| thread.join().expect("no panic"));
            runs.flatten().collect()
        });
        taken.sort_unstable();
        assert!(taken.into_iter().eq(0..limit));
        assert!(claims.is_used_up());
    }
}

proptest! {
    #[test]
    fn any_interleaving_takes_every_number_once(
        limit in 0_usize..1200,
        seats in 1_usize..400,
        piece in 1_usize..300,
        turns in prop::collection::vec(0_usize..8, 1..50),
    ) {
        let claims = Claims::new(limit, seats);
        let mut seats_taken: Vec<Seat> = (0..8).map(|thread| Seat::of(thread * 3)).collect();
        let mut taken = vec![false; limit];
        let together = |number: usize| number / piece * piece..(number / piece + 1) * piece;
        for turn in turns.iter().cycle().take(limit + 8 * turns.len()) {
            if let Some(run) = claims.take(&mut seats_taken[*turn], together) {
                prop_assert!(!run.is_empty() && run.start / piece == (run.end - 1) / piece);
                for number in run {
                    prop_assert!(!std::mem::replace(&mut taken[number], true));
                }
            }
        }
        prop_assert!(taken.into_iter().all(|taken| taken));
        prop_assert!(claims.is_used_up());
    }
}
