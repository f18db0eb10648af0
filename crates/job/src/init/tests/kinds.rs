//! Copies, ways of writing, shared memory, files and huge pages, on the live machine.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use firsttouch_memory::{FileView, MemoryError, OptionalCall, simulate_missing};

use super::*;
use crate::job::sites::Sites;

/// A file of so many bytes without a name, in a directory; `None` where there is no such directory.
fn file_in(directory: &str, len: u64) -> Option<File> {
    let file = tempfile::tempfile_in(directory).ok()?;
    file.set_len(len).expect("a hole needs no room");
    Some(file)
}

fn numbers(count: usize) -> Vec<u32> {
    (0..count as u32).map(|number| number.wrapping_mul(0x9E37_79B9)).collect()
}

#[test]
fn copies_are_equal_to_their_source_however_they_are_written() -> Result {
    let pool = Pool::new()?;
    let len = (9 << 20) + 7;
    let source = numbers(len / 4);
    for kind in [PageSize::Base, PageSize::Transparent] {
        for stores in [Stores::Auto, Stores::Cached, Stores::Streaming] {
            let mut region = region(len, kind);
            let report = PageInit::new(&mut region).stores(stores).copy_from(&pool, &source)?;
            check_pages(&report);
            assert!(region.as_slice_of::<u32>() == source, "{kind} {stores:?}");
            assert_eq!(region.as_slice()[source.len() * 4..], [0; 3]);
        }
    }
    Ok(())
}

#[test]
fn what_a_copy_does_not_reach_is_zero_and_placed() -> Result {
    let pool = Pool::new()?;
    for count in [0, 1, 1000, (3 << 20) / 4 + 1] {
        let source = numbers(count);
        let mut region = base(5 << 20);
        region.as_mut_slice().fill(9);
        let report = PageInit::new(&mut region).copy_from(&pool, &source)?;
        check_pages(&report);
        let (copied, rest) = region.as_slice_of::<u32>().split_at(count);
        assert!(copied == source && rest.iter().all(|&number| number == 0), "{count}");
    }
    Ok(())
}

#[test]
fn a_source_longer_than_the_region_is_an_error_and_touches_nothing() -> Result {
    let pool = Pool::new()?;
    let mut region = base(4095);
    let refused = PageInit::new(&mut region).copy_from(&pool, &[0_u8; 4096]);
    assert!(matches!(refused, Err(JobError::SourceTooLong { bytes: 4096, room: 4095 })));
    assert!(region.is_fresh());
    Ok(())
}

#[test]
fn fills_are_the_same_however_they_are_written() -> Result {
    let pool = Pool::new()?;
    let len = (5 << 20) + 11;
    for stores in [Stores::Cached, Stores::Streaming] {
        let mut region = base(len);
        let element = [1.5, -2.0, 3.25_f64];
        PageInit::new(&mut region).stores(stores).fill(&pool, element)?;
        assert!(region.as_slice_of::<[f64; 3]>().iter().all(|&other| other == element));
        let whole = len - len % 24;
        assert!(region.as_slice()[whole..].iter().all(|&byte| byte == 0));
    }
    Ok(())
}

#[test]
fn chunks_are_short_and_small_regions_are_the_callers_alone() -> Result {
    let pool = Pool::new()?;
    let caller = std::thread::current().id();
    for len in [1, 1 << 20, (4 << 20) - 1] {
        let mut region = base(len);
        let report = PageInit::new(&mut region).fill_with(&pool, |_, bytes: &mut [u8]| {
            assert_eq!(std::thread::current().id(), caller);
            bytes.fill(1);
        })?;
        assert_eq!(report.threads, 1, "{len}");
    }
    for len in [8 << 20, 256 << 20] {
        let mut region = Region::builder(len).build()?;
        let init = PageInit::new(&mut region);
        let longest = longest_chunk(&init.job, len, 4096, &Sites::of(&pool));
        assert!(longest <= MOST_CHUNK && longest >= MIN_CHUNK.min(len));
        assert!(longest * CHUNKS_PER_THREAD * pool.helpers().len() <= len || longest == MIN_CHUNK);
    }
    let mut region = region(1 << 20, PageSize::Base);
    let job = PageInit::new(&mut region).min_chunk(1).job;
    assert_eq!(
        longest_chunk(&job, 64 << 20, 1 << 30, &Sites::of(&pool)),
        1 << 30,
        "a page is one thread's"
    );
    Ok(())
}

#[test]
fn shared_memory_is_initialised_like_private() -> Result {
    let pool = Pool::new()?;
    for memfd_is_missing in [false, true] {
        simulate_missing(OptionalCall::Memfd, memfd_is_missing);
        let built = Region::builder((6 << 20) + 5).shared().build();
        simulate_missing(OptionalCall::Memfd, false);
        let mut region = built?;
        for byte in [0, 7, 0] {
            let report = PageInit::new(&mut region).fill(&pool, byte)?;
            check_pages(&report);
            assert!(region.as_slice().iter().all(|&other| other == byte));
        }
    }
    Ok(())
}

