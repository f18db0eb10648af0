//! The group `wake`: what the kernel takes to wake a thread that sleeps on another CPU.
//!
//! No runtime whose threads sleep can answer sooner, so this is the floor that
//! cold calls are held against.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use firsttouch::CpuSet;
use firsttouch::topology::affinity;
use rustix::thread::futex;

use super::latency::{nanoseconds, of_singles, work_for};
use super::{Request, Sample};

/// The name of the kernel's own row.
pub const FUTEX: &str = "futex";

const STOP: u32 = u32::MAX;

pub(super) fn measure(request: &Request) -> anyhow::Result<Vec<Sample>> {
    let allowed = affinity::current().context("cannot read where this thread may run")?;
    let mut cpus = allowed.iter().map(|cpu| CpuSet::from_iter([cpu]));
    let first = cpus.next().context("this thread may run nowhere")?;
    // With one CPU, the caller must leave it for the other thread to answer.
    let second = cpus.next();
    let alone = second.is_none();
    affinity::set_current(&first)?;
    let (asked, answered) = (AtomicU32::new(0), AtomicU32::new(0));
    let mut round_trips = Vec::new();
    let mut calls = Vec::new();
    let refused = thread::scope(|scope| {
        let (asked, answered) = (&asked, &answered);
        let other = scope.spawn(move || {
            let pinned = affinity::set_current(second.as_ref().unwrap_or(&first));
            answer(asked, answered);
            pinned
        });
        for question in 1..=request.effort.choose(200, 3) {
            // Long enough for the other thread to be asleep, and its CPU idle.
            work_for(Duration::from_millis(1));
            let start = Instant::now();
            asked.store(question, Ordering::Release);
            wake(asked);
            calls.push(nanoseconds(start.elapsed()));
            while answered.load(Ordering::Acquire) != question {
                if alone {
                    thread::yield_now();
                }
                std::hint::spin_loop();
            }
            round_trips.push(nanoseconds(start.elapsed()));
        }
        asked.store(STOP, Ordering::Release);
        wake(asked);
        other.join().map_or(Ok(()), |pinned| pinned)
    });
    affinity::set_current(&allowed)?;
    refused.context("the other thread could not be put on another CPU")?;
    let samples = [("wake/round-trip", round_trips), ("wake/call", calls)];
    let wanted = samples.into_iter().filter(|(case, _)| request.wants(case));
    Ok(wanted.map(|(case, times)| of_singles(case, times)).collect())
}

/// Sleeps until there is another question, and answers it.
fn answer(asked: &AtomicU32, answered: &AtomicU32) {
    let mut last = 0;
    loop {
        let question = asked.load(Ordering::Acquire);
        if question == STOP {
            return;
        }
        if question == last {
            // Returns at once where there is another question by now; its errors all mean: look again.
            let _ = futex::wait(asked, futex::Flags::PRIVATE, last, None);
            continue;
        }
        answered.store(question, Ordering::Release);
        last = question;
    }
}

fn wake(asked: &AtomicU32) {
    // The call cannot fail on a word that is there.
    let _ = futex::wake(asked, futex::Flags::PRIVATE, 1);
}
