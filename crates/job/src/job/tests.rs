//! Jobs on real threads, on this machine and on one with two nodes of its CPUs.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use firsttouch_topology::{CpuId, Topology, affinity};

use super::*;
use crate::job::body::{Body, NoUndo, Whole};
use crate::testing::{four_nodes, node, two_nodes, with_memory_only_node};
use crate::{Chunk, JobError, JobReport, PlanError, RunError};
use firsttouch_pool::Pool;

type Result = std::result::Result<(), Box<dyn Error>>;

fn pool_on(topology: &Topology) -> Pool {
    let builder = Pool::builder().topology(Arc::new(topology.clone()));
    builder.build().expect("threads for a test")
}

fn n(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("a number of threads")
}

/// Counts visits of each unit.
struct Visits(Vec<AtomicU8>);

impl Visits {
    fn new(size: usize) -> Self {
        Self((0..size).map(|_| AtomicU8::new(0)).collect())
    }

    fn visit(&self, chunk: &Chunk) {
        for unit in &self.0[chunk.range()] {
            unit.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn each_once(&self) -> bool {
        self.0.iter().all(|unit| unit.load(Ordering::Relaxed) == 1)
    }
}

fn check_report(report: &JobReport, size: usize) {
    assert_eq!(report.size, size);
    assert_eq!(report.nodes.iter().map(|row| row.size).sum::<usize>(), size);
    assert_eq!(report.nodes.iter().map(|row| row.chunks).sum::<usize>(), report.chunks);
    assert_eq!(report.nodes.iter().map(|row| row.local_chunks).sum::<usize>(), report.local_chunks);
    for row in &report.nodes {
        assert!(row.chunks >= 1 && row.local_chunks <= row.chunks, "{row:?}");
        assert!(row.threads >= 1 && row.threads <= report.threads, "{row:?}");
        assert!(row.elapsed <= report.elapsed, "{row:?}");
    }
}

fn halves(size: usize) -> Location {
    Location::PerNode(vec![(node(0), 0..size / 2), (node(1), size / 2..size)])
}

#[test]
fn every_unit_is_run_once_wherever_the_range_lives() -> Result {
    const SIZE: usize = 100_003;
    let two = two_nodes();
    for steal in [Steal::Node, Steal::Anywhere] {
        for location in [Location::Anywhere, halves(SIZE), Location::Spread] {
            for threads in 1..5 {
                let pool = pool_on(&two.topology);
                let visits = Visits::new(SIZE);
                let job = Job::new(0, SIZE).location(location.clone()).steal(steal);
                let report = job.max_threads(n(threads)).run(&pool, |chunk| visits.visit(chunk))?;
                assert!(visits.each_once(), "{location:?}, {steal:?}, {threads} threads");
                assert!(report.threads <= threads);
                check_report(&report, SIZE);
            }
        }
    }
    Ok(())
}

#[test]
fn without_stealing_only_helpers_of_the_node_or_the_caller_run_its_chunks() -> Result {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    let caller = thread::current().id();
    for _ in 0..50 {
        let job = Job::new(0, 1000).location(halves(1000)).steal(Steal::Node);
        let report = job.run(&pool, |chunk| {
            let helper = pool.current_helper().map(|helper| helper.node);
            let own = helper == chunk.node;
            assert!(own || (helper.is_none() && thread::current().id() == caller), "{chunk:?}");
        })?;
        // Where pinning works, that is local too; this machine may have other CPUs.
        let pinned = pool
            .helpers()
            .iter()
            .all(|helper| !matches!(helper.pinned, firsttouch_pool::Pinned::Refused));
        if pinned && two.topology.node_of_cpu(affinity::current_cpu()).is_some() {
            assert_eq!(report.local_chunks, report.chunks, "{report:?}");
        }
    }
    Ok(())
}

#[test]
fn a_caller_far_from_the_only_part_leaves_it_to_the_nodes_helpers() -> Result {
    let four = four_nodes();
    let pool = pool_on(&four.topology);
    // Where this machine has as many CPUs, the caller keeps to the first, to be far from the last node.
    affinity::set_current(&affinity::current()?.iter().take(1).collect())?;
    if four.topology.node_of_cpu(affinity::current_cpu()) == Some(node(3)) {
        return Ok(());
    }
    let location = Location::PerNode(vec![(node(3), 0..1000)]);
    let job = Job::new(0, 1000).location(location.clone()).steal(Steal::Node);
    job.run(&pool, |_| {
        assert_eq!(pool.current_helper().map(|helper| helper.node), Some(node(3)));
    })?;
    let here = thread::current().id();
    let job = Job::new(0, 1000).location(location).steal(Steal::Anywhere).max_threads(n(1));
    let report = job.run(&pool, |_| assert_eq!(thread::current().id(), here))?;
    assert_eq!((report.chunks, report.threads, report.local_chunks), (1, 1, 0));
    Ok(())
}

/// Returns once `threads` threads are in here; panics where they do not come.
fn meet(inside: &(Mutex<std::collections::HashSet<thread::ThreadId>>, Condvar), threads: usize) {
    let (met, changed) = inside;
    let mut met = met.lock().expect("no panic");
    met.insert(thread::current().id());
    changed.notify_all();
    let (_met, timeout) = changed
        .wait_timeout_while(met, Duration::from_secs(60), |met| met.len() < threads)
        .expect("no panic");
    assert!(!timeout.timed_out(), "{threads} threads take part");
}

#[test]
fn a_node_far_from_the_caller_has_all_its_helpers_work() -> Result {
    let four = four_nodes();
    let pool = pool_on(&four.topology);
    affinity::set_current(&affinity::current()?.iter().take(1).collect())?;
    if four.topology.node_of_cpu(affinity::current_cpu()) == Some(node(3)) {
        return Ok(());
    }
    let location = Location::PerNode(vec![(node(3), 0..1000)]);
    let inside = Default::default();
    let job = Job::new(0, 1000).location(location).steal(Steal::Node);
    // The caller has nothing to take and is done at once; all four come even so.
    let report = job.run(&pool, |_| meet(&inside, 4))?;
    assert_eq!((report.threads, report.chunks), (4, 16));
    Ok(())
}

#[test]
fn a_helper_that_calls_waits_for_other_nodes_without_blocking_them() -> Result {
    let four = four_nodes();
    let pool = pool_on(&four.topology);
    let all: Vec<_> = (0..4_usize).map(|n| (node(n as u32), n * 100..n * 100 + 100)).collect();
    // Every helper calls a job that every node must take part in.
    let chunks = pool.broadcast(|_| {
        let job = Job::new(0, 400).location(Location::PerNode(all.clone())).steal(Steal::Node);
        let caller = thread::current().id();
        job.run(&pool, |chunk| {
            let helper = pool.current_helper().map(|helper| helper.node);
            // A caller whose pinning was refused may be on another node than its own.
            assert!(helper == chunk.node || thread::current().id() == caller, "{chunk:?}");
        })
        .map(|report| report.chunks)
    });
    for count in chunks {
        assert!(count? >= 4);
    }
    Ok(())
}

#[test]
fn parts_without_helpers_and_on_nodes_without_cpus_are_run() -> Result {
    let machine = with_memory_only_node();
    let topology = Arc::new(machine.topology.clone());
    let nodes = [node(0)].into_iter().collect();
    let pool = Pool::builder().topology(topology).nodes(nodes).build()?;
    let parts = vec![(node(3), 0..100), (node(8), 100..200), (node(0), 200..300)];
    for steal in [Steal::Node, Steal::Anywhere] {
        let visits = Visits::new(300);
        let job = Job::new(0, 300).location(Location::PerNode(parts.clone())).steal(steal);
        let report = job.run(&pool, |chunk| visits.visit(chunk))?;
        assert!(visits.each_once());
        check_report(&report, 300);
        let nodes: Vec<_> = report.nodes.iter().map(|row| row.node).collect();
        assert_eq!(nodes, [Some(node(3)), Some(node(8)), Some(node(0))]);
    }
    Ok(())
}

#[test]
fn several_parts_of_a_node_are_one_row_and_empty_parts_none() -> Result {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    let parts = vec![
        (node(0), 0..10),
        (node(1), 10..10),
        (node(0), 500..1000),
        (node(1), 10..300),
        (node(0), 300..500),
    ];
    let visits = Visits::new(1000);
    let job = Job::new(0, 1000).location(Location::PerNode(parts));
    let report = job.run(&pool, |chunk| visits.visit(chunk))?;
    assert!(visits.each_once());
    check_report(&report, 1000);
    let rows: Vec<_> = report.nodes.iter().map(|row| (row.node, row.size)).collect();
    assert_eq!(rows, [(Some(node(0)), 710), (Some(node(1)), 290)]);
    Ok(())
}

#[test]
fn one_thread_is_a_plain_call_of_each_whole_part() -> Result {
    let pool = Pool::new()?;
    let caller = thread::current().id();
    let chunks = Mutex::new(Vec::new());
    let run = |job: Job| {
        chunks.lock().expect("no panic").clear();
        let report = job.run(&pool, |chunk| {
            assert_eq!(thread::current().id(), caller);
            chunks.lock().expect("no panic").push(chunk.range());
        });
        report.map(|report| (report, chunks.lock().expect("no panic").clone()))
    };
    let (report, ranges) = run(Job::new(5, usize::MAX / 2).max_threads(n(1)))?;
    assert_eq!((ranges.len(), &ranges[0]), (1, &(5..usize::MAX / 2 + 5)));
    assert_eq!((report.chunks, report.threads), (1, 1));
    // Worth one thread by its size.
    let (report, ranges) = run(Job::new(0, 1000).min_chunk(501))?;
    assert_eq!((ranges.len(), &ranges[0], report.threads), (1, &(0..1000), 1));
    Ok(())
}

#[test]
fn an_empty_job_runs_nothing() -> Result {
    let pool = Pool::new()?;
    for location in [Location::Anywhere, Location::Spread, Location::PerNode(Vec::new())] {
        let report = Job::new(7, 0).location(location).run(&pool, |_| panic!("no chunk"))?;
        assert_eq!((report.size, report.chunks, report.threads), (0, 0, 0));
        assert!(report.nodes.is_empty());
    }
    Ok(())
}

#[test]
fn absurd_numbers_are_errors_and_run_nothing() -> Result {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    let error = |job: Job| job.run(&pool, |_| panic!("no chunk")).expect_err("absurd");
    assert!(matches!(error(Job::new(0, 9).align(0)), JobError::Plan(PlanError::ZeroAlign)));
    let too_long = error(Job::new(usize::MAX, 1));
    assert!(matches!(too_long, JobError::Plan(PlanError::TooLong { .. })));
    let unknown = error(Job::new(0, 9).location(Location::PerNode(vec![(node(2), 0..9)])));
    assert_eq!(unknown.to_string(), "a part is on node 2, but the pool's machine has nodes 0-1");
    let overlap = vec![(node(0), 0..9), (node(1), 8..10)];
    let overlap = error(Job::new(0, 10).location(Location::PerNode(overlap)));
    assert!(matches!(overlap, JobError::PartsOverlap { .. }));
    Ok(())
}

#[test]
fn ranges_at_the_maximum_run() -> Result {
    let pool = Pool::new()?;
    let seen = AtomicUsize::new(0);
    let report = Job::new(0, usize::MAX).align(1 << 20).max_threads(n(4)).run(&pool, |chunk| {
        assert!(chunk.start % (1 << 20) == 0);
        seen.fetch_add(chunk.range().len(), Ordering::Relaxed);
    })?;
    assert_eq!((seen.into_inner(), report.size), (usize::MAX, usize::MAX));
    Ok(())
}

#[test]
fn a_panic_reaches_the_caller_and_stops_the_others() -> Result {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    for steal in [Steal::Node, Steal::Anywhere] {
        let begun = AtomicUsize::new(0);
        let job = Job::new(0, 1 << 20).location(halves(1 << 20)).steal(steal).max_threads(n(2));
        let result = catch_unwind(AssertUnwindSafe(|| {
            job.run(&pool, |_| {
                begun.fetch_add(1, Ordering::Relaxed);
                panic!("on purpose");
            })
        }));
        let payload = result.expect_err("it panics");
        assert_eq!(payload.downcast_ref(), Some(&"on purpose"));
        assert!(begun.into_inner() <= 2, "no thread begins a second chunk");
        let visits = Visits::new(100);
        Job::new(0, 100).run(&pool, |chunk| visits.visit(chunk))?;
        assert!(visits.each_once(), "the pool is as good as new");
    }
    Ok(())
}

#[test]
fn the_first_error_stops_the_job_and_states_are_finished() -> Result {
    let pool = Pool::new()?;
    let (made, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let body = Body {
        state: || made.fetch_add(1, Ordering::Relaxed),
        chunk: |_: &mut usize, chunk: &Chunk| match chunk.start {
            0 => Err("the first chunk fails"),
            _ => Ok(()),
        },
        done: |_| {
            finished.fetch_add(1, Ordering::Relaxed);
        },
        undo: NoUndo,
        calls: Whole,
    };
    let ran = Job::new(0, 1000).run_body(&pool, &body);
    assert!(matches!(ran, Err(RunError::Chunk(failed)) if failed.error == "the first chunk fails"));
    assert_eq!(made.into_inner(), finished.into_inner());
    Ok(())
}

#[test]
fn jobs_nest_in_jobs_and_run_at_once_from_many_threads() -> Result {
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    let units = AtomicUsize::new(0);
    thread::scope(|scope| {
        for steal in [Steal::Node, Steal::Anywhere, Steal::Node] {
            let (pool, units) = (&pool, &units);
            scope.spawn(move || {
                for _ in 0..20 {
                    let job = Job::new(0, 16).location(halves(16)).steal(steal);
                    let outer = job.run(pool, |chunk| {
                        let inner = Job::new(0, 10 * chunk.range().len());
                        let inner = inner.location(halves(10 * chunk.range().len())).steal(steal);
                        let ran = inner.run(pool, |chunk| {
                            units.fetch_add(chunk.range().len(), Ordering::Relaxed);
                        });
                        assert!(ran.is_ok());
                    });
                    assert!(outer.is_ok());
                }
            });
        }
    });
    assert_eq!(units.into_inner(), 3 * 20 * 160);
    Ok(())
}

#[test]
fn the_caller_gets_its_affinity_back() -> Result {
    let before = affinity::current()?;
    let two = two_nodes();
    let pool = pool_on(&two.topology);
    Job::new(0, 1000).location(halves(1000)).steal(Steal::Node).run(&pool, |_| ())?;
    assert_eq!(affinity::current()?, before);
    Ok(())
}

#[test]
fn a_chunk_says_who_runs_it() -> Result {
    let pool = Pool::new()?;
    Job::new(0, 1000).location(Location::Spread).run(&pool, |chunk| {
        assert!(pool.topology().cpu(chunk.cpu).is_some());
        assert_eq!(chunk.cpu_node, pool.topology().node_of_cpu(chunk.cpu));
        assert!(chunk.node.is_some() && chunk.cpu != CpuId::new(u32::MAX));
    })?;
    Ok(())
}

#[test]
fn a_spread_job_has_a_part_on_each_node_it_is_worth() -> Result {
    let four = four_nodes();
    let pool = pool_on(&four.topology);
    let parts =
        |job: Job| job.location(Location::Spread).run(&pool, |_| ()).map(|report| report.nodes);
    let all = parts(Job::new(0, 1600))?;
    assert_eq!(all.iter().map(|row| row.size).collect::<Vec<_>>(), [400; 4]);
    let two = parts(Job::new(0, 1600).min_chunk(800))?;
    assert_eq!(two.iter().map(|row| row.size).collect::<Vec<_>>(), [800; 2]);
    Ok(())
}
