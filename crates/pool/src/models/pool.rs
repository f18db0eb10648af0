//! Whole pools of one or two helpers: teams, joins, scopes and shutdown, with the code that ships.
//!
//! loom does not see into the deques, so these find errors in what surrounds
//! them; the orderings are checked in the smaller models.

use std::sync::Arc;
use std::time::Duration;

use firsttouch_topology::{CpuSet, NodeId};
use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};

use super::{Each, TOPOLOGY, check_within};
use crate::current::{calling, enter};
use crate::deque::Deque;
use crate::front::Tickets;
use crate::handlers::Handlers;
use crate::helper::{self, Helper};
use crate::pin::{Kept, Pinned, Place};
use crate::shared::{HelperWork, NodeWork, Shared, Started};
use crate::steal::Steal;
use crate::storage::OwnPages;
use crate::sync::Thread;
use crate::task;
use crate::team::{Ask, fork};
use crate::worker::Worker;

/// Helpers that run as they do in a pool.
pub(super) struct Model {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Model {
    /// Starts helpers on one node.
    fn new(helpers: usize) -> Self {
        Self::on_nodes(&vec![0; helpers])
    }

    /// Starts one helper on each of these nodes, which ascend.
    fn on_nodes(nodes: &[u32]) -> Self {
        Self::restricted(nodes, Steal::Anywhere)
    }

    /// Makes what a helper shares with others, and no thread.
    pub(super) fn without_helpers_running() -> Self {
        let (_, _, shared) = Self::shared_by(&[0], Steal::Anywhere);
        Self { shared, threads: Vec::new() }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Makes what one helper on each of these nodes shares with the others.
    fn shared_by(nodes: &[u32], steal: Steal) -> (Vec<Deque>, Vec<Thread>, Arc<Shared>) {
        let deques: Vec<_> = nodes.iter().map(|_| Deque::new()).collect();
        let start = |(index, deque): (usize, &Deque)| Started {
            helper: Helper { index, node: NodeId::new(nodes[index]), pinned: Pinned::None },
            thread: Thread::default(),
            stealer: deque.stealer(),
            work: OwnPages::new(HelperWork::new(2)),
            node_work: Some(OwnPages::new(NodeWork::new(
                nodes.len(),
                nodes.len() + 1,
                &CpuSet::new(),
            ))),
        };
        let started: Vec<_> = deques.iter().enumerate().map(start).collect();
        let handles: Vec<_> = started.iter().map(|started| started.thread.clone()).collect();
        let shared = Arc::new(Shared::new(
            Arc::clone(&TOPOLOGY),
            started,
            Duration::ZERO,
            steal,
            Handlers::default(),
        ));
        (deques, handles, shared)
    }

    /// As [`Model::on_nodes`], in a pool where no more helpers than these may take a job.
    fn restricted(nodes: &[u32], steal: Steal) -> Self {
        Self::of(nodes, steal, |worker, index| {
            helper::run(worker, index, Kept::to(Place::Anywhere, Pinned::None));
        })
    }

    /// Starts a thread for one helper on each of these nodes, which does this.
    pub(super) fn of(nodes: &[u32], steal: Steal, helper: fn(&Worker<'_>, usize)) -> Self {
        let (deques, handles, shared) = Self::shared_by(nodes, steal);
        let threads =
            deques.into_iter().zip(handles).enumerate().map(|(index, (deque, handle))| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    handle.adopt();
                    let node = shared.place_of_node(index);
                    helper(&Worker::helper(&shared, deque, node, index), index);
                })
            });
        Self { threads: threads.collect(), shared }
    }

    /// Runs a call that needs `required` helpers and invites `optional` ones; returns how many took part.
    pub(super) fn call(&self, required: usize, optional: usize) -> usize {
        let came = [(); 4].map(|()| UnsafeCell::new(false));
        let came = Shareable(&came);
        calling(&self.shared, |caller| {
            let work = |arrival: crate::call::Arrival| {
                let came = came.get();
                let place = arrival.helper.map_or(0, |helper| 1 + helper);
                came[place].with_mut(|came| {
                    // SAFETY: each thread has its own place, and comes once.
                    let before = unsafe { std::mem::replace(&mut *came, true) };
                    assert!(!before, "nobody comes twice");
                });
            };
            let asks = std::iter::once(Ask { node: 0, tickets: Tickets { required, optional } });
            let own = crate::call::Arrival { order: 0, helper: None };
            let members = fork(caller, asks, false, &Each(work), Some(|| work(own)));
            // SAFETY: loom checks that every member's writes are visible and over.
            let came = came.get().iter().filter(|came| came.with(|came| unsafe { *came }));
            assert_eq!(came.count(), members);
            members
        })
    }

