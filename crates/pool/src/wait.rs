//! Waiting for completion: what a thread does until work that it lent out is done.
//!
//! `docs/protocols/waiting.md` has the rule of what it may run meanwhile.

use std::cell::Cell;
use std::time::Duration;

use crate::completion::{Completion, Registered};
use crate::current::home;
use crate::shared::Shared;
use crate::spin::Spin;
use crate::sync::{Ordering, fence, park};
use crate::worker::Worker;

/// Waits for completion; `run_own` runs one piece of the caller's own queued work, if there is one.
///
/// A thread that is a helper also comes to calls that require it; it runs no
/// stranger's task. Panics do not come out of either.
///
/// # Panics
///
/// In a forked child, where nobody is left to wait for. No other thread has
/// the frame there, so it may unwind.
pub(crate) fn wait(worker: &Worker<'_>, done: &Completion, mut run_own: impl FnMut() -> bool) {
    let process = worker.process();
    process.assert_here();
    let run_own = || {
        let ran = run_own();
        if ran {
            // What ran may have forked.
            process.assert_here();
        }
        ran
    };
    let counted = worker.is_counted();
    let (leaves, forgot) = (Cell::new(false), Cell::new(false));
    // While it looks for work, others show what they have, and a helper that was put on a guest's CPU may have it;
    // while it sleeps, any other thread may.
    let look = || {
        if worker.helper.is_none() && worker.cpu.forget() {
            forgot.set(true);
        }
        if worker.is_counted() {
            worker.ends_work();
            leaves.set(true);
        }
    };
    let sleep = || {
        if leaves.take() {
            worker.shared().left_cpu(worker.node);
        }
        park();
    };
    let mut looks = worker.begin_looks(|| false);
    wait_until(done, &mut looks, run_own, look, sleep);
    worker.end_looks(&looks);
    if counted {
        // Which notes a guest's CPU, too.
        worker.begins_work();
    } else if forgot.get() {
        let _ = worker.cpu.note();
    }
}

/// Waits as [`wait`] does, on a thread that is no worker of the pool.
pub(crate) fn wait_outside(shared: &Shared, done: &Completion) {
    wait_until(done, &mut Spin::new(shared.spin), || false, || (), park);
}

/// As [`wait_outside`], without spinning; `run_own` as for [`wait`].
pub(crate) fn wait_idly(done: &Completion, run_own: impl FnMut() -> bool) {
    wait_until(done, &mut Spin::new(Duration::ZERO), run_own, || (), park);
}

fn wait_until(
    done: &Completion,
    looks: &mut Spin,
    mut run_own: impl FnMut() -> bool,
    look: impl Fn(),
    sleep: impl Fn(),
) {
    // SAFETY: [frame] it does not leave this function.
    let home = unsafe { home() };
    let mut serve = || run_own() || home.is_some_and(Worker::serve_required);
    let sleep = || match home {
        Some(home) => home.cpu.while_forgotten(&sleep),
        None => sleep(),
    };
    while !done.is_complete() {
        if serve() {
            looks.begin_again();
            continue;
        }
        look();
        if looks.pause() {
            continue;
        }
        if done.register() == Registered::Complete {
            return;
        }
        // [help] SeqCst: between the registration and the look at others' deques.
        // Its partner stands between a job that is shown and the look at the registration.
        fence(Ordering::SeqCst);
        // What came before the registration may have seen nobody to wake.
        if !serve() {
            sleep();
            looks.has_slept();
        }
    }
}
