//! Pages that are locked, given back by several threads, moved, and asked about by address.

mod common;

use std::fs;
use std::num::NonZeroUsize;
use std::thread;

use common::{allowed_nodes, base_page, skipped, transparent, unless_refused};
use firsttouch_memory::{AddressRange, LockLimit, MemoryError, PageSize, Region};
use firsttouch_topology::NodeId;

/// The sum of a field of `smaps` over the mappings that a range of addresses meets, in bytes.
fn smaps(field: &str, range: AddressRange) -> u64 {
    let text = fs::read_to_string("/proc/self/smaps").expect("proc is mounted");
    let (start, end) = (range.start(), range.start() + range.len());
    let mut meets = false;
    let mut sum = 0;
    for line in text.lines() {
        let first = line.split(' ').next().unwrap_or("");
        let hex = |text| usize::from_str_radix(text, 16);
        if let Some((Ok(from), Ok(to))) = first.split_once('-').map(|(a, b)| (hex(a), hex(b))) {
            meets = from < end && start < to;
        } else if let Some(rest) = line.strip_prefix(field).filter(|_| meets) {
            let kib = rest.trim_start_matches(':').trim().trim_end_matches(" kB");
            sum += kib.parse::<u64>().expect("a number of KiB") << 10;
        }
    }
    sum
}

