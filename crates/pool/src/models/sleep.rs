//! Sleep: no work is left while every helper sleeps.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use loom::thread;

use super::check;
use crate::absent::Absent;
use crate::front::{Front, Searching, look};
use crate::sync::park;

/// Looks for work as a helper does, and ends where it has seen it: one that sleeps on is a deadlock.
fn search_until(front: &Front, helper: usize, found: impl Fn() -> bool) {
    front.begin_search();
    while !found() {
        let (Searching::Nobody | Searching::Others) = front.end_search();
        front.sleep(helper, &found);
    }
}

#[test]
fn work_published_while_a_helper_goes_to_sleep_wakes_it() {
    check(|| {
        let shared = Arc::new((Front::default(), AtomicBool::new(false)));
        let helper = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (front, work) = &*shared;
                search_until(front, 0, || work.load(Relaxed));
            }
        });
        let (front, work) = &*shared;
        work.store(true, Relaxed);
        look();
        if front.searching() == 0 {
            front.wake(1);
        }
        helper.join().expect("the helper ends");
    });
}

#[test]
fn work_that_a_searching_helper_leaves_wakes_another() {
    check(|| {
        // Two jobs, and whoever publishes the second relies on a helper that
        // searches: that one may find the first.
        let shared = Arc::new((Front::default(), AtomicUsize::new(0), AtomicUsize::new(0)));
        let helper = |helper| {
            let shared = Arc::clone(&shared);
            move || {
                let (front, queued, begun) = &*shared;
                let has_work = || queued.load(Relaxed) > 0;
                let take = || queued.fetch_update(Relaxed, Relaxed, |jobs| jobs.checked_sub(1));
                front.begin_search();
                loop {
                    if take().is_ok() {
                        if front.end_search() == Searching::Nobody && has_work() {
                            front.wake(1);
                        }
                        begun.fetch_add(1, Relaxed);
                        // Each job runs until the other has begun.
                        while begun.load(Relaxed) < 2 {
                            thread::yield_now();
                        }
                        return;
                    }
                    if front.end_search() == Searching::Nobody && has_work() {
                        front.wake(1);
                    }
                    front.sleep(helper, has_work);
                }
            }
        };
        let helpers = [thread::spawn(helper(0)), thread::spawn(helper(1))];
        let (front, queued, _) = &*shared;
        for _ in 0..2 {
            queued.fetch_add(1, Relaxed);
            look();
            if front.searching() == 0 {
                front.wake(1);
            }
        }
        helpers.into_iter().for_each(|helper| helper.join().expect("a helper ends"));
    });
}

#[test]
fn an_owner_that_leaves_a_task_to_a_searching_helper_is_woken_where_that_finds_other_work() {
    check(|| {
        let shared = Arc::new((Front::default(), Absent::default(), AtomicUsize::new(1)));
        // The helper that the owner sees searching takes the other job, which it finds first.
        shared.0.begin_search();
        let helper = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (front, absent, other) = &*shared;
                assert_eq!(other.fetch_sub(1, Relaxed), 1, "nobody else takes it");
                if front.end_search() == Searching::Nobody {
                    absent.poke();
                }
            }
        });
        let (front, absent, _) = &*shared;
        // Where it is not woken, loom finds a deadlock.
        absent.enter();
        while front.searching() > 0 || front.asleep() > 0 {
            park();
        }
        absent.leave();
        helper.join().expect("the helper ends");
    });
}

#[test]
fn a_job_that_a_searching_helper_of_another_node_is_relied_on_for_is_seen_to() {
    check(|| {
        // The publisher's own node has nobody free. The other node's helper searches: the publisher relies on it.
        let shared = Arc::new((Front::default(), Absent::default(), AtomicUsize::new(0)));
        shared.0.begin_search();
        let helper = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (front, absent, queued) = &*shared;
                // It has found work on its own node.
                let last = front.end_search() == Searching::Nobody;
                last && absent.were_relying() && queued.load(Relaxed) > 0
            }
        });
        let (front, absent, queued) = &*shared;
        queued.store(1, Relaxed);
        look();
        absent.rely();
        let relies = front.searching() > 0;
        let sees_to_it = helper.join().expect("the helper ends");
        assert!(!relies || sees_to_it);
    });
}

#[test]
fn work_that_the_last_to_search_leaves_wakes_another() {
    check(|| {
        // A helper that searches finds the first job; a publisher that saw it
        // search wakes nobody for the second, so it must see that one itself.
        let shared = Arc::new((Front::default(), AtomicBool::new(false)));
        shared.0.begin_search();
        let helper = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (front, second) = &*shared;
                front.end_search() == Searching::Nobody && second.load(Relaxed)
            }
        });
        let (front, second) = &*shared;
        second.store(true, Relaxed);
        look();
        let relies_on_it = front.searching() > 0;
        let saw = helper.join().expect("the helper ends");
        assert!(saw || !relies_on_it, "nobody sees to the second job");
    });
}
