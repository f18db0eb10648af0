//! The CPUs that a pool's threads need: how a helper leaves one that another of them needs.
//!
//! The kernel seeks an idle CPU for each thread that it wakes, and moves threads to CPUs that become
//! idle. In a virtual machine idle CPUs look busy to it (`available_idle_cpu` asks
//! `vcpu_is_preempted`), so that it wakes helpers on the CPU of their caller, or of each
//! other, and leaves them there for milliseconds. Where a job takes as long, that is half of its speed.
//!
//! - A helper notes its CPU when it wakes up ([`CpuNote`]), as does a caller that invites or is about to wake
//!   helpers and goes on itself; who waits asleep has no note. A helper that wakes up, or accepts such an
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
    use std::time::{Duration, Instant};

    use firsttouch_topology::CpuId;

    use super::*;
    use crate::{Pool, Team};

    /// A pool whose helpers sleep as soon as they find nothing, so many on each node.
    fn sleepy(helpers: usize) -> Pool {
        let helpers = NonZeroUsize::new(helpers).expect("there are some");
        let builder = Pool::builder().helpers_per_node(helpers).spin(Duration::ZERO);
        builder.build().expect("a pool of this machine's nodes")
    }

    fn cpus(pool: &Pool, node: usize) -> (&BusyCpus, Vec<CpuId>) {
        let shared = pool.shared();
        let cpus = shared.topology.node(shared.nodes[node].id).expect("the pool's node").cpus();
        (&shared.nodes[node].work.busy_cpus, cpus.iter().collect())
    }

    /// Whether anybody is counted on a node's CPUs.
    fn is_anybody_counted(pool: &Pool, node: usize) -> bool {
        let (busy, cpus) = cpus(pool, node);
        !cpus.into_iter().all(|cpu| busy.is_free(cpu))
    }

    #[test]
    fn who_is_at_work_is_counted() {
        let pool = sleepy(1);
        let counted = pool.broadcast(|_| is_anybody_counted(&pool, 0));
        assert!(counted[0], "a helper is, from when it wakes up");
        // A caller is where it may wake some; it may be on any node.
        pool.scope(|scope| {
            scope.spawn(|_| ());
            assert!((0..pool.shared().nodes.len()).any(|node| is_anybody_counted(&pool, node)));
        });
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
        let begin = Instant::now();
        while (0..pool.shared().nodes.len()).any(|node| is_anybody_counted(&pool, node)) {
            assert!(begin.elapsed() < Duration::from_secs(60), "somebody who sleeps is counted");
            std::thread::yield_now();
        }
        assert!(ran.into_inner() > 0);
    }
}
