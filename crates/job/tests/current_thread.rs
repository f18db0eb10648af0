//! Jobs, loops, reductions and page initialisation on a pool that starts no thread.

use std::collections::HashSet;
use std::error::Error;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use firsttouch_job::{Job, Location, Loop, PageInit, Placement, Schedule, Steal};
use firsttouch_memory::Region;
use firsttouch_pool::Pool;
use firsttouch_topology::{NodeId, Topology};

type Result = std::result::Result<(), Box<dyn Error>>;

const SCHEDULES: [Schedule; 4] = [
    Schedule::Auto,
    Schedule::Static,
    Schedule::Dynamic { chunk: 7 },
    Schedule::Guided { min_chunk: 5 },
];

const STEALS: [Steal; 2] = [Steal::Node, Steal::Anywhere];

/// Pools without threads: on this machine, and on one with so many nodes of its CPUs.
fn pools() -> std::result::Result<Vec<Pool>, Box<dyn Error>> {
    let mut pools = vec![Pool::builder().current_thread().build()?];
    for machine in ["node:1 core:2 pu:1", "node:2 core:1 pu:1", "node:3 core:2 pu:2"] {
        let topology = Arc::new(Topology::synthetic(machine)?);
        pools.push(Pool::builder().topology(topology).current_thread().build()?);
    }
    Ok(pools)
}

fn locations(pool: &Pool, size: usize) -> Vec<Location> {
    let nodes: Vec<NodeId> = pool.topology().nodes().iter().map(|node| node.id()).collect();
    let (first, last) = (nodes[0], nodes[nodes.len() - 1]);
    let parts = vec![(last, 0..size / 3), (first, size / 3..size)];
    vec![Location::Anywhere, Location::Spread, Location::PerNode(parts)]
}

/// Asserts that each of these indices was visited once, and forgets them.
fn assert_once(visits: &[AtomicUsize]) {
    assert!(visits.iter().all(|visit| visit.swap(0, Relaxed) == 1));
}

#[test]
fn jobs_run_every_chunk_on_the_caller() -> Result {
    let visits: Vec<_> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
    let caller = thread::current().id();
    for pool in pools()? {
        for location in locations(&pool, visits.len()) {
            for steal in STEALS {
                for max_threads in [None, NonZeroUsize::new(1), NonZeroUsize::new(8)] {
                    let mut job = Job::new(0, visits.len()).location(location.clone()).steal(steal);
                    if let Some(most) = max_threads {
                        job = job.max_threads(most).max_threads_per_node(most);
                    }
                    let report = job.run(&pool, |chunk| {
                        assert_eq!(thread::current().id(), caller);
                        for visit in &visits[chunk.start..chunk.end] {
                            visit.fetch_add(1, Relaxed);
                        }
                    })?;
                    assert_once(&visits);
                    assert_eq!((report.size, report.threads), (visits.len(), 1));
                    assert_eq!(report.moved_helpers, 0);
                    let sizes: usize = report.nodes.iter().map(|row| row.size).sum();
                    assert_eq!(sizes, visits.len());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_spread_gives_every_node_the_same() -> Result {
    for pool in pools()? {
        let report = Job::new(0, 600).location(Location::Spread).run(&pool, |_| ())?;
        let sizes: HashSet<usize> = report.nodes.iter().map(|row| row.size).collect();
        assert_eq!((report.nodes.len(), sizes.len()), (pool.nodes().count(), 1));
    }
    Ok(())
}

#[test]
fn loops_and_reductions_run_on_the_caller() -> Result {
    let size = 1000;
    let visits: Vec<_> = (0..size).map(|_| AtomicUsize::new(0)).collect();
    let caller = thread::current().id();
    for pool in pools()? {
        for location in locations(&pool, size) {
            for schedule in SCHEDULES {
                for steal in STEALS {
                    let all =
                        Loop::new().location(location.clone()).schedule(schedule).steal(steal);
                    all.for_each_index(&pool, 0..size, |index| {
                        assert_eq!(thread::current().id(), caller);
                        visits[index].fetch_add(1, Relaxed);
                    })?;
                    assert_once(&visits);
                    let mut numbers = vec![0; size];
                    all.clone()
                        .for_each_mut(&pool, &mut numbers, |index, number| *number = index)?;
                    assert!(numbers.iter().copied().eq(0..size));
                    let add = |a, b| a + b;
                    let fold = |sum: usize, part: std::ops::Range<usize>| sum + part.sum::<usize>();
                    let sum = all.reduce(&pool, 0..size, || 0, fold, add)?;
                    let same = all.reduce_deterministic(&pool, 0..size, || 0, fold, add)?;
                    assert_eq!((sum, same), (size * (size - 1) / 2, sum));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_panic_in_a_chunk_ends_the_job_and_the_pool_goes_on() -> Result {
    for pool in pools()? {
        let begun = Mutex::new(0);
        let job = Job::new(0, 1000).location(Location::Spread).min_chunk(1);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            job.run(&pool, |_| {
                *begun.lock().expect("nobody panics with it") += 1;
                panic!("as the test wants");
            })
        }));
        assert!(caught.is_err());
        assert_eq!(begun.into_inner()?, 1, "no chunk is begun after the panic");
        assert_eq!(pool.join(|| 1, || 2), (1, 2));
    }
    Ok(())
}

#[test]
fn page_initialisation_writes_every_byte_in_every_placement() -> Result {
    for pool in pools()? {
        let placements = [
            Placement::Blocked,
            Placement::BlockedByMemory,
            Placement::Interleaved { block: 1 << 16 },
            Placement::Nodes([NodeId::new(0)].into_iter().collect()),
        ];
        for placement in placements {
            for steal in STEALS {
                let mut region = Region::builder(4 << 20).build()?;
                let init = PageInit::new(&mut region).placement(placement.clone()).steal(steal);
                let report = init.fill_with(&pool, |first, numbers: &mut [u64]| {
                    for (number, index) in numbers.iter_mut().zip(first..) {
                        *number = index as u64;
                    }
                })?;
                assert_eq!((report.bytes, report.threads), (4 << 20, 1), "{placement:?}");
                assert!(region.as_slice_of::<u64>().iter().copied().eq(0..(4 << 20) / 8));
                let report = PageInit::new(&mut region).placement(placement.clone()).zero(&pool)?;
                assert_eq!(report.bytes, 4 << 20);
                assert!(region.as_slice_of::<u64>().iter().all(|&number| number == 0));
            }
        }
    }
    Ok(())
}
