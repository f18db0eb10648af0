//! Page initialisation on the live machine, whatever it has.

mod kinds;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use firsttouch_memory::{PageSize, Policy, ThreadPolicy};
use firsttouch_topology::{NodeId, NodeSet, Topology};

use super::interleave::Interleave;
use super::placement::Layout;
use super::*;

type Result = std::result::Result<(), Box<dyn Error>>;

fn region(len: usize, page_size: PageSize) -> Region {
    let builder = Region::builder(len).page_size(page_size).or_page_size(PageSize::Base);
    builder.build().expect("memory for a test")
}

fn base(len: usize) -> Region {
    region(len, PageSize::Base)
}

/// A pool for a machine that this is not: its policies are refused.
fn synthetic_pool(description: &str) -> Pool {
    let topology = Topology::synthetic(description).expect("a description in the grammar");
    Pool::builder().topology(Arc::new(topology)).build().expect("threads for a test")
}

fn check_pages(report: &InitReport) {
    // A kernel that does not tell is as well; the live test machines do.
    let Some(pages) = &report.pages else { return };
    let base = pages.residency.page_bytes();
    // With several nodes, the kernel may be watching pages to balance them.
    let nodes = Topology::discover().map_or(0, |topology| topology.nodes().len());
    assert!(nodes > 1 || pages.residency.not_present() == 0, "{report:?}");
    assert!(pages.total() as usize >= report.bytes.div_ceil(base), "{report:?}");
    assert!(pages.placed <= pages.total() && pages.local <= pages.total());
}

#[test]
fn zero_places_every_page_of_regions_of_any_length() -> Result {
    let pool = Pool::new()?;
    let page = base(1).page_bytes();
    for len in [1, page - 1, page, page + 1, 1 << 20, (5 << 20) + 13, 64 << 20] {
        for kind in [PageSize::Base, PageSize::Transparent] {
            let mut region = region(len, kind);
            let report = PageInit::new(&mut region).zero(&pool)?;
            assert_eq!(report.bytes, len);
            assert_eq!(report.page_size, region.page_size());
            assert_eq!(report.nodes.iter().map(|row| row.size).sum::<usize>(), len);
            assert!(report.threads >= 1 && report.chunks >= report.threads);
            check_pages(&report);
            assert!(region.as_slice().iter().step_by(97).all(|&byte| byte == 0));
        }
    }
    Ok(())
}

#[test]
fn on_one_node_no_policy_is_set_and_every_page_is_placed_and_local() -> Result {
    let pool = Pool::new()?;
    if Sites::of(&pool).usable().len() != 1 {
        return Ok(());
    }
    let mut region = base(16 << 20);
    let report = PageInit::new(&mut region).zero(&pool)?;
    assert_eq!(report.policy, PolicyUse::NotNeeded);
    assert_eq!(report.local_chunks, report.chunks);
    if let Some(pages) = report.pages {
        assert_eq!(pages.placed_share(), 1.0);
        assert_eq!(pages.local_share(), 1.0);
    }
    assert_eq!(region.policy_at(0).unwrap_or(Policy::Default), Policy::Default);
    Ok(())
}

#[test]
fn fill_writes_every_element_and_leaves_the_odd_bytes_zero() -> Result {
    let pool = Pool::new()?;
    for kind in [PageSize::Base, PageSize::Transparent] {
        let mut bytes = region((3 << 20) + 5, kind);
        PageInit::new(&mut bytes).fill(&pool, 0xA5_u8)?;
        assert!(bytes.as_slice().iter().all(|&byte| byte == 0xA5));

        let mut words = region((3 << 20) + 5, kind);
        let report = PageInit::new(&mut words).fill(&pool, 0x0123_4567_89AB_CDEF_u64)?;
        assert!(words.as_slice_of::<u64>().iter().all(|&word| word == 0x0123_4567_89AB_CDEF));
        assert_eq!(words.as_slice()[3 << 20..], [0; 5]);
        check_pages(&report);
    }
    Ok(())
}