/// A region of a length that nothing else in this process has, locked; or says why it is not.
fn locked(what: &str, len: usize) -> Option<Region> {
    let mut region = Region::builder(len).build().expect("memory for a test");
    match region.lock() {
        Ok(()) => Some(region),
        Err(error @ MemoryError::LockLimit { .. }) => {
            skipped(what, &error);
            None
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn locked_pages_are_locked_as_they_come_and_no_page_comes_by_itself() -> Result<(), MemoryError> {
    let len = 1 << 20;
    let Some(mut region) = locked("locked pages", len) else { return Ok(()) };
    let whole = AddressRange::of(region.as_slice());
    assert!(LockLimit::current().locked >= len as u64);
    assert!(smaps("Rss", whole) < len as u64, "locking touches nothing");
    region.populate(0..len)?;
    assert!(smaps("Locked", whole) >= len as u64, "all pages are locked");
    region.unlock()?;
    region.as_mut_slice()[17] = 1;
    region.discard(0..len)?;
    assert!(region.is_fresh(), "unlocked pages are given back");
    Ok(())
}

#[test]
fn pages_that_are_there_are_locked_too() -> Result<(), MemoryError> {
    let len = 1 << 20;
    let mut region = Region::builder(len).build()?;
    region.populate(0..len / 2)?;
    match region.lock() {
        Ok(()) => {}
        Err(error @ MemoryError::LockLimit { .. }) => {
            skipped("locked pages", &error);
            return Ok(());
        }
        Err(error) => return Err(error),
    }
    assert!(smaps("Locked", AddressRange::of(region.as_slice())) >= len as u64 / 2);
    region.lock()?;
    region.unlock()
}

#[test]
fn parts_are_given_back_by_several_threads() -> Result<(), MemoryError> {
    for kind in [PageSize::Base, PageSize::Transparent] {
        let built = Region::builder(8 << 20).page_size(kind).or_page_size(PageSize::Base).build();
        let mut region = built?;
        region.as_mut_slice().fill(9);
        let (half, len) = (region.len() / 2, region.len());
        let parts = region.parts();
        thread::scope(|scope| {
            for range in [0..half, half..len] {
                scope.spawn(move || {
                    // SAFETY: [disjoint] each thread takes another half.
                    unsafe { parts.part(range) }.release().expect("the kernel takes pages back");
                });
            }
        });
        let there = unless_refused("where pages lie", region.residency(0..len));
        assert!(there.is_none_or(|pages| pages.present() == 0));
        assert!(region.as_slice().iter().all(|&byte| byte == 0));
    }
    Ok(())
}

#[test]
fn parts_that_cannot_be_given_back_stay_as_they_are() -> Result<(), MemoryError> {
    let page = base_page();
    let Some(mut region) = locked("locked parts", 4 * page) else { return Ok(()) };
    region.as_mut_slice().fill(3);
    let parts = region.parts();
    // SAFETY: [disjoint] it is the only part.
    let kept = unsafe { parts.part(0..2 * page) }.release();
    assert!(matches!(kept, Err(MemoryError::Call { .. })), "{kept:?}");
    // SAFETY: [disjoint] it is the only part.
    let odd = unsafe { parts.part(1..page) }.release();
    assert!(matches!(odd, Err(MemoryError::Misaligned { .. })), "{odd:?}");
    // SAFETY: [disjoint] it is the only part.
    let none = unsafe { parts.part(page..page) }.release();
    assert!(none.is_ok());
    assert!(region.as_slice().iter().all(|&byte| byte == 3));
    Ok(())
}

#[test]
fn pages_on_the_node_already_and_pages_nowhere_are_told_apart() -> Result<(), MemoryError> {
    let page = base_page();
    let nodes = allowed_nodes();
    let Some(node) = nodes.first().filter(|_| nodes.len() == 1) else { return Ok(()) };
    let mut region = Region::builder(40_000 * page + 1).no_reserve().build()?;
    region.as_mut_slice()[..7 * page].fill(5);
    let whole = 0..region.len();
    let moved = region.migrate(whole, node);
    let Some(moved) = unless_refused("moving pages", moved) else { return Ok(()) };
    assert_eq!((moved.already, moved.absent), (7, 40_001 - 7));
    assert_eq!((moved.moved, moved.elsewhere(), moved.there()), (0, 0, 7));
    let some = region.parts().migrate([0..page, 3 * page..5 * page, 7 * page..9 * page], node)?;
    assert_eq!((some.already, some.absent), (3, 2));
    assert!(region.as_slice()[..7 * page].iter().all(|&byte| byte == 5));
    Ok(())
}

#[test]
fn huge_pages_are_counted_in_base_pages_where_they_stay() -> Result<(), MemoryError> {
    let what = "moving transparent huge pages";
    let nodes = allowed_nodes();
    let Some(node) = nodes.first().filter(|_| nodes.len() == 1) else { return Ok(()) };
    let Some(mut region) = transparent(what, 8 << 20) else { return Ok(()) };
    let len = region.len();
    region.populate(0..len / 2)?;
    let Some(moved) = unless_refused(what, region.migrate(0..len, node)) else { return Ok(()) };
    let half = (len / 2 / base_page()) as u64;
    assert_eq!((moved.already, moved.absent), (half, half));
    Ok(())
}

#[test]
fn a_node_that_is_not_there_is_an_error_and_moves_nothing() -> Result<(), MemoryError> {
    let mut region = Region::builder(1 << 20).build()?;
    region.populate(0..1 << 20)?;
    let before = region.residency(0..1 << 20);
    let Some(before) = unless_refused("where pages lie", before) else { return Ok(()) };
    let error = region.migrate(0..1 << 20, NodeId::new(900)).expect_err("there is no such node");
    assert!(matches!(error.source, MemoryError::Call { call: "move_pages", .. }), "{error}");
    let all = ((1 << 20) / base_page()) as u64;
    assert_eq!((error.pages.failed, error.pages.total()), (all, all));
    assert_eq!(region.residency(0..1 << 20)?, before);
    Ok(())
}

#[test]
fn runs_cover_any_memory_in_order_and_neighbours_differ() -> Result<(), MemoryError> {
    let page = base_page();
    let mut region = Region::builder(9 * page).build()?;
    region.populate(2 * page..5 * page)?;
    region.populate(8 * page..9 * page)?;
    let inside = AddressRange::of(&region.as_slice()[page + 7..9 * page - 1]);
    let runs = unless_refused("runs", inside.node_runs(NonZeroUsize::MIN));
    let Some(runs) = runs else { return Ok(()) };
    let present: Vec<bool> = runs.iter().map(|run| run.node.is_some()).collect();
    let bytes: Vec<_> = runs.iter().map(|run| run.bytes.clone()).collect();
    if allowed_nodes().len() == 1 {
        assert_eq!(present, [false, true, false, true]);
        let (a, b, c) = (page - 7, 4 * page - 7, 7 * page - 7);
        assert_eq!(bytes, [0..a, a..b, b..c, c..8 * page - 8]);
    }
    // Every fourth page answers for four: pages from a multiple of four on, or the range's first.
    let sampled = inside.node_runs(NonZeroUsize::new(4).expect("it is four"))?;
    assert_eq!(sampled.first().map(|run| run.bytes.start), Some(0));
    assert_eq!(sampled.last().map(|run| run.bytes.end), Some(inside.len()));
    assert_eq!(AddressRange::of::<u8>(&[]).node_runs(NonZeroUsize::MIN)?, []);

    // More pages than are asked about at once.
    let sparse = Region::builder(50_000 * page).no_reserve().build()?;
    let runs = AddressRange::of(sparse.as_slice()).node_runs(NonZeroUsize::MIN)?;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].node, runs[0].bytes.clone()), (None, 0..50_000 * page));
    Ok(())
}

#[test]
fn memory_that_this_crate_did_not_map_is_asked_about_as_well() {
    let numbers: Vec<u64> = (0..100_000).collect();
    let range = AddressRange::of(&numbers);
    let Some(runs) = unless_refused("a Vec's runs", range.node_runs(NonZeroUsize::MIN)) else {
        return;
    };
    assert!(runs.iter().all(|run| run.node.is_some_and(|node| allowed_nodes().contains(node))));
    assert_eq!(runs.iter().map(|run| run.bytes.len()).sum::<usize>(), 800_000);
}