    /// Runs a call that invites a helper, and goes on until one has come.
    pub(super) fn call_until_one_comes(&self) {
        let came = Event::new();
        calling(&self.shared, |caller| {
            let asks = Some(Ask { node: 0, tickets: Tickets { required: 0, optional: 1 } });
            let work = Each(|_| came.happens());
            assert_eq!(fork(caller, asks.into_iter(), false, &work, Some(|| came.wait())), 2);
        });
    }

    /// Runs a call that requires helpers, on the board, as another that wakes nobody has the post.
    pub(super) fn call_on_board(&self, required: usize) {
        calling(&self.shared, |caller| {
            let ask = |required, optional| {
                std::iter::once(Ask { node: 0, tickets: Tickets { required, optional } })
            };
            // More than there are helpers, so that the post stays taken.
            let members = fork(
                caller,
                ask(0, 8),
                true,
                &Each(|_| ()),
                Some(|| {
                    let members = fork(caller, ask(required, 0), false, &Each(|_| ()), Some(|| ()));
                    assert_eq!(members, 1 + required);
                }),
            );
            assert!(members <= 1 + self.shared.helpers.len());
        });
    }

    /// Ends the helpers, and waits as dropping a pool does.
    fn shut_down_and_wait(self) {
        self.shared.shut_down();
        (0..self.threads.len()).for_each(|helper| self.shared.wait_for_end_of(helper));
        self.shut_down();
    }

    /// Ends the helpers.
    fn shut_down(self) {
        self.shared.shut_down();
        self.join();
    }

    /// Waits until the helpers' threads have ended.
    pub(super) fn join(self) {
        self.threads.into_iter().for_each(|thread| thread.join().expect("a helper ends"));
    }
}

/// What loom checks instead of the compiler.
#[derive(Clone, Copy)]
struct Shareable<T>(T);

impl<T> Shareable<T> {
    /// Takes the whole, so that a closure captures this and not what is inside.
    fn get(self) -> T {
        self.0
    }
}

// SAFETY: loom checks every access.
unsafe impl<T> Sync for Shareable<T> {}
// SAFETY: loom checks every access.
unsafe impl<T> Send for Shareable<T> {}

/// Tries every order of steps with at most one preemption.
fn check(model: impl Fn() + Send + Sync + 'static) {
    check_within(1, model);
}

#[test]
fn an_idle_pool_shuts_down() {
    check(|| Model::new(2).shut_down_and_wait());
}

#[test]
fn an_invited_helper_comes_or_is_not_waited_for() {
    check(|| {
        let model = Model::new(1);
        assert!((1..=2).contains(&model.call(0, 1)));
        model.shut_down();
    });
}

#[test]
fn required_helpers_all_come() {
    check(|| {
        let model = Model::new(2);
        assert_eq!(model.call(2, 0), 3);
        model.shut_down();
    });
}

#[test]
fn a_required_helper_that_sleeps_comes() {
    check(|| {
        let model = Model::new(1);
        // A thread of its own, so that the helper may sleep before.
        let caller = thread::spawn(move || {
            assert_eq!(model.call(1, 0), 2);
            model.shut_down();
        });
        caller.join().expect("the caller ends");
    });
}

#[test]
fn a_required_helper_comes_and_an_invited_one_may() {
    check(|| {
        let model = Model::new(2);
        assert!((2..=3).contains(&model.call(1, 1)));
        model.shut_down();
    });
}

#[test]
fn calls_follow_each_other() {
    check(|| {
        let model = Model::new(1);
        assert_eq!(model.call(1, 0), 2);
        assert_eq!(model.call(1, 0), 2);
        model.shut_down();
    });
}

#[test]
fn a_spawned_closure_runs_before_shutdown_ends() {
    check(|| {
        let model = Model::new(1);
        let ran = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let runs = Arc::clone(&ran);
        // A thread of its own, so that the helper may be anywhere in its loop before.
        let caller = thread::spawn(move || {
            let shared = Arc::clone(&model.shared);
            // Where it is over, the helpers have rested, and come to no call.
            let run = move || {
                runs.store(!shared.shutdown.is_over(), std::sync::atomic::Ordering::SeqCst);
            };
            task::spawn(&model.shared, None, run);
            model.shut_down();
        });
        caller.join().expect("the caller ends");
        assert!(ran.load(std::sync::atomic::Ordering::SeqCst));
    });
}

