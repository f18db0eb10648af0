//! What a builder accepts, and what becomes of it.

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use common::{settled_threads_named, watched_under};
use firsttouch_pool::{HelperPer, Member, Pin, Pinned, Pool, PoolBuilder, PoolError, Scope, Team};
use firsttouch_topology::{CpuSet, NodeId, Topology, affinity};

/// A builder on a made-up machine.
fn on(description: &str) -> PoolBuilder {
    let topology = Topology::synthetic(description).expect("the description is in the grammar");
    Pool::builder().topology(Arc::new(topology))
}

/// Returns the helpers per node.
fn counts(pool: &Pool) -> Vec<(u32, usize)> {
    pool.nodes().map(|(node, helpers)| (node.os_index(), helpers)).collect()
}

#[test]
fn a_pool_has_as_many_helpers_as_this_process_may_run_at_once() {
    let topology = Topology::discover().expect("the machine can be read");
    let pool = Pool::new().expect("a pool can be started");
    assert_eq!(pool.helpers().len(), topology.allowed().parallelism().get());
    assert_eq!(pool.topology().nodes().len(), topology.nodes().len());
}

#[test]
fn helpers_are_spread_over_nodes_and_neighbours_share_one() {
    let pool = on("node:4 core:3 pu:1").build().expect("a pool can be started");
    assert_eq!(counts(&pool), [(0, 3), (1, 3), (2, 3), (3, 3)]);
    for (index, helper) in pool.helpers().iter().enumerate() {
        assert_eq!((helper.index, helper.node), (index, NodeId::new(index as u32 / 3)));
    }
}

#[test]
fn only_chosen_nodes_and_cpus_hold_helpers() {
    let list = |list: &str| list.parse().expect("a list of nodes");
    let pool = on("node:4 core:2 pu:1").nodes(list("1,3")).build().expect("a pool can be started");
    assert_eq!(counts(&pool), [(1, 2), (3, 2)]);
    let cpus = "1,4-7".parse().expect("a list of CPUs");
    let pool = on("node:4 core:2 pu:1").cpus(cpus).nodes(list("0-2")).build();
    assert_eq!(counts(&pool.expect("a pool can be started")), [(0, 1), (2, 2)]);
    let three = NonZeroUsize::new(3).expect("three is not zero");
    let pool = on("node:2 core:2 pu:1").helpers_per_node(three).build();
    assert_eq!(counts(&pool.expect("a pool can be started")), [(0, 3), (1, 3)]);
}

#[test]
fn nodes_and_cpus_that_do_not_exist_are_named() {
    let error = on("node:2 core:2 pu:1").nodes("1-3".parse().expect("a list")).build();
    assert_eq!(
        error.expect_err("nodes 2 and 3 do not exist").to_string(),
        "the machine has no node 2-3; it has 0-1"
    );
    let error = on("node:2 core:2 pu:1").cpus("3-5".parse().expect("a list")).build();
    assert_eq!(
        error.expect_err("CPUs 4 and 5 do not exist").to_string(),
        "the machine has no online CPU 4-5; it has 0-3"
    );
}

#[test]
fn a_choice_that_leaves_no_cpu_is_refused() {
    let list = |list: &str| list.parse().expect("a list");
    let error = on("node:2 core:2 pu:1").nodes(list("0")).cpus("2-3".parse().expect("a list"));
    assert!(matches!(error.build(), Err(PoolError::NoCpus { chosen, .. }) if chosen.is_empty()));
    let error = on("node:2 core:2 pu:1").nodes(list("")).build();
    assert!(matches!(error, Err(PoolError::NoCpus { .. })));
}

#[test]
fn stack_sizes_out_of_range_and_names_with_zero_bytes_are_refused() {
    for size in [0, 1, 4096, usize::MAX, usize::MAX / 2] {
        let error = on("node:1 core:1 pu:1").stack_size(size).build();
        assert!(matches!(error, Err(PoolError::StackSize { bytes, .. }) if bytes == size));
    }
    let error = on("node:1 core:2 pu:1").thread_name(|n| format!("a\0{n}")).build();
    assert!(matches!(error, Err(PoolError::ThreadName { helper: 0, .. })));
    let pool = on("node:1 core:1 pu:1").stack_size(1 << 20).build().expect("a stack can be had");
    assert_eq!(pool.broadcast(|member| member.index()), [0]);
}

#[test]
fn more_helpers_than_a_kernel_has_threads_are_refused() {
    for (wanted, in_all) in [(NonZeroUsize::MAX, usize::MAX), (nonzero(3 << 20), 6 << 20)] {
        let error = on("node:2 core:1 pu:1").helpers_per_node(wanted).build();
        assert!(
            matches!(error, Err(PoolError::TooManyHelpers { wanted, .. }) if wanted == in_all),
            "{error:?}"
        );
    }
    let error = on("node:2 core:1 pu:1").helpers_per_node(nonzero(10_000)).build();
    let node = NodeId::new(0);
    assert!(
        matches!(error, Err(PoolError::TooManyOnNode { node: first, wanted: 10_000, max }) if first == node && max < 10_000),
        "{error:?}"
    );
}

