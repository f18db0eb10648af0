//! Where calls are refused: the NUMA ones, as container engines do, everything else works.

mod common;

use std::thread;

use common::base_page;
use firsttouch_memory::{AddressRange, MemoryError, Policy, Region, ThreadPolicy};
use firsttouch_testing::{Call, refuse, skipped};
use firsttouch_topology::NodeId;

const NUMA_CALLS: [Call; 4] = [
    Call::any(libc::SYS_mbind),
    Call::any(libc::SYS_get_mempolicy),
    Call::any(libc::SYS_set_mempolicy),
    Call::any(libc::SYS_move_pages),
];

fn regions_work_without_numa_calls(errno: i32) -> Result<(), MemoryError> {
    if let Err(error) = refuse(&NUMA_CALLS, errno) {
        skipped("refused NUMA calls", &error);
        return Ok(());
    }
    let mut region = Region::builder(1 << 20).build()?;
    let len = region.len();
    let node = Policy::Preferred(NodeId::new(0));
    for (call, answer) in [
        ("mbind", region.set_policy(0..len, &Policy::Local)),
        ("mbind", region.set_policy(0..len, &node)),
        ("get_mempolicy", region.policy_at(0).map(drop)),
        ("move_pages", region.residency(0..len).map(drop)),
        ("get_mempolicy", ThreadPolicy::current().map(drop)),
        ("get_mempolicy", ThreadPolicy::set(&node).map(drop)),
        ("mbind", Region::builder(1).policy(node.clone()).build().map(drop)),
    ] {
        let Err(MemoryError::Refused { call: named, source }) = answer else {
            panic!("{call} answers {answer:?}");
        };
        assert_eq!((named, source.raw_os_error()), (call, Some(errno)));
    }
    region.populate(0..len)?;
    let refused = region.residency(0..len).expect_err("the pages that are there are asked about");
    assert!(refused.is_refused(), "{refused}");
    region.as_mut_slice()[5] = 5;
    region.discard(0..len)?;
    assert_eq!(region.as_slice()[5], 0);
    Ok(())
}

#[test]
fn refused_calls_are_told_and_regions_still_work() -> Result<(), MemoryError> {
    for errno in [libc::EPERM, libc::ENOSYS] {
        // A filter is its thread's, and goes with it.
        let checked = thread::spawn(move || regions_work_without_numa_calls(errno));
        checked.join().expect("the thread's assertions hold")?;
    }
    Ok(())
}

fn memory_is_neither_locked_nor_moved(errno: i32) -> Result<(), MemoryError> {
    let calls = [libc::SYS_mlock2, libc::SYS_munlock, libc::SYS_move_pages].map(Call::any);
    if let Err(error) = refuse(&calls, errno) {
        skipped("refused locks and moves", &error);
        return Ok(());
    }
    let mut region = Region::builder(1 << 20).build()?;
    let len = region.len();
    let every = std::num::NonZeroUsize::MIN;
    let asked = AddressRange::of(region.as_slice()).node_runs(every).map(drop);
    for (call, answer) in [
        ("mlock2", region.lock()),
        ("munlock", region.unlock()),
        ("move_pages", region.migrate(0..len, NodeId::new(0)).map(drop).map_err(MemoryError::from)),
        ("move_pages", region.migrate(0..0, NodeId::new(0)).map(drop).map_err(MemoryError::from)),
        ("move_pages", asked),
        ("move_pages", AddressRange::of::<u8>(&[]).node_runs(every).map(drop)),
    ] {
        let Err(MemoryError::Refused { call: named, source }) = answer else {
            panic!("{call} answers {answer:?}");
        };
        assert_eq!((named, source.raw_os_error()), (call, Some(errno)));
    }
    assert!(region.is_fresh());
    Ok(())
}

#[test]
fn refused_locks_and_moves_are_told() -> Result<(), MemoryError> {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let checked = thread::spawn(move || memory_is_neither_locked_nor_moved(errno));
        checked.join().expect("the thread's assertions hold")?;
    }
    Ok(())
}

