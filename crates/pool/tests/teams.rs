//! `run` and `broadcast`.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::{builder_on, pool_of, pool_on, watched};
use firsttouch_pool::{Pool, Team};
use firsttouch_topology::{NodeId, affinity};

#[test]
fn helpers_that_sleep_come_to_a_late_call_when_its_caller_wakes_them() {
    watched("helpers_that_sleep_come_to_a_late_call_when_its_caller_wakes_them", || {
        // They sleep as soon as they have nothing to do, and nothing else wakes them.
        let pool = Pool::builder().spin(Duration::ZERO).build().expect("a pool");
        let (node, helpers) = pool.nodes().next().expect("it has a node");
        let came = AtomicUsize::new(0);
        let team = Team::new().invite(node, helpers).wake_late();
        let members = pool.run(&team, |member| {
            if !member.is_caller() {
                came.fetch_add(1, Relaxed);
                // No caller's: it wakes nobody.
                return member.wake();
            }
            while came.load(Relaxed) == 0 {
                member.wake();
                thread::yield_now();
            }
        });
        assert_eq!(members, 1 + came.into_inner());
    });
}

#[test]
fn an_empty_team_is_the_caller_alone() {
    let pool = pool_of(2);
    let members = pool.run(&Team::new(), |member| {
        assert_eq!(member.index(), 0);
        assert!(member.is_caller());
        assert_eq!(member.helper(), None);
    });
    assert_eq!(members, 1);
}

#[test]
fn required_helpers_all_come_and_are_numbered_in_order_of_arrival() {
    let pool = pool_on(3, 2);
    let all = Barrier::new(6);
    let seen = Mutex::new(BTreeSet::new());
    let team = Team::new()
        .require(NodeId::new(0), 2)
        .require(NodeId::new(2), 1)
        .require(NodeId::new(1), 2);
    let members = pool.run(&team, |member| {
        // Nobody passes before all have come: they run at once.
        all.wait();
        let helper = member.helper().map(|helper| helper.index);
        seen.lock().expect("nobody panics").insert((member.index(), helper));
        assert_eq!(member.is_caller(), helper.is_none());
    });
    assert_eq!(members, 6);
    let seen = seen.into_inner().expect("nobody panics");
    assert!(seen.iter().map(|(index, _)| *index).eq(0..6));
    let nodes: Vec<_> =
        seen.iter().filter_map(|(_, helper)| Some(pool.helpers()[(*helper)?].node)).collect();
    let count = |node| nodes.iter().filter(|&&n| n == NodeId::new(node)).count();
    assert_eq!((count(0), count(1), count(2)), (2, 2, 1));
}

#[test]
fn a_node_is_asked_for_no_more_helpers_than_it_has() {
    let pool = pool_on(2, 2);
    let node = NodeId::new(1);
    let team = Team::new().require(node, 1).require(node, usize::MAX).invite(node, usize::MAX);
    assert_eq!(pool.run(&team, |_| ()), 3);
    assert_eq!(pool.run(&Team::new().require(NodeId::new(77), 5), |_| ()), 1);
}

#[test]
fn helpers_that_have_not_come_are_not_waited_for() {
    watched("helpers_that_have_not_come_are_not_waited_for", || {
        let pool = pool_of(1);
        let (started, busy) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        pool.spawn(move || {
            started.send(()).expect("the test listens");
            released.recv().expect("the test releases it");
        });
        busy.recv().expect("the helper starts the closure");
        assert_eq!(pool.run(&Team::new().invite(NodeId::new(0), 1), |_| ()), 1);
        release.send(()).expect("the helper listens");
    });
}

#[test]
fn invited_helpers_come_while_the_caller_works() {
    let pool = pool_of(3);
    let all = Barrier::new(4);
    let members = pool.run(&Team::new().invite(NodeId::new(0), 3), |_| {
        all.wait();
    });
    assert_eq!(members, 4);
}

#[test]
fn a_team_may_require_and_invite_helpers_of_one_node() {
    watched("a_team_may_require_and_invite_helpers_of_one_node", || {
        let pool = pool_of(2);
        for _ in 0..200 {
            let team = Team::new().invite(NodeId::new(0), 1).require(NodeId::new(0), 1);
            assert!((2..=3).contains(&pool.run(&team, |_| ())));
        }
    });
}

#[test]
fn a_broadcast_runs_on_every_helper_once_and_on_no_caller_from_outside() {
    let pool = pool_on(2, 3);
    let caller = thread::current().id();
    for _ in 0..50 {
        let results = pool.broadcast(|member| {
            assert_ne!(thread::current().id(), caller);
            assert!(!member.is_caller());
            let helper = member.helper().expect("every member is a helper");
            assert_eq!(pool.current_helper(), Some(helper));
            (member.index(), helper.index, thread::current().id())
        });
        assert_eq!(results.len(), 6);
        for (place, (index, helper, _)) in results.iter().enumerate() {
            assert_eq!((place, place), (*index, *helper));
        }
        let threads: std::collections::HashSet<_> = results.iter().map(|(.., id)| *id).collect();
        assert_eq!(threads.len(), 6);
    }
}

#[test]
fn a_member_that_is_not_pinned_is_on_the_node_of_its_cpu() {
    let pool = pool_of(1);
    assert_eq!(pool.current_helper(), None);
    let node = NodeId::new(0);
    pool.run(&Team::new().require(node, 1), |member| {
        // The made-up node has CPUs 0 and 1.
        let cpu = affinity::current_cpu().os_index();
        if cpu < 2 {
            assert!(member.node() == Some(node) || affinity::current_cpu().os_index() != cpu);
        }
    });
}

