//! Policies of ranges and of threads, as the kernel gives them back.

mod common;

use common::{allowed_nodes, base_page, skipped, transparent, unless_refused};
use firsttouch_memory::{MemoryError, Policy, Region, ThreadPolicy};
use firsttouch_topology::{NodeId, NodeSet};

/// Every policy over nodes that this process may use.
fn policies() -> Vec<Policy> {
    let nodes = allowed_nodes();
    let first = nodes.first().expect("a process may use some node");
    vec![
        Policy::Local,
        Policy::Bind(nodes.clone()),
        Policy::Preferred(first),
        Policy::PreferredMany(nodes.clone()),
        Policy::Interleave(nodes.clone()),
        Policy::WeightedInterleave(nodes),
        Policy::Default,
    ]
}

/// Returns whether the policy was set; false where the kernel is too old, or the call refused.
fn was_set<T>(what: &str, result: Result<T, MemoryError>) -> Option<T> {
    match result {
        Err(error @ MemoryError::UnsupportedPolicy { .. }) => {
            skipped(what, &error);
            None
        }
        result => unless_refused(what, result),
    }
}

#[test]
fn the_kernel_gives_back_each_policy_of_a_range() -> Result<(), MemoryError> {
    let page = base_page();
    for policy in policies() {
        let mut region = Region::builder(4 * page - 1).build()?;
        let set = region.set_policy(page..2 * page, &policy);
        if was_set("policies of ranges", set).is_none() {
            continue;
        }
        assert_eq!(region.policy_at(page)?, policy);
        assert_eq!(region.policy_at(2 * page - 1)?, policy);
        assert_eq!(region.policy_at(page - 1)?, Policy::Default);
        assert_eq!(region.policy_at(2 * page)?, Policy::Default);
        region.set_policy(0..region.len(), &policy)?;
        assert_eq!(region.policy_at(region.len() - 1)?, policy);
        assert!(region.is_fresh(), "a policy places nothing");
        region.set_policy(0..region.len(), &Policy::Default)?;
        assert_eq!(region.policy_at(page)?, Policy::Default);
    }
    Ok(())
}

#[test]
fn a_region_is_built_with_its_policy() {
    let policy = Policy::Bind(allowed_nodes());
    let built = Region::builder(3 * base_page()).policy(policy.clone()).build();
    if let Some(region) = unless_refused("a region's own policy", built) {
        for offset in [0, region.len() - 1] {
            let read = region.policy_at(offset);
            assert_eq!(read.expect("where mbind works, get_mempolicy does"), policy);
        }
    }
}

#[test]
fn nodes_that_cannot_be_used_are_named() -> Result<(), MemoryError> {
    let mut region = Region::builder(2 * base_page()).build()?;
    let len = region.len();
    for number in [1023, 70_000, u32::MAX >> 12] {
        let node = NodeId::new(number);
        let mut nodes = allowed_nodes();
        nodes.insert(node);
        for policy in [Policy::Preferred(node), Policy::Bind(nodes)] {
            let error = region.set_policy(0..len, &policy).expect_err("there is no such node");
            if error.is_refused() {
                skipped("nodes that do not exist", &error);
                return Ok(());
            }
            let MemoryError::NoSuchNode { node: named, range, online, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!((*named, range), (node, &Some(0..len)));
            assert!(allowed_nodes().is_subset(online));
            assert!(error.to_string().contains(&format!("there is no node {number}")), "{error}");
        }
    }
    Ok(())
}

#[test]
fn a_policy_that_needs_nodes_must_name_one() -> Result<(), MemoryError> {
    let mut region = Region::builder(1).build()?;
    let none = NodeSet::new;
    for policy in [
        Policy::Bind(none()),
        Policy::PreferredMany(none()),
        Policy::Interleave(none()),
        Policy::WeightedInterleave(none()),
    ] {
        let of_range = region.set_policy(0..1, &policy);
        assert!(matches!(of_range, Err(MemoryError::EmptyNodeSet { .. })));
        if let Some(of_thread) =
            ThreadPolicy::set(&policy).err().filter(|error| !error.is_refused())
        {
            assert!(matches!(of_thread, MemoryError::EmptyNodeSet { .. }));
        }
    }
    Ok(())
}

#[test]
fn a_policys_range_keeps_to_whole_pages() -> Result<(), MemoryError> {
    let page = base_page();
    let mut region = Region::builder(2 * page - 1).build()?;
    for range in [1..page, 0..page - 1, page..page + 1] {
        let error = region.set_policy(range, &Policy::Local).expect_err("it cuts a page");
        assert!(matches!(error, MemoryError::Misaligned { .. }), "{error}");
    }
    region.set_policy(page..page, &Policy::Local)?;
    let what = "policies of transparent regions";
    if let Some(mut region) = transparent(what, 1 << 20) {
        let error = region.set_policy(0..page, &Policy::Local).expect_err("it cuts a huge page");
        assert!(matches!(error, MemoryError::Misaligned { page_bytes, .. } if page_bytes > page));
        unless_refused(what, region.set_policy(0..1 << 20, &Policy::Local));
    }
    Ok(())
}

#[test]
fn a_threads_policy_comes_back_when_the_guard_drops() -> Result<(), MemoryError> {
    // Threads of their own, as a policy is one thread's.
    let checked = std::thread::spawn(|| -> Result<(), MemoryError> {
        for policy in policies() {
            let before = ThreadPolicy::current()?;
            let Some(mut guard) = was_set("policies of threads", ThreadPolicy::set(&policy)) else {
                continue;
            };
            assert_eq!(ThreadPolicy::current()?, policy);
            guard.change(&Policy::Local)?;
            assert_eq!(ThreadPolicy::current()?, Policy::Local);
            let inner = ThreadPolicy::set(&Policy::Bind(allowed_nodes()))?;
            drop(inner);
            assert_eq!(ThreadPolicy::current()?, Policy::Local);
            let failed = guard.change(&Policy::Preferred(NodeId::new(70_000)));
            assert!(matches!(failed, Err(MemoryError::NoSuchNode { range: None, .. })));
            assert_eq!(ThreadPolicy::current()?, Policy::Local);
            drop(guard);
            assert_eq!(ThreadPolicy::current()?, before);
        }
        Ok(())
    });
    match checked.join().expect("the thread's assertions hold") {
        Err(error) if error.is_refused() => skipped("policies of threads", &error),
        result => result?,
    }
    Ok(())
}
