//! How many threads a job has, and where: shares of CPUs, the quota, the caller's affinity.

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firsttouch_job::{CpuShare, Job, Location, Loop, Schedule, Steal};
use firsttouch_pool::{Helper, Pool};
use firsttouch_topology::{CpuSet, Topology, affinity};

use crate::{Result, n, node, parts, pool};

/// The number of threads that a job is cut for, as its chunks tell.
fn cut_for(job: Job, pool: &Pool) -> usize {
    let report = job.run(pool, |_| ()).expect("it runs");
    report.chunks.div_ceil(4)
}

#[test]
fn a_share_of_the_cpus_is_the_default_and_a_number_overrides_it() {
    let pool = pool(2, 8);
    let job = || Job::new(0, 1 << 20).location(parts(1 << 20, 2)).steal(Steal::Node);
    assert_eq!(cut_for(job(), &pool), 16);
    assert_eq!(cut_for(job().cpu_share(CpuShare::QUARTER), &pool), 4);
    assert_eq!(cut_for(job().cpu_share(CpuShare::ALL), &pool), 16);
    assert_eq!(cut_for(job().cpu_share(CpuShare::QUARTER).max_threads(n(12)), &pool), 12);
    assert_eq!(cut_for(job().cpu_share(CpuShare::QUARTER).max_threads_per_node(n(3)), &pool), 6);
}

/// A machine of four CPUs whose process may use so many CPUs' time.
fn with_quota(quota: &str) -> Topology {
    let folder = tempfile::tempdir().expect("a folder for a test");
    let files = [
        ("sys/devices/system/cpu/online", "0-3"),
        ("sys/devices/system/cpu/possible", "0-3"),
        ("sys/devices/system/cpu/present", "0-3"),
        ("sys/devices/system/node/online", "0"),
        ("sys/devices/system/node/node0/cpulist", "0-3"),
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", "29 23 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/cpu.max", quota),
    ];
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }
    Topology::from_root(folder.path()).expect("the machine can be read")
}

#[test]
fn the_cpu_quota_bounds_jobs_and_loops_by_default() -> Result {
    for (quota, threads) in [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 6)] {
        let topology = Arc::new(with_quota(quota));
        let pool = Pool::builder().topology(topology).helpers_per_node(n(6)).build()?;
        let chunks = |threads: usize| if threads == 1 { 1 } else { 4 * threads };
        for location in [Location::Anywhere, Location::Spread] {
            let job = || Job::new(0, 10_000).location(location.clone());
            assert_eq!(job().run(&pool, |_| ())?.chunks, chunks(threads), "{quota} {location:?}");
            let asked = job().max_threads(n(5)).run(&pool, |_| ())?;
            assert_eq!(asked.chunks, 20, "who asks for more gets it");
        }
        let ran = Mutex::new(0);
        // Asked for at once, so that it is cut once, whatever it took the last time.
        let one_each = Loop::new().schedule(Schedule::Static).invite_after(Duration::ZERO);
        one_each.for_each_chunk(&pool, 0..10_000, |_| *ran.lock().expect("no panic") += 1)?;
        assert_eq!(ran.into_inner()?, threads, "{quota}");
    }
    Ok(())
}

#[test]
fn helpers_keep_to_the_callers_cpus_and_get_their_own_back() -> Result {
    let pool =
        Arc::new(Pool::builder().pin(firsttouch_pool::Pin::None).helpers_per_node(n(2)).build()?);
    let before = pool.broadcast(|_| affinity::current().ok());
    let allowed = affinity::current()?;
    let one: CpuSet = allowed.iter().take(1).collect();
    let kept = std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            affinity::set_current(&one).expect("it may use it");
            let seen = Mutex::new(HashSet::new());
            let job = Job::new(0, 64).max_chunk(1).max_threads(n(3)).within_caller_affinity(true);
            job.run(&pool, |_| {
                std::thread::sleep(std::time::Duration::from_micros(200));
                let own = affinity::current().expect("a thread can read its own");
                seen.lock().expect("no panic").insert(own.to_string());
            })
            .expect("it runs");
            seen.into_inner().expect("no panic")
        });
        caller.join().expect("no panic")
    });
    assert_eq!(kept, HashSet::from([one.to_string()]), "no chunk ran elsewhere");
    assert_eq!(pool.broadcast(|_| affinity::current().ok()), before);
    Ok(())
}

#[test]
fn nodes_without_a_cpu_of_the_callers_send_no_helpers() -> Result {
    // The first node has the CPUs of this machine, the second none that is there.
    let allowed = affinity::current()?;
    let Some(first) = allowed.first().filter(|cpu| cpu.os_index() < 64) else { return Ok(()) };
    let topology = Topology::synthetic("node:2 core:64 pu:1")?;
    let pool = Pool::builder().topology(Arc::new(topology)).helpers_per_node(n(2)).build()?;
    let mask: CpuSet = [first].into_iter().collect();
    let job = |steal| Job::new(0, 1000).location(parts(1000, 2)).steal(steal).max_chunk(10);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            affinity::set_current(&mask).expect("it may use it");
            for steal in [Steal::Node, Steal::Anywhere] {
                let ran = job(steal).within_caller_affinity(true).run(&pool, |_| {
                    let helper = pool.current_helper().map(|helper| helper.node);
                    assert_ne!(helper, Some(node(1)));
                });
                assert_eq!(ran.expect("it runs").completed, 1000);
            }
            // Without being asked, the second node's helpers run its part.
            let ran = job(Steal::Node).run(&pool, |chunk| {
                let helper = pool.current_helper().map(|helper: &Helper| helper.node);
                assert!(chunk.node == Some(node(0)) || helper == Some(node(1)));
            });
            assert_eq!(ran.expect("it runs").completed, 1000);
        });
        caller.join().expect("no panic");
    });
    Ok(())
}