#[test]
fn elements_of_any_size_are_each_written_once_with_their_index() -> Result {
    fn check<T: Pod>(pool: &Pool, len: usize) -> Result {
        let size = size_of::<T>();
        let written = AtomicUsize::new(0);
        let mut region = base(len);
        let init = PageInit::new(&mut region).min_chunk(1);
        let report = init.fill_with(pool, |first, elements: &mut [T]| {
            written.fetch_add(elements.len(), Ordering::Relaxed);
            for (index, element) in elements.iter_mut().enumerate() {
                let bytes = bytemuck::bytes_of_mut(element);
                assert!(bytes.iter().all(|&byte| byte == 0), "fresh, and met once");
                bytes.fill(((first + index) % 251 + 1) as u8);
            }
        })?;
        check_pages(&report);
        assert_eq!(written.into_inner(), len / size);
        let whole = len - len % size;
        let bytes = region.as_slice();
        assert!((0..whole).all(|byte| bytes[byte] == (byte / size % 251 + 1) as u8));
        assert!(bytes[whole..].iter().all(|&byte| byte == 0));
        Ok(())
    }
    let pool = Pool::new()?;
    check::<u8>(&pool, 300_000)?;
    check::<[u8; 3]>(&pool, (1 << 20) + 1)?;
    check::<[f64; 3]>(&pool, 1 << 20)?;
    check::<[u8; 4096]>(&pool, (1 << 20) + 7)?;
    check::<[[u32; 256]; 5]>(&pool, 1 << 20)?;
    check::<[[[u8; 1024]; 30]; 25]>(&pool, 2 << 20)?;
    check::<[[[u8; 1024]; 1024]; 5]>(&pool, 2 << 20)
}

#[test]
fn a_fill_of_zeros_writes_nothing() -> Result {
    let pool = Pool::new()?;
    let mut region = base(4 << 20);
    let report = PageInit::new(&mut region).fill(&pool, [0_u32; 3])?;
    check_pages(&report);
    assert!(region.as_slice().iter().all(|&byte| byte == 0));
    Ok(())
}

#[test]
fn old_contents_are_gone_and_pages_placed_anew() -> Result {
    let pool = Pool::new()?;
    let mut region = base(4 << 20);
    region.as_mut_slice().fill(7);
    let report = PageInit::new(&mut region).zero(&pool)?;
    check_pages(&report);
    assert!(region.as_slice().iter().all(|&byte| byte == 0));
    PageInit::new(&mut region).fill(&pool, 9_u8)?;
    let report = PageInit::new(&mut region).fill(&pool, [1_u8, 2, 3])?;
    check_pages(&report);
    assert_eq!(region.as_slice()[..4], [1, 2, 3, 1]);
    assert_eq!(region.as_slice()[(4 << 20) - 1], 0, "the odd byte, which held a 9");
    Ok(())
}

#[test]
fn refused_policies_leave_first_touch_and_the_report_says_so() -> Result {
    let pool = synthetic_pool("node:3 core:2 pu:1");
    for placement in [
        Placement::Blocked,
        Placement::BlockedByMemory,
        Placement::Nodes([NodeId::new(1), NodeId::new(2)].into_iter().collect()),
        Placement::Interleaved { block: base(1).page_bytes() },
        Placement::Interleaved { block: base(1).page_bytes() * 16 },
    ] {
        let mut region = base((6 << 20) + 100);
        let init = PageInit::new(&mut region).placement(placement.clone()).min_chunk(1 << 16);
        let report = init.fill(&pool, 0x55_u8)?;
        assert_eq!(report.policy, PolicyUse::Refused, "{placement:?}");
        let nodes = if matches!(placement, Placement::Nodes(_)) { 2 } else { 3 };
        assert_eq!(report.nodes.len(), nodes, "{placement:?}");
        assert_eq!(report.nodes.iter().map(|row| row.size).sum::<usize>(), (6 << 20) + 100);
        assert_eq!(report.nodes.iter().map(|row| row.chunks).sum::<usize>(), report.chunks);
        check_pages(&report);
        assert!(region.as_slice().iter().all(|&byte| byte == 0x55), "{placement:?}");
    }
    Ok(())
}