/// Calls of fewer addresses than one call may have are refused: the last of many.
fn pages_after_a_refused_call_are_counted(errno: i32) -> Result<(), MemoryError> {
    const REST: usize = 100;
    let mut region = Region::builder((2 * (16 << 10) + REST) * base_page()).build()?;
    let (len, page) = (region.len(), region.page_bytes());
    region.as_mut_slice()[..4 * page].fill(1);
    let node = region.residency(0..len).ok().and_then(|pages| pages.nodes().next());
    let Some((node, 4)) = node else {
        skipped("moves that fail midway", &"the pages are on several nodes, or nobody tells");
        return Ok(());
    };
    if let Err(error) = refuse(&[Call::with(libc::SYS_move_pages, 1, REST as u32)], errno) {
        skipped("moves that fail midway", &error);
        return Ok(());
    }
    let all = (len / page) as u64;
    let failed = region.migrate(0..len, node).expect_err("the last call is refused");
    let pages = failed.pages.as_ref();
    assert_eq!((pages.already, pages.failed, pages.not_tried), (4, REST as u64, 0));
    assert_eq!((pages.absent, pages.total()), (all - 4 - REST as u64, all));
    // Now the first call of several is refused, and the others are not made.
    let ranges = [0..REST * page, REST * page..len];
    let first = region.parts().migrate(ranges[..1].iter().cloned(), node).expect_err("refused");
    assert_eq!((first.pages.failed, first.pages.total()), (REST as u64, REST as u64));
    if let Err(error) = refuse(&[Call::with(libc::SYS_move_pages, 1, 16 << 10)], errno) {
        skipped("moves that fail at once", &error);
        return Ok(());
    }
    let failed = region.parts().migrate(ranges, node).expect_err("every call is refused");
    let pages = failed.pages.as_ref();
    assert_eq!((pages.failed, pages.not_tried), (16 << 10, all - (16 << 10)));
    assert_eq!(pages.total(), all);
    Ok(())
}

#[test]
fn every_page_is_counted_once_where_a_call_is_refused_midway() -> Result<(), MemoryError> {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        let checked = thread::spawn(move || pages_after_a_refused_call_are_counted(errno));
        checked.join().expect("the thread's assertions hold")?;
    }
    Ok(())
}

/// Returns whether the kernel uses transparent huge pages where nothing advises it to.
fn huge_pages_come_unasked() -> bool {
    let folder = std::path::Path::new("/sys/kernel/mm/transparent_hugepage");
    let text = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    let bytes: usize = text("hpage_pmd_size").trim().parse().unwrap_or(0);
    let own = text(&format!("hugepages-{}kB/enabled", bytes >> 10));
    own.contains("[always]")
        || (own.is_empty() || own.contains("[inherit]")) && text("enabled").contains("[always]")
}

fn base_pages_where_advice_is_refused(errno: i32) -> Result<(), MemoryError> {
    if let Err(error) = refuse(&[Call::any(libc::SYS_madvise)], errno) {
        skipped("refused advice", &error);
        return Ok(());
    }
    match Region::builder(1).build() {
        Err(error) if huge_pages_come_unasked() && errno == libc::EAGAIN => {
            let named = matches!(error, MemoryError::Call { call: "madvise(MADV_NOHUGEPAGE)", .. });
            assert!(named && error.to_string().contains("vm.max_map_count"), "{error}");
        }
        Err(error) if huge_pages_come_unasked() => assert!(error.is_refused(), "{error}"),
        built => {
            assert!(
                !huge_pages_come_unasked(),
                "its pages may be huge, and it says that they are not"
            );
            let mut region = built?;
            region.as_mut_slice()[0] = 1;
            assert_eq!(region.as_slice(), [1]);
        }
    }
    Ok(())
}

#[test]
fn a_region_of_base_pages_is_one_or_an_error() -> Result<(), MemoryError> {
    for errno in [libc::EAGAIN, libc::EPERM] {
        let checked = thread::spawn(move || base_pages_where_advice_is_refused(errno));
        checked.join().expect("the thread's assertions hold")?;
    }
    Ok(())
}