fn nonzero(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("a test asks for helpers")
}

#[test]
fn a_refused_thread_ends_the_others_and_is_an_error() {
    // With 8 GiB of address space, some stacks of 1 GiB can be had, but not 64.
    let limit = "ulimit -v 8388608";
    watched_under(limit, "a_refused_thread_ends_the_others_and_is_an_error", || {
        let wanted = NonZeroUsize::new(64).expect("64 is not zero");
        let builder = on("node:1 core:2 pu:1").thread_name(|_| "ft-refused".to_owned());
        let error = builder.stack_size(1 << 30).helpers_per_node(wanted).build();
        let Err(PoolError::Spawn { started, wanted: 64, .. }) = error else {
            panic!("not refused: {error:?}");
        };
        assert!((1..64).contains(&started), "{started} helpers were started");
        assert_eq!(settled_threads_named("ft-refused", 0), 0);
    });
}

#[test]
fn fewer_helpers_are_accepted_where_that_was_allowed_and_all_nodes_keep_some() {
    let limit = "ulimit -v 8388608";
    let test = "fewer_helpers_are_accepted_where_that_was_allowed_and_all_nodes_keep_some";
    watched_under(limit, test, || {
        let builder = on("node:2 core:2 pu:1").thread_name(|n| format!("ft-fewer-{n}"));
        let builder = builder.stack_size(1 << 30).helpers_per_node(nonzero(32)).accept_fewer(true);
        let pool = builder.pin(Pin::None).build().expect("some can be had");
        let helpers = pool.helpers().len();
        assert!((2..64).contains(&helpers), "{helpers} helpers were started");
        assert_eq!(pool.refused_helpers(), 64 - helpers);
        let counts: Vec<_> = counts(&pool).into_iter().map(|(_, helpers)| helpers).collect();
        assert!(counts.len() == 2 && counts[0].abs_diff(counts[1]) <= 1, "{counts:?}");
        // The first names are used, and no other thread is left.
        let names = pool.broadcast(|_| std::thread::current().name().map(str::to_owned));
        for (index, name) in names.into_iter().enumerate() {
            assert_eq!(name, Some(format!("ft-fewer-{index}")));
            assert_eq!(pool.helpers()[index].index, index);
        }
        for refused in helpers..64 {
            assert_eq!(settled_threads_named(&format!("ft-fewer-{refused}"), 0), 0);
        }
        assert_eq!(common::fib(&pool, 10), 55);
        drop(pool);
        // None at all is an error all the same: a stack of 16 GiB cannot be had.
        let none = on("node:1 core:2 pu:1").stack_size(16 << 30).accept_fewer(true).build();
        assert!(matches!(none, Err(PoolError::Spawn { started: 0, wanted: 2, .. })), "{none:?}");
    });
}

#[test]
fn a_pool_that_was_given_all_it_asked_for_misses_none() {
    let pool = on("node:1 core:2 pu:1").accept_fewer(true).build().expect("a pool can be started");
    assert_eq!((pool.helpers().len(), pool.refused_helpers()), (2, 0));
}

#[test]
fn helpers_in_all_are_spread_in_proportion_to_the_cpus() {
    let spread = |description: &str, helpers: usize| {
        let pool = on(description).pin(Pin::None).helpers(nonzero(helpers)).build();
        counts(&pool.expect("a pool can be started"))
    };
    assert_eq!(spread("node:2 core:2 pu:1", 3), [(0, 2), (1, 1)]);
    assert_eq!(spread("node:2 core:2 pu:1", 9), [(0, 5), (1, 4)]);
    assert_eq!(spread("node:4 core:2 pu:1", 2), [(0, 1), (1, 1)]);
    let huge = on("node:2 core:1 pu:1").helpers(NonZeroUsize::MAX).build();
    assert!(matches!(huge, Err(PoolError::TooManyHelpers { wanted: usize::MAX, .. })));
}

#[test]
fn one_helper_per_core_leaves_the_other_hardware_threads_alone() {
    let per_core = |builder: PoolBuilder| {
        builder.helper_per(HelperPer::Core).build().expect("a pool can be started")
    };
    let pool = per_core(on("node:2 core:3 pu:2"));
    assert_eq!(counts(&pool), [(0, 3), (1, 3)]);
    // CPUs 0 and 1 are one core; of that node, one core more is chosen.
    let cpus: CpuSet = "0-1,3,6-11".parse().expect("a list of CPUs");
    assert_eq!(counts(&per_core(on("node:2 core:3 pu:2").cpus(cpus))), [(0, 2), (1, 3)]);
    // A number of helpers is spread in proportion to the cores, not the CPUs.
    let cpus: CpuSet = "0-5,6,8,10".parse().expect("a list of CPUs");
    let builder = || on("node:2 core:3 pu:2").cpus(cpus.clone()).helpers(nonzero(6));
    assert_eq!(counts(&per_core(builder())), [(0, 3), (1, 3)]);
    assert_eq!(counts(&builder().build().expect("it starts")), [(0, 4), (1, 2)]);
}

