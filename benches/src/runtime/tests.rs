//! Every runtime of this build does all that it is asked for, whatever its number of threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// Runs the check on every runtime that is in this build, with one thread and with all CPUs.
fn with_each(check: impl Fn(&str, &mut dyn Runtime, usize)) {
    let all = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    for known in catalogue().iter().filter(|known| known.needs.is_none()) {
        for threads in [1, all] {
            let count = NonZeroUsize::new(threads).expect("there is a CPU");
            let mut runtime = start(&known.name, count).expect("it is in this build");
            check(&known.name, &mut *runtime, threads);
        }
    }
}

/// Counts the calls for each index.
struct Calls(Vec<AtomicU32>);

impl Calls {
    fn new(n: usize) -> Self {
        Self((0..n).map(|_| AtomicU32::new(0)).collect())
    }

    fn count(&self, index: usize) {
        self.0[index].fetch_add(1, Ordering::Relaxed);
    }

    fn each_was_called(&self, times: u32) -> bool {
        self.0.iter().all(|calls| calls.load(Ordering::Relaxed) == times)
    }
}

#[test]
fn the_names_of_the_catalogue_are_those_that_start() {
    let one = NonZeroUsize::MIN;
    for known in catalogue() {
        let started = start(&known.name, one);
        assert_eq!(started.is_ok(), known.needs.is_none(), "{known:?}");
    }
    let Err(error) = start("slow", one) else { panic!("there is no such runtime") };
    assert!(error.to_string().contains("no runtime \"slow\""), "{error}");
}

#[test]
fn a_broadcast_calls_every_thread_once() {
    with_each(|name, runtime, threads| {
        let calls = Calls::new(threads);
        for times in 1..20 {
            if runtime.broadcast(&|index| calls.count(index)).is_some() {
                assert!(calls.each_was_called(times), "{name}, {threads} threads");
            }
        }
    });
}

#[test]
fn every_index_is_called_once_however_many_there_are() {
    with_each(|name, runtime, threads| {
        for n in [0, 1, 2, 3, 1000] {
            let calls = Calls::new(n);
            let done = runtime.for_each(n, &|index| calls.count(index));
            assert!(done.is_some() && calls.each_was_called(1), "{name}, {threads} threads, {n}");
        }
    });
}

#[test]
fn sums_have_every_value_once() {
    with_each(|name, runtime, threads| {
        for (n, expected) in [(0, 0.0), (1, 0.0), (2, 1.0), (1000, 499_500.0)] {
            let sum = runtime.sum(n, &|index| index as f64);
            assert_eq!(sum, Some(expected), "{name}, {threads} threads, {n}");
        }
    });
}

#[test]
fn joins_and_trees_have_the_answer_of_the_loop_without_threads() {
    let root = Node::root(3, 6);
    let nodes = Count(root).run(&mut InTurn);
    with_each(|name, runtime, threads| {
        let fib = runtime.fib(Fib(16));
        assert!(fib.is_none_or(|fib| fib == 987), "{name}, {threads} threads: {fib:?}");
        let count = runtime.count(root);
        assert!(count.is_none_or(|count| count == nodes), "{name}, {threads} threads: {count:?}");
    });
}

#[test]
fn spawned_tasks_have_all_ended_when_the_scope_ends() {
    with_each(|name, runtime, threads| {
        let calls = Calls::new(1000);
        let flat = runtime.spawn(1000, &|index| calls.count(index)).is_some();
        assert!(calls.each_was_called(flat.into()), "{name}, {threads} threads");
        let nested = runtime.spawn_nested(20, 50, &|index| calls.count(index)).is_some();
        assert!(calls.each_was_called(u32::from(flat) + u32::from(nested)), "{name}, {threads}");
    });
}

#[test]
fn inside_the_same_is_done_as_outside() {
    with_each(|name, runtime, threads| {
        let calls = Calls::new(100);
        let entered = AtomicU32::new(0);
        let inside = runtime.inside(&mut |inner| {
            assert!(inner.for_each(100, &|index| calls.count(index)).is_some());
            inner.enter(&|| {
                entered.fetch_add(1, Ordering::Relaxed);
            });
        });
        let times = u32::from(inside.is_some());
        assert!(calls.each_was_called(times), "{name}, {threads} threads");
        assert!(entered.into_inner() <= times, "{name}, {threads} threads");
    });
}