#[test]
fn where_one_range_is_refused_no_other_keeps_a_policy() -> Result {
    // The live machine has the first node, and perhaps not the others.
    let pool = synthetic_pool("node:65 core:1 pu:1");
    let len = 8 << 20;
    for binding in [Binding::Preferred, Binding::Bind] {
        let mut region = base(len);
        let sites = Sites::of(&pool);
        let layout = lay_out(&Placement::Blocked, len, region.page_bytes(), &sites, usize::MAX)?;
        match policies::set(&mut region, layout, binding, true) {
            Ok((_, policy)) => assert_eq!(policy, PolicyUse::Refused),
            Err(error) => assert!(matches!(error, JobError::Policy { .. }), "{error:?}"),
        }
        match region.policy_at(0) {
            Ok(policy) => assert_eq!(policy, Policy::Default, "{binding:?}"),
            Err(error) => assert!(error.is_refused(), "{error}"),
        }
    }
    Ok(())
}

#[test]
fn bound_placements_are_errors_where_the_policy_is_refused() -> Result {
    let pool = synthetic_pool("node:2 core:1 pu:1");
    let mut region = base(4 << 20);
    let bound = PageInit::new(&mut region).binding(Binding::Bind).zero(&pool);
    let error = bound.expect_err("the machine has not these nodes, or not this memory");
    assert!(matches!(error, JobError::Policy { .. } | JobError::NotEnoughFree { .. }), "{error:?}");
    Ok(())
}

#[test]
fn bound_placement_on_the_live_machine_puts_all_pages_where_they_are_meant() -> Result {
    let pool = Pool::new()?;
    let mut region = base(4 << 20);
    let report = match PageInit::new(&mut region).binding(Binding::Bind).zero(&pool) {
        Ok(report) => report,
        // A container may hide the free memory, or refuse policies.
        Err(JobError::NotEnoughFree { .. } | JobError::Policy { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if let Some(pages) = report.pages {
        assert_eq!(pages.placed_share(), 1.0);
    }
    Ok(())
}

#[test]
fn placements_that_cannot_be_are_errors_and_touch_nothing() -> Result {
    let pool = Pool::new()?;
    let mut region = base(4 << 20);
    let page_bytes = region.page_bytes();
    for block in [0, 1, page_bytes + 1] {
        let init = PageInit::new(&mut region).placement(Placement::Interleaved { block });
        let error = init.zero(&pool).expect_err("no multiple of the page");
        assert!(matches!(error, JobError::Block { .. }), "{error}");
    }
    let nowhere = NodeId::new(4000);
    let nodes = Placement::Nodes([nowhere].into_iter().collect());
    let error = PageInit::new(&mut region).placement(nodes).zero(&pool).expect_err("no such node");
    assert!(matches!(&error, JobError::NodeWithoutMemory { node, .. } if *node == nowhere));
    let nodes = Placement::Nodes(NodeSet::new());
    let error = PageInit::new(&mut region).placement(nodes).zero(&pool).expect_err("no node");
    assert!(matches!(error, JobError::NoNodes { .. }), "{error}");
    assert!(region.is_fresh());
    Ok(())
}

#[test]
fn reading_back_can_be_left_out() -> Result {
    let pool = Pool::new()?;
    let mut region = base(1 << 20);
    assert_eq!(PageInit::new(&mut region).read_back(false).zero(&pool)?.pages, None);
    Ok(())
}

#[test]
fn one_thread_initialises_it_all_on_the_calling_thread() -> Result {
    let pool = Pool::new()?;
    let caller = std::thread::current().id();
    let mut region = base(8 << 20);
    let init = PageInit::new(&mut region).max_threads(NonZeroUsize::MIN);
    let report = init.fill_with(&pool, |_, bytes: &mut [u8]| {
        assert_eq!(std::thread::current().id(), caller);
        bytes.fill(1);
    })?;
    assert_eq!(report.threads, 1);
    assert!(region.as_slice().iter().all(|&byte| byte == 1));
    Ok(())
}

#[test]
fn a_panic_in_the_closure_reaches_the_caller_and_restores_the_threads_policy() -> Result {
    let pool = synthetic_pool("node:2 core:1 pu:1");
    let before = ThreadPolicy::current().ok();
    let mut region = base(4 << 20);
    let page_bytes = region.page_bytes();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let placement = Placement::Interleaved { block: 4 * page_bytes };
        let init = PageInit::new(&mut region).placement(placement);
        init.fill_with(&pool, |_, _: &mut [u8]| panic!("on purpose"))
    }));
    assert!(panicked.is_err());
    assert_eq!(ThreadPolicy::current().ok(), before);
    let report = PageInit::new(&mut region).fill(&pool, 3_u8)?;
    check_pages(&report);
    assert!(region.as_slice().iter().all(|&byte| byte == 3), "the region is as good as new");
    Ok(())
}