#[test]
fn what_a_pool_was_built_with_can_be_asked() {
    let spin = std::time::Duration::from_micros(7);
    let pool = on("node:1 core:1 pu:1").spin(spin).pin(Pin::None).build().expect("it starts");
    assert_eq!((pool.spin(), pool.is_pinned()), (spin, false));
    assert!(Pool::new().expect("a pool can be started").is_pinned());
    // This machine has no such CPU.
    let absent = on("node:1 core:4096 pu:1").cpus("4000".parse().expect("a list")).build();
    assert!(!absent.expect("a pool can be started").is_pinned());
}

#[test]
fn helpers_are_pinned_to_the_nodes_cpus_by_default() {
    let pool = Pool::new().expect("a pool can be started");
    let allowed = affinity::current().expect("a thread may read its own affinity");
    let masks = pool.broadcast(|_| affinity::current().expect("so may a helper"));
    for (helper, mask) in pool.helpers().iter().zip(masks) {
        let node = pool.topology().node(helper.node).expect("the node exists");
        assert_eq!(helper.pinned, Pinned::Node(helper.node));
        assert_eq!(mask, node.cpus().intersection(&allowed));
    }
}

#[test]
fn helpers_pinned_to_cpus_wrap_round() {
    let topology = Arc::new(Topology::discover().expect("the machine can be read"));
    let per_node = NonZeroUsize::new(topology.cpus().len() + 1).expect("more than none");
    let pool = Pool::builder().topology(topology).pin(Pin::Cpu).helpers_per_node(per_node).build();
    let pool = pool.expect("a pool can be started");
    let masks = pool.broadcast(|_| affinity::current().expect("a helper may read its affinity"));
    let mut helpers_of_cpu = BTreeMap::new();
    for (helper, mask) in pool.helpers().iter().zip(masks) {
        let Pinned::Cpu(cpu) = helper.pinned else { panic!("{helper:?} is not pinned to a CPU") };
        assert_eq!((mask.len(), mask.first()), (1, Some(cpu)));
        assert_eq!(pool.topology().node_of_cpu(cpu), Some(helper.node));
        *helpers_of_cpu.entry(cpu).or_insert(0) += 1;
    }
    // Every allowed CPU has one before any has two, and there is one helper more than CPUs.
    assert_eq!(helpers_of_cpu.len(), pool.topology().allowed().cpus().len());
    assert!(helpers_of_cpu.values().any(|&helpers| helpers > 1));
}

#[test]
fn unpinned_helpers_may_run_wherever_their_starter_may() {
    let pool = Pool::builder().pin(Pin::None).build().expect("a pool can be started");
    let allowed = affinity::current().expect("a thread may read its own affinity");
    for mask in pool.broadcast(|_| affinity::current().expect("so may a helper")) {
        assert_eq!(mask, allowed);
    }
    assert!(pool.helpers().iter().all(|helper| helper.pinned == Pinned::None));
}

#[test]
fn a_refused_pin_is_told_and_the_helper_runs() {
    let present = affinity::current().expect("a thread may read its own affinity");
    // Below 1,024 and beyond.
    for (cpus, pin) in [("8188-8189", Pin::Node), ("8188-8189", Pin::Cpu), ("1022-1023", Pin::Cpu)]
    {
        let cpus: CpuSet = cpus.parse().expect("a list of CPUs");
        assert!(!present.intersects(&cpus), "the test needs CPUs that this machine lacks");
        let pool = on("node:2 core:4096 pu:1").cpus(cpus).pin(pin).build();
        let pool = pool.expect("a pool can be started");
        assert_eq!(pool.helpers().len(), 2);
        assert!(pool.helpers().iter().all(|helper| helper.pinned == Pinned::Refused));
        assert_eq!(pool.broadcast(|member| member.index()), [0, 1]);
    }
}

#[test]
fn a_pin_that_is_granted_in_part_is_refused_and_undone() {
    let present = affinity::current().expect("a thread may read its own affinity");
    let last = present.last().expect("a thread may run somewhere");
    // The kernel leaves out the CPU that does not exist, and says nothing.
    let cpus: CpuSet = format!("{last},8188").parse().expect("a list of CPUs");
    let pool = on("node:1 core:8192 pu:1").cpus(cpus).build().expect("a pool can be started");
    assert!(pool.helpers().iter().all(|helper| helper.pinned == Pinned::Refused));
    for mask in pool.broadcast(|_| affinity::current().expect("so may a helper")) {
        assert_eq!(mask, present);
    }
}

#[test]
fn threads_have_the_names_they_were_given() {
    let pool = on("node:1 core:2 pu:1").thread_name(|n| format!("named-{n}")).build();
    let pool = pool.expect("a pool can be started");
    let name = || std::thread::current().name().map(str::to_owned);
    assert_eq!(pool.broadcast(|_| name()), [Some("named-0".into()), Some("named-1".into())]);
}

#[test]
fn what_threads_share_may_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Pool>();
    shared::<PoolBuilder>();
    shared::<PoolError>();
    shared::<Team>();
    shared::<Scope<'static>>();
    shared::<Member<'static>>();
}