#[test]
fn what_others_wrote_to_shared_memory_is_gone_once_it_is_initialised() -> Result {
    let pool = Pool::new()?;
    let len = 5 << 20;
    let mut region = Region::builder(len).shared().build()?;
    for fills in [false, true] {
        // SAFETY: [exclusive] no view is alive, nor does a call last, while it is written.
        let Some(file) = (unsafe { region.file() }) else { return Ok(()) };
        File::from(file.try_clone_to_owned()?).write_all_at(&[7; 3], 4 << 20)?;
        let init = PageInit::new(&mut region);
        let report = if fills {
            init.fill_with(&pool, |_, bytes: &mut [u8]| {
                assert!(bytes.iter().all(|&byte| byte == 0), "elements come as zeros");
            })?
        } else {
            init.zero(&pool)?
        };
        check_pages(&report);
        assert!(region.as_slice().iter().all(|&byte| byte == 0));
        region.discard(0..len)?;
    }
    Ok(())
}

#[test]
fn files_are_initialised_and_what_they_had_is_lost() -> Result {
    let pool = Pool::new()?;
    let len = (6 << 20) + 100;
    for directory in ["/dev/shm", "/tmp"] {
        let Some(file) = file_in(directory, len) else { continue };
        // SAFETY: [long], [exclusive] nobody else has the file; [room] it is small.
        let mut region = unsafe { Region::map_file(&file, 0..len)? };
        region.as_mut_slice().fill(9);
        let report = PageInit::new(&mut region).zero(&pool)?;
        check_pages(&report);
        assert!(region.as_slice().iter().all(|&byte| byte == 0));
        PageInit::new(&mut region).fill(&pool, 3_u8)?;
        drop(region);
        // SAFETY: [long], [unchanged] nobody else has the file.
        let view = unsafe { FileView::map(&file, 0..len)? };
        let report = PageRead::new(&view).run(&pool)?;
        assert_eq!(report.size as u64, len);
        assert!(view.as_slice().iter().all(|&byte| byte == 3));
        if let Ok(pages) = view.residency(0..view.len()) {
            assert_eq!(pages.not_present(), 0, "{directory}");
        }
    }
    Ok(())
}

#[test]
fn on_several_nodes_the_page_cache_follows_threads_or_says_that_it_cannot() -> Result {
    // Not this machine's nodes, so threads' policies are refused too.
    let pool = synthetic_pool("node:3 core:2 pu:1");
    let len = 6 << 20;
    let Some(file) = file_in("/tmp", len) else { return Ok(()) };
    for placement in [Placement::Blocked, Placement::Interleaved { block: 1 << 16 }] {
        // SAFETY: [long], [exclusive] nobody else has the file; [room] it is small.
        let mut region = unsafe { Region::map_file(&file, 0..len)? };
        let init = PageInit::new(&mut region).placement(placement.clone()).min_chunk(1 << 16);
        let report = init.fill(&pool, 5_u8)?;
        assert!(matches!(report.policy, PolicyUse::Thread | PolicyUse::Refused), "{report:?}");
        assert!(region.as_slice().iter().all(|&byte| byte == 5));
        drop(region);
        // SAFETY: [long], [unchanged] nobody else has the file.
        let view = unsafe { FileView::map(&file, 0..len)? };
        let report = PageRead::new(&view).placement(placement).min_chunk(1).run(&pool)?;
        assert_eq!(report.nodes.iter().map(|row| row.size as u64).sum::<u64>(), len);
        assert_eq!(report.nodes.len(), 3);
    }
    Ok(())
}

#[test]
fn touched_pages_are_collapsed_by_all_threads_and_keep_what_they_hold() -> Result {
    let pool = Pool::new()?;
    let mut region = region(16 << 20, PageSize::Transparent);
    PageInit::new(&mut region).fill(&pool, 0x1234_5678_u32)?;
    match PageCollapse::new(&mut region).run(&pool) {
        Ok(report) => {
            assert_eq!(report.bytes, 16 << 20);
            assert!(report.huge <= 16 << 20 && report.huge % region.page_bytes() == 0);
            assert!(report.threads >= 1);
        }
        Err(JobError::Collapse(error)) => assert!(
            matches!(
                error,
                MemoryError::UnsupportedCall { .. } | MemoryError::NotTransparent { .. }
            ),
            "{error}"
        ),
        Err(error) => return Err(error.into()),
    }
    assert!(region.as_slice_of::<u32>().iter().all(|&number| number == 0x1234_5678));
    let mut base = base(4096);
    let refused = PageCollapse::new(&mut base).max_threads(NonZeroUsize::MIN).run(&pool);
    assert!(matches!(refused, Err(JobError::Collapse(MemoryError::NotTransparent { .. }))));
    Ok(())
}

#[test]
fn a_node_has_as_many_threads_as_make_a_difference_unless_told_otherwise() -> Result {
    let pool = synthetic_pool("node:1 core:40 pu:1");
    let sites = Sites::of(&pool);
    let helpers = NonZeroUsize::new(pool.helpers().len()).expect("a pool has helpers");
    let mut region = base(1);
    let init = PageInit::new(&mut region);
    let most = scaling::threads_per_node(helpers).get();
    assert_eq!(init.limited(&sites).most_per_node(), most);
    let told = init.max_threads(helpers);
    assert_eq!(told.limited(&sites).most_per_node(), usize::MAX);
    let told = PageInit::new(&mut region).max_threads_per_node(helpers);
    assert_eq!(told.limited(&sites).most_per_node(), helpers.get());
    Ok(())
}