#[test]
fn a_thread_follows_the_node_of_its_chunks_and_gets_its_own_policy_back() -> Result {
    let pool = Pool::new()?;
    let sites = Sites::of(&pool);
    let Some(node) = sites.usable().first() else { return Ok(()) };
    let Ok(before) = ThreadPolicy::current() else { return Ok(()) };
    let mut region = base(1 << 20);
    let interleave = Interleave::new(1 << 20, region.page_bytes(), vec![node]);
    let layout = Layout { interleave: Some(interleave), ..Layout::anywhere(1 << 20) };
    let parts = region.parts();
    let elements = Elements::new(1 << 20, 1);
    for binding in [Binding::Preferred, Binding::Bind] {
        let policy = PolicyUse::Thread;
        let pieces = Pieces { elements, piece: 1 << 16, provide: None };
        let touch = Touch::new(parts, &layout, pieces, binding, policy, &sites);
        let mut own = touch.begin();
        let cpu = firsttouch_topology::affinity::current_cpu();
        let cpu_node = None;
        let chunk = crate::Chunk {
            piece: None,
            start: 0,
            end: 1 << 16,
            node: Some(node),
            cpu,
            cpu_node,
            local: true,
        };
        touch.chunk(&mut own, &chunk, &|_, _| ()).map_err(|error| format!("{error:?}"))?;
        if touch.policy() == PolicyUse::Thread {
            assert_eq!(ThreadPolicy::current()?, policies::policy_for(node, binding));
        }
        touch.end(own);
        assert_eq!(ThreadPolicy::current()?, before);
        assert_eq!(touch.initialised(), 1 << 16);
        let records = touch.into_records();
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].node, records[0].range.clone()), (Some(node), 0..1 << 16));
    }
    Ok(())
}

#[test]
fn pages_that_cannot_be_had_stop_the_job_with_the_node_and_what_was_placed() -> Result {
    let pool = Pool::new()?;
    // The kernel provides pages of files in memory, and of no others: it fails
    // underway with the one, and before the first page with the other.
    for directory in ["/dev/shm", "/tmp"] {
        let Ok(empty) = tempfile::tempfile_in(directory) else { continue };
        for stores in [Stores::Provided, Stores::Cached] {
            let len = 16 << 20;
            let mut region = base(len);
            let hole = len / 2..len / 2 + region.page_bytes();
            dig(&region, &hole, &empty);
            let result = PageInit::new(&mut region).stores(stores).fill(&pool, 1_u8);
            let error = result.expect_err("there is a hole");
            let told = error.to_string();
            let JobError::Init { node, range, initialised, placed, .. } = error else {
                return Err(error.into());
            };
            assert!(range.start <= hole.start && hole.end <= range.end, "{range:?}");
            assert!(initialised <= len - range.len(), "{initialised}");
            assert_eq!(node.is_some(), !Sites::of(&pool).usable().is_empty());
            // Some containers do not tell where pages lie.
            if let Ok(found) = region.residency(0..len) {
                let pages = node.map_or(found.present(), |node| found.pages_on(node));
                assert_eq!(placed, Some(pages * found.page_bytes() as u64));
                let lie = format!("{} bytes of the region lie there", placed.unwrap_or(0));
                assert!(told.contains(&lie), "{told}");
            }
            // What was not provided is the kernel's to clear.
            assert!(region.as_slice()[..hole.start].iter().all(|&byte| byte <= 1));
        }
    }
    Ok(())
}

/// Maps a page of an empty file into a region: it cannot be had, and nothing that other tests map can get its place.
fn dig(region: &Region, hole: &std::ops::Range<usize>, empty: &std::fs::File) {
    let start = region.as_ptr().wrapping_add(hole.start).cast_mut();
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_FIXED);
    let fd = std::os::fd::AsRawFd::as_raw_fd(empty);
    // SAFETY: the page is the region's, which is unmapped with whatever is
    // mapped there; and nobody looks at its bytes.
    let mapped = unsafe { libc::mmap(start.cast(), hole.len(), access, kind, fd, 0) };
    assert_eq!(mapped, start.cast());
}