#[test]
fn broadcasts_nest_in_broadcasts() {
    watched("broadcasts_nest_in_broadcasts", || {
        for helpers in [1, 2, 3] {
            let pool = pool_of(helpers);
            let count = AtomicUsize::new(0);
            for _ in 0..20 {
                pool.broadcast(|_| {
                    let inner =
                        pool.broadcast(|member| (count.fetch_add(1, Relaxed), member.index()).1);
                    assert!(inner.into_iter().eq(0..helpers));
                });
            }
            assert_eq!(count.into_inner(), 20 * helpers * helpers);
        }
    });
}

#[test]
fn broadcasts_nest_in_tasks() {
    watched("broadcasts_nest_in_tasks", || {
        let pool = pool_of(2);
        let broadcast = || assert_eq!(pool.broadcast(|member| member.index()), [0, 1]);
        for _ in 0..100 {
            pool.join(broadcast, broadcast);
            pool.scope(|scope| (0..3).for_each(|_| scope.spawn(|_| broadcast())));
            pool.run(&Team::new().invite(NodeId::new(0), 2), |_| broadcast());
        }
    });
}

#[test]
fn a_spawned_closure_broadcasts() {
    watched("a_spawned_closure_broadcasts", || {
        let pool = std::sync::Arc::new(pool_of(2));
        let (sender, receiver) = mpsc::channel();
        for _ in 0..2 {
            let (pool_inside, sender) = (std::sync::Arc::clone(&pool), sender.clone());
            pool.spawn(move || {
                let indices = pool_inside.broadcast(|member| member.index());
                drop(pool_inside);
                sender.send(indices).expect("the test listens");
            });
        }
        for _ in 0..2 {
            assert_eq!(receiver.recv().as_deref(), Ok(&[0, 1][..]));
        }
    });
}

#[test]
fn two_helpers_broadcast_at_once() {
    watched("two_helpers_broadcast_at_once", || {
        let pool = pool_of(2);
        for _ in 0..200 {
            let both = Barrier::new(2);
            pool.broadcast(|_| {
                // Both are in the outer call before either begins the inner one.
                both.wait();
                assert_eq!(pool.broadcast(|member| member.index()), [0, 1]);
            });
        }
    });
}

#[test]
fn a_team_required_by_a_helper_leaves_out_that_helper() {
    watched("a_team_required_by_a_helper_leaves_out_that_helper", || {
        let pool = pool_of(3);
        let members = pool.broadcast(|_| pool.run(&Team::new().require(NodeId::new(0), 3), |_| ()));
        assert_eq!(members, [3, 3, 3]);
    });
}

#[test]
fn a_callers_affinity_is_the_same_after_a_call() {
    let pool = pool_on(2, 1);
    let before = affinity::current().expect("a thread may read its own affinity");
    let team = Team::new().invite(NodeId::new(0), 1).keep_caller(true);
    pool.run(&team, |member| {
        if member.is_caller() {
            let during = affinity::current().expect("a thread may read its own affinity");
            assert!(during.is_subset(&before));
        }
    });
    assert_eq!(affinity::current().expect("a thread may read its own affinity"), before);
}

#[test]
fn a_kept_caller_is_narrowed_to_its_node_also_where_it_panics() {
    // Every CPU of this machine becomes a node of its own.
    let pool = {
        let topology = firsttouch_topology::Topology::synthetic("node:256 core:1 pu:1")
            .expect("the description is in the grammar");
        firsttouch_pool::Pool::builder()
            .topology(std::sync::Arc::new(topology))
            .nodes("0-1".parse().expect("a list of nodes"))
            .pin(firsttouch_pool::Pin::None)
            .build()
            .expect("a small pool can be started")
    };
    let before = affinity::current().expect("a thread may read its own affinity");
    let here = pool.topology().node_of_cpu(affinity::current_cpu()).expect("a node has this CPU");
    let teams = [
        (Team::new(), true),
        (Team::new().keep_caller(true), true),
        (Team::new().keep_caller_on(here), true),
        (Team::new().keep_caller(false), false),
        // There is no such node.
        (Team::new().keep_caller_on(NodeId::new(1000)), false),
    ];
    for (keep, kept) in teams {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(&keep, |_| {
                let during = affinity::current().expect("a thread may read its own affinity");
                let expected = if kept { 1 } else { before.len() };
                assert_eq!(during.len(), expected, "{keep:?}");
                panic!("as the test wants");
            })
        }));
        let payload = panic.expect_err("the closure panics");
        assert_eq!(payload.downcast_ref(), Some(&"as the test wants"));
        assert_eq!(affinity::current().expect("a thread may read its own affinity"), before);
    }
}

#[test]
fn helpers_that_are_invited_by_several_calls_at_once_come_to_all_of_them() {
    watched("helpers_that_are_invited_by_several_calls_at_once_come_to_all_of_them", || {
        const CALLERS: usize = 3;
        // They sleep as soon as they have nothing to do.
        let builder = builder_on(1, 2 * CALLERS).spin(Duration::ZERO);
        let pool = builder.build().expect("threads for a test");
        let node = pool.nodes().next().expect("it has a node").0;
        let (start, came) = (Barrier::new(CALLERS), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    for round in 1..=300 {
                        start.wait();
                        // All go on until all helpers are there. There are enough of them, though one
                        // that a call has counted on may go to another.
                        pool.run(&Team::new().invite(node, 2), |_| {
                            came.fetch_add(1, Relaxed);
                            while came.load(Relaxed) < 3 * CALLERS * round {
                                thread::yield_now();
                            }
                        });
                    }
                });
            }
        });
    });
}
