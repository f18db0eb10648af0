//! The CPUs that a pool's threads need: how a helper leaves one that another of them needs.
//!
//! The kernel seeks an idle CPU for each thread that it wakes, and moves threads to CPUs that become
//! idle. In a virtual machine idle CPUs look busy to it (`available_idle_cpu` asks
//! `vcpu_is_preempted`), so that it wakes helpers on the CPU of their caller, or of each
//! other, and leaves them there for milliseconds. Where a job takes as long, that is half of its speed.
//!
//! - A helper notes its CPU when it wakes up ([`CpuNote`]), as does a caller that invites or is about to wake
//!   helpers and goes on itself; who waits for others has none. A helper that wakes up, or accepts such an
//!   invitation, on a CPU where another's note is moves to those where none is. The kernel may have put something
//!   else there: then it waits as long as it might have where it was woken.
//! - A helper that looks for work where another thread wants to run finds that when it offers
//!   the CPU: [`CpuSharing`].
//! - Who has woken others for its own jobs or call offers its CPU once, after the last, so that one that
//!   was put there gets to see it, and moves. Where others have that CPU to run on it comes back
//!   when the kernel has given them their share.

mod busy;
mod note;
mod sharing;

pub(crate) use busy::BusyCpus;
pub(crate) use note::{CpuNote, Moved, Noted};
pub(crate) use sharing::CpuSharing;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::num::NonZeroUsize;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use crate::current::with_current;
    use crate::{Pool, Team};

    /// A pool whose helpers sleep as soon as they find nothing, so many on each node.
    fn sleepy(helpers: usize) -> Pool {
        let helpers = NonZeroUsize::new(helpers).expect("there are some");
        let builder = Pool::builder().helpers_per_node(helpers).spin(Duration::ZERO);
        builder.build().expect("a pool of this machine's nodes")
    }

    /// How many threads are counted on the CPUs of a pool's nodes.
    fn counted(pool: &Pool) -> usize {
        pool.shared().nodes.iter().map(|node| node.work.busy_cpus.threads()).sum()
    }

    /// Waits until so many are counted.
    fn wait_for(pool: &Pool, threads: usize) {
        let begin = Instant::now();
        while counted(pool) != threads {
            let counted = counted(pool);
            assert!(begin.elapsed() < Duration::from_secs(60), "{counted}, not {threads}");
            std::thread::yield_now();
        }
    }

    fn is_noted(pool: &Pool) -> bool {
        with_current(pool.shared(), |worker| worker.is_some_and(|worker| worker.cpu.is_noted()))
    }

    #[test]
    fn who_is_at_work_has_noted_its_cpu() {
        let pool = sleepy(1);
        assert!(pool.broadcast(|_| is_noted(&pool)).into_iter().all(|is| is));
        pool.scope(|scope| {
            assert!(!is_noted(&pool), "a guest that has woken nobody");
            scope.spawn(|_| ());
            assert!(is_noted(&pool), "a guest that has");
        });
        let node = pool.helpers()[0].node;
        pool.run(&Team::new().invite(node, 1), |_| assert!(is_noted(&pool)));
    }

    #[test]
    fn who_waits_has_no_note() {
        let pool = sleepy(1);
        let helpers = pool.helpers().len();
        // A caller, in its own part of a call and in a scope, while one helper runs its task.
        let node = pool.helpers()[0].node;
        let waits = || {
            pool.scope(|scope| {
                let (taken, is_taken) = mpsc::channel();
                let pool = &pool;
                scope.spawn(move |_| {
                    taken.send(()).expect("it is awaited");
                    wait_for(pool, 1);
                });
                is_taken.recv().expect("a helper comes");
            });
        };
        waits();
        pool.run(&Team::new().invite(node, 1), |member| {
            if member.is_caller() {
                waits();
            }
        });
        // Helpers, in a sleep that they say leaves their CPU.
        let rested = pool.broadcast(|_| {
            with_current(pool.shared(), |worker| {
                let worker = worker.expect("a helper is a worker");
                worker.rests(|| assert!(!worker.cpu.is_noted()));
                worker.cpu.is_noted()
            })
        });
        assert_eq!(rested, vec![true; helpers]);
    }

    #[test]
    fn nobody_is_counted_when_all_sleep() {
        let pool = sleepy(2);
        let node = pool.helpers()[0].node;
        let ran = AtomicUsize::new(0);
        let runs = || {
            ran.fetch_add(1, Ordering::Relaxed);
        };
        let all = || {
            pool.broadcast(|_| pool.join(runs, runs));
            pool.run(&Team::new().require(node, 2), |_| {
                pool.scope(|scope| (0..4).for_each(|_| scope.spawn(|_| runs())));
            });
            pool.run(&Team::new().invite(node, 2).wake_late(), |member| member.wake());
            pool.install(|| pool.run(&Team::new().require(node, 1), |_| runs()));
            let panics = |_: &crate::Member<'_>| panic!("on all members");
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                pool.run(&Team::new().require(node, 2), panics);
            }));
            assert!(panicked.is_err());
        };
        for _ in 0..10 {
            all();
            pool.scope(|_| all());
            pool.join(all, all);
        }
        wait_for(&pool, 0);
        assert!(ran.into_inner() > 0);
    }
}