#[test]
fn a_closure_spawned_while_the_pool_shuts_down_runs() {
    check(|| {
        let model = Model::new(2);
        let ran = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let runs = Arc::clone(&ran);
        // It does not own the pool, which shuts down meanwhile.
        task::spawn(&model.shared, None, || {
            crate::spawn(move || runs.store(true, std::sync::atomic::Ordering::SeqCst));
        });
        model.shut_down();
        assert!(ran.load(std::sync::atomic::Ordering::SeqCst));
    });
}

#[test]
fn a_call_made_while_the_pool_shuts_down_finds_the_other_helper() {
    check(|| {
        let model = Model::new(2);
        let came = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counts = Arc::clone(&came);
        task::spawn(&model.shared, None, move || {
            let all = crate::broadcast(|_| ()).len();
            counts.store(all, std::sync::atomic::Ordering::SeqCst);
        });
        // Where a helper ends before the other needs it, loom finds a deadlock.
        model.shut_down_and_wait();
        assert_eq!(came.load(std::sync::atomic::Ordering::SeqCst), 2);
    });
}

#[test]
fn a_closure_left_to_another_node_while_the_pool_shuts_down_finds_all_helpers() {
    check(|| {
        // No helper may take what is another node's.
        let model = Model::restricted(&[0, 1], Steal::Node);
        let came = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counts = Arc::clone(&came);
        let shared = Arc::clone(&model.shared);
        task::spawn(&model.shared, Some(1), move || {
            task::spawn(&shared, Some(0), move || {
                let all = crate::broadcast(|_| ()).len();
                counts.store(all, std::sync::atomic::Ordering::SeqCst);
            });
        });
        model.shut_down_and_wait();
        assert_eq!(came.load(std::sync::atomic::Ordering::SeqCst), 2);
    });
}

#[test]
fn two_spawned_closures_that_need_each_other_both_run() {
    check(|| {
        let model = Model::new(2);
        let met = Arc::new((Mutex::new(0), Condvar::new()));
        let meet = || {
            let met = Arc::clone(&met);
            // Where one helper sleeps on while the other waits here, loom finds a deadlock.
            move || {
                let (count, changed) = &*met;
                let mut count = count.lock().expect("nobody panics with it");
                *count += 1;
                changed.notify_all();
                while *count < 3 {
                    count = changed.wait(count).expect("nobody panics with it");
                }
            }
        };
        let (one, other, wait) = (meet(), meet(), meet());
        // A thread of its own, so that both helpers may sleep before.
        let caller = thread::spawn(move || {
            task::spawn(&model.shared, None, one);
            task::spawn(&model.shared, None, other);
            // Shutdown would wake them.
            wait();
            model.shut_down();
        });
        caller.join().expect("the caller ends");
    });
}

#[test]
fn a_helper_that_was_woken_sleeps_and_is_woken_again() {
    check(|| {
        let model = Model::new(1);
        let caller = thread::spawn(move || {
            for _ in 0..2 {
                let ran = Event::new();
                let runs = ran.clone();
                task::spawn(&model.shared, None, move || runs.happens());
                ran.wait();
            }
            model.shut_down();
        });
        caller.join().expect("the caller ends");
    });
}

#[test]
fn a_join_gets_both_results() {
    check(|| {
        let model = Model::new(1);
        assert_eq!(enter(&model.shared, |worker| task::join(worker, || 1, || 2)), (1, 2));
        model.shut_down();
    });
}

/// Something that happens once, and that others wait for without the pool's knowledge.
#[derive(Clone)]
struct Event(Arc<(Mutex<bool>, Condvar)>);

impl Event {
    fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    fn happens(&self) {
        *self.0.0.lock().expect("nobody panics with it") = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let mut happened = self.0.0.lock().expect("nobody panics with it");
        while !*happened {
            happened = self.0.1.wait(happened).expect("nobody panics with it");
        }
    }
}

#[test]
fn a_helper_that_waits_serves_a_call_that_requires_it() {
    check(|| {
        let model = Model::new(2);
        let shared = &model.shared;
        let (task_started, half_stolen) = (Event::new(), Event::new());
        let all = || {
            half_stolen.happens();
            calling(shared, |caller| {
                let required = shared.others_on_node(0, caller.helper());
                let asks =
                    std::iter::once(Ask { node: 0, tickets: Tickets { required, optional: 0 } });
                assert_eq!(fork(caller, asks, false, &Each(|_| ()), Some(|| ())), 1 + required);
            });
        };
        enter(shared, |worker| {
            // A helper runs the task; the other, or the scope's owner, takes the
            // second half, and the first then waits for a call that requires it.
            task::scope(worker, None, Steal::Anywhere, |scope| {
                scope.spawn(|_| {
                    task_started.happens();
                    enter(shared, |worker| task::join(worker, || half_stolen.wait(), all));
                });
                task_started.wait();
            });
        });
        model.shut_down();
    });
}

