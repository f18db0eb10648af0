//! Sleep: no work is left while every helper sleeps.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering::Relaxed};
use loom::thread;

use super::check;
use crate::sleep::{Sleep, Slept};

#[test]
fn work_published_while_a_helper_goes_to_sleep_wakes_it() {
    check(|| {
        let shared = Arc::new((Sleep::new(1), AtomicBool::new(false)));
        let helper = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (sleep, work) = &*shared;
                // Ends only where the work is seen: a helper that sleeps on is a deadlock.
                while !work.load(Relaxed) {
                    match sleep.sleep(0, 0, || work.load(Relaxed)) {
                        Slept::WorkArrived | Slept::Unparked => {}
                    }
                }
            }
        });
        let (sleep, work) = &*shared;
        work.store(true, Relaxed);
        sleep.wake_one([0]);
        helper.join().expect("the helper ends");
    });
}

#[test]
fn work_on_one_node_wakes_a_helper_of_another() {
    check(|| {
        let shared = Arc::new((Sleep::new(2), AtomicBool::new(false)));
        let helper = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (sleep, work) = &*shared;
                while !work.load(Relaxed) {
                    match sleep.sleep(1, 5, || work.load(Relaxed)) {
                        Slept::WorkArrived | Slept::Unparked => {}
                    }
                }
            }
        });
        let (sleep, work) = &*shared;
        work.store(true, Relaxed);
        sleep.wake_one([0, 1]);
        helper.join().expect("the helper ends");
    });
}
