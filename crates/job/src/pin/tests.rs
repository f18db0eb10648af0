//! Pinning on the live machine, whatever it allows.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;

use firsttouch_memory::{MemoryError, PageSize, Region};
use firsttouch_pool::Pool;

use crate::{JobError, PagePin, PinnedPages, Placement};

type Result = std::result::Result<(), Box<dyn Error>>;

fn region(len: usize, page_size: PageSize) -> Region {
    let builder = Region::builder(len).page_size(page_size).or_page_size(PageSize::Base);
    builder.build().expect("memory for a test")
}

/// The bytes that are locked of the mappings that a region meets, and whether the kernel marks any of these as locked.
fn locked(region: &Region) -> (usize, bool) {
    let start = region.as_ptr() as usize;
    let end = start + region.len().next_multiple_of(region.page_bytes());
    let text = fs::read_to_string("/proc/self/smaps").expect("proc is mounted");
    let (mut meets, mut bytes, mut marked) = (false, 0, false);
    for line in text.lines() {
        let hex = |text| usize::from_str_radix(text, 16).ok();
        let range = line.split(' ').next().and_then(|word| word.split_once('-'));
        if let Some((Some(from), Some(to))) = range.map(|(from, to)| (hex(from), hex(to))) {
            meets = from < end && start < to;
        } else if let Some(rest) = line.strip_prefix("Locked:").filter(|_| meets) {
            bytes += rest.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0) << 10;
        } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| meets) {
            marked |= flags.split_whitespace().any(|flag| flag == "lo");
        }
    }
    (bytes, marked)
}

/// The pages, or says why this process may not lock them.
fn unless_limited<R: std::borrow::BorrowMut<Region>>(
    result: std::result::Result<PinnedPages<R>, JobError>,
) -> Option<PinnedPages<R>> {
    match result {
        Ok(pinned) => Some(pinned),
        Err(JobError::Lock(error @ MemoryError::LockLimit { .. })) => {
            // Past the test harness; a lost message is no reason to fail.
            let _ = writeln!(std::io::stderr(), "not checked: pinning: {error}");
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn every_page_is_there_and_locked_until_the_guard_drops() -> Result {
    let pool = Pool::new()?;
    for kind in [PageSize::Base, PageSize::Transparent] {
        let len = (6 << 20) + 100;
        let mut region = region(len, kind);
        let Some(pinned) = unless_limited(PagePin::new(&mut region).run(&pool)) else {
            return Ok(());
        };
        let report = pinned.report();
        assert_eq!((report.bytes, report.page_size), (len, pinned.page_size()));
        assert_eq!(report.nodes.iter().map(|row| row.size).sum::<usize>(), len);
        assert!(report.policy.is_some() && report.threads >= 1);
        if let Some(pages) = &report.residency {
            assert_eq!((pages.not_present(), pages.present() as usize), (0, len.div_ceil(4096)));
        }
        let (bytes, marked) = locked(&pinned);
        assert!(marked && bytes >= report.locked && report.locked >= len, "{bytes}");
        drop(pinned);
        // A neighbouring mapping of another test can be part of the same.
        region.discard(0..len)?;
        assert!(region.is_fresh(), "locked pages cannot be discarded");
    }
    Ok(())
}

#[test]
fn a_region_in_use_keeps_what_it_holds_and_gets_the_pages_that_it_lacks() -> Result {
    let pool = Pool::new()?;
    let mut region = region(5 << 20, PageSize::Base);
    region.as_mut_slice()[..1 << 20].fill(7);
    let pin = PagePin::new(&mut region).min_chunk(1 << 16);
    let Some(mut pinned) = unless_limited(pin.run(&pool)) else { return Ok(()) };
    assert_eq!(pinned.report().policy, None);
    if let Some(pages) = &pinned.report().residency {
        assert_eq!(pages.not_present(), 0);
    }
    pinned.as_mut_slice()[1 << 20] = 8;
    pinned.unlock()?;
    assert!(region.as_slice()[..1 << 20].iter().all(|&byte| byte == 7));
    assert_eq!(region.as_slice()[1 << 20..][..2], [8, 0]);
    Ok(())
}

#[test]
fn what_others_wrote_to_shared_memory_is_pinned_with_it() -> Result {
    let pool = Pool::new()?;
    let mut region = Region::builder(5 << 20).shared().build()?;
    // SAFETY: [exclusive] no view is alive while it is written.
    let Some(file) = (unsafe { region.file() }) else { return Ok(()) };
    File::from(file.try_clone_to_owned()?).write_all_at(&[7; 3], 4 << 20)?;
    let Some(pinned) = unless_limited(PagePin::new(&mut region).run(&pool)) else {
        return Ok(());
    };
    assert_eq!(pinned.report().policy, None);
    assert_eq!(pinned.as_slice()[4 << 20..][..4], [7, 7, 7, 0]);
    Ok(())
}

#[test]
fn an_owned_region_comes_back_unlocked() -> Result {
    let pool = Pool::new()?;
    let pin = PagePin::new(region(1 << 20, PageSize::Base))
        .read_back(false)
        .max_threads(NonZeroUsize::MIN)
        .max_threads_per_node(NonZeroUsize::MIN);
    let Some(pinned) = unless_limited(pin.run(&pool)) else { return Ok(()) };
    assert_eq!((pinned.report().threads, &pinned.report().residency), (1, &None));
    let mut region = pinned.unlock()?;
    region.discard(0..1 << 20)?;
    assert!(region.is_fresh());
    Ok(())
}

#[test]
fn a_placement_that_cannot_be_unlocks_what_was_locked() -> Result {
    let pool = Pool::new()?;
    let mut region = region(4 << 20, PageSize::Base);
    let pin = PagePin::new(&mut region).placement(Placement::Interleaved { block: 1 });
    let error = pin.run(&pool).expect_err("no multiple of the page");
    assert!(matches!(
        error,
        JobError::Block { .. } | JobError::Lock(MemoryError::LockLimit { .. })
    ));
    assert!(region.is_fresh());
    region.as_mut_slice()[0] = 1;
    region.discard(0..4 << 20)?;
    assert!(region.is_fresh(), "locked pages cannot be discarded");
    Ok(())
}

#[test]
fn pages_that_cannot_be_had_unlock_what_was_locked() -> Result {
    let pool = Pool::new()?;
    for fresh in [true, false] {
        let len = 8 << 20;
        let mut region = region(len, PageSize::Base);
        if !fresh {
            region.as_mut_slice()[0] = 1;
        }
        let page_bytes = region.page_bytes();
        let hole = region.as_ptr().wrapping_add(len / 2).cast_mut();
        // A page of a file that ends before it: it cannot be had.
        let empty = tempfile::tempfile()?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_FIXED;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&empty);
        // SAFETY: the page is the region's, which is unmapped with whatever is
        // mapped there; and nobody looks at its bytes.
        let mapped = unsafe { libc::mmap(hole.cast(), page_bytes, access, kind, fd, 0) };
        assert_eq!(mapped, hole.cast());
        let error = PagePin::new(&mut region).run(&pool).expect_err("there is a hole");
        match error {
            JobError::Init { .. } => assert!(fresh),
            JobError::Populate { .. } => assert!(!fresh),
            JobError::Lock(MemoryError::LockLimit { .. }) => return Ok(()),
            error => return Err(error.into()),
        }
        // SAFETY: [disjoint] it is the only part.
        let given_back = unsafe { region.parts().part(0..len / 2) }.release();
        assert!(given_back.is_ok(), "locked pages cannot be given back: {given_back:?}");
    }
    Ok(())
}