#[test]
fn a_helper_woken_for_a_job_that_takes_an_invitation_instead_wakes_another() {
    check(|| {
        let model = Model::on_nodes(&[0, 1]);
        let ran = Event::new();
        let job = || {
            let ran = ran.clone();
            task::spawn(&model.shared, None, move || ran.happens());
        };
        calling(&model.shared, |caller| {
            // The first node's helper waits in the call for the job, so only
            // the other node's helper can run it.
            let work = Each(|_| ran.wait());
            let asks =
                std::iter::once(Ask { node: 0, tickets: Tickets { required: 1, optional: 0 } });
            fork(caller, asks, false, &work, Some(job));
        });
        model.shut_down();
    });
}

#[test]
fn a_scope_ends_after_its_tasks() {
    check(|| {
        let model = Model::new(1);
        let ran = [UnsafeCell::new(false), UnsafeCell::new(false)];
        let shareable = Shareable(&ran);
        enter(&model.shared, |worker| {
            task::scope(worker, None, Steal::Anywhere, |scope| {
                for place in [0, 1] {
                    scope.spawn(move |_| {
                        let ran = shareable.get();
                        // SAFETY: each task has its own place.
                        ran[place].with_mut(|ran| unsafe { *ran = true });
                    });
                }
            });
        });
        // SAFETY: loom checks that the tasks' writes are visible and over.
        assert!(ran.iter().all(|ran| ran.with(|ran| unsafe { *ran })));
        model.shut_down();
    });
}

/// Runs a scope of a guest of the first node with one task on the second.
fn scope_on_the_second(model: &Model, steal: Steal) {
    let ran = UnsafeCell::new(false);
    let shareable = Shareable(&ran);
    enter(&model.shared, |worker| {
        task::scope(worker, Some(1), steal, |scope| {
            scope.spawn(move |_| {
                // SAFETY: loom checks that nobody else uses it.
                shareable.get().with_mut(|ran| unsafe { *ran = true });
            });
        });
    });
    // SAFETY: loom checks that the task's write is visible and over.
    assert!(ran.with(|ran| unsafe { *ran }));
}

#[test]
fn a_scope_on_another_node_ends() {
    check(|| {
        let model = Model::on_nodes(&[0, 1]);
        scope_on_the_second(&model, Steal::Anywhere);
        model.shut_down();
    });
}

#[test]
fn a_scope_that_only_another_node_may_run_ends() {
    check(|| {
        let model = Model::on_nodes(&[0, 1]);
        scope_on_the_second(&model, Steal::Node);
        model.shut_down();
    });
}

#[test]
fn an_owner_runs_what_it_left_to_a_helper_that_waits_for_the_task() {
    check(|| {
        // Both nodes' helpers may take a closure that ends after the scope's task, instead of the task.
        let model = Model::restricted(&[0, 1], Steal::Anywhere);
        let ran = Event::new();
        for node in [0, 1] {
            let ran = ran.clone();
            task::spawn(&model.shared, Some(node), move || ran.wait());
        }
        enter(&model.shared, |worker| {
            task::scope(worker, Some(1), Steal::Anywhere, |scope| {
                scope.spawn(|_| ran.happens());
            });
        });
        model.shut_down();
    });
}

/// Runs a scope on a node, whose task waits for one that it queues and that only the scope's owner is free to run.
fn owner_runs_what_a_task_waits_for(model: &Model, node: Option<usize>, ran: &Event) {
    let shared = &model.shared;
    let task_started = Event::new();
    enter(shared, |worker| {
        task::scope(worker, node, Steal::Anywhere, |scope| {
            scope.spawn(|scope| {
                task_started.happens();
                enter(shared, |worker| {
                    task::join(worker, || scope.spawn(|_| ran.happens()), || ());
                });
                ran.wait();
            });
            task_started.wait();
        });
    });
}

#[test]
fn a_waiting_owner_runs_a_task_that_a_busy_node_queues_there() {
    check(|| {
        let model = Model::on_nodes(&[0, 1]);
        let ran = Event::new();
        // The first node's helper waits for it too.
        let waits = ran.clone();
        task::spawn(&model.shared, Some(0), move || waits.wait());
        owner_runs_what_a_task_waits_for(&model, Some(1), &ran);
        model.shut_down();
    });
}

#[test]
fn a_waiting_owner_runs_a_task_that_comes_from_elsewhere() {
    check(|| {
        let model = Model::new(1);
        owner_runs_what_a_task_waits_for(&model, None, &Event::new());
        model.shut_down();
    });
}
