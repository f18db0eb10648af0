//! Base pages that are put into transparent huge pages.

mod common;

use common::{base_page, skipped, transparent, unless_refused};
use firsttouch_memory::{MemoryError, OptionalCall, PageSize, Region, simulate_missing};

/// Returns a region of transparent huge pages whose first `touched` bytes are written in base pages.
fn of_base_pages(len: usize, touched: usize) -> Option<Region> {
    let mut region = transparent("collapsing", len)?;
    let whole = len.next_multiple_of(region.page_bytes());
    let start = region.as_mut_slice().as_mut_ptr();
    let advise = |advice| {
        // SAFETY: the range is the region's, and its bytes stay as they are.
        let answer = unsafe { libc::madvise(start.cast(), whole, advice) };
        assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    };
    advise(libc::MADV_NOHUGEPAGE);
    for (index, byte) in region.as_mut_slice()[..touched].iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    advise(libc::MADV_HUGEPAGE);
    Some(region)
}

#[test]
fn touched_pages_are_collapsed_and_keep_what_they_hold() -> Result<(), MemoryError> {
    // The switch is the process's, so this is one test.
    let len = 9 << 20;
    let Some(mut region) = of_base_pages(len, len) else { return Ok(()) };
    let huge = region.page_bytes();
    simulate_missing(OptionalCall::Collapse, true);
    let missing = region.collapse(0..huge);
    simulate_missing(OptionalCall::Collapse, false);
    assert!(matches!(missing, Err(MemoryError::UnsupportedCall { since: "6.1", .. })));
    let collapsed = match region.collapse(huge..len) {
        Err(error @ MemoryError::UnsupportedCall { .. }) => {
            skipped("collapsing", &error);
            return Ok(());
        }
        came => came?,
    };
    assert!(collapsed % huge == 0 && collapsed <= len.next_multiple_of(huge) - huge);
    if collapsed == 0 {
        skipped("collapsing", &"no huge page was free");
    }
    for (index, &byte) in region.as_slice().iter().enumerate() {
        assert_eq!(byte, (index % 251) as u8, "byte {index}");
    }
    if let Some(pages) = unless_refused("collapsed pages", region.residency(0..len)) {
        let mapped = pages.page_sizes().find(|&(page, _)| page == huge).map_or(0, |(_, of)| of);
        // The last huge page reaches past the region's end, and residency does not.
        assert!(mapped.abs_diff(collapsed as u64) < huge as u64, "{mapped} of {collapsed}");
    }
    Ok(())
}

#[test]
fn huge_pages_with_nothing_touched_are_not_counted() -> Result<(), MemoryError> {
    let Some(mut region) = of_base_pages(4 << 20, base_page()) else { return Ok(()) };
    let huge = region.page_bytes();
    match region.collapse(0..region.len()) {
        Err(error @ MemoryError::UnsupportedCall { .. }) => skipped("collapsing", &error),
        came => assert!(came? <= huge, "only the first was touched"),
    }
    Ok(())
}

#[test]
fn only_whole_huge_pages_of_regions_that_may_have_them_are_collapsed() -> Result<(), MemoryError> {
    let mut base = Region::builder(4 << 20).build()?;
    let refused = base.collapse(0..4 << 20);
    assert!(matches!(refused, Err(MemoryError::NotTransparent { page_size: PageSize::Base })));
    let Some(mut region) = transparent("collapsing", 4 << 20) else { return Ok(()) };
    let refused = region.collapse(0..base_page());
    assert!(matches!(refused, Err(MemoryError::Misaligned { call: "collapse", .. })));
    assert_eq!(region.collapse(0..0)?, 0);
    Ok(())
}
