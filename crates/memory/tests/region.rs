//! Regions: what is granted, and what the bytes read as.

mod common;

use common::{base_page, skipped, transparent};
use firsttouch_memory::{HugePageSize, MemoryError, PageSize, Part, Parts, Region};

#[test]
fn handles_cross_threads_as_their_bytes_would() {
    fn send_and_sync<T: Send + Sync>() {}
    fn copy<T: Copy>() {}
    send_and_sync::<Region>();
    send_and_sync::<Parts<'_>>();
    send_and_sync::<Part<'_>>();
    copy::<Parts<'_>>();
}

#[test]
fn a_region_is_zeroed_aligned_and_as_long_as_asked() -> Result<(), MemoryError> {
    for len in [1, 4095, 4096, 4097, (1 << 20) + 1] {
        let region = Region::builder(len).build()?;
        assert_eq!(region.len(), len);
        assert_eq!(region.as_slice().len(), len);
        assert_eq!(region.as_ptr().addr() % region.page_bytes(), 0);
        assert_eq!(region.page_size(), PageSize::Base);
        assert!(region.as_slice().iter().all(|&byte| byte == 0));
        assert!(!region.is_empty());
    }
    Ok(())
}

#[test]
fn transparent_regions_start_on_a_huge_page() {
    for len in [1, 3 << 20, 4 << 20] {
        let Some(region) = transparent("alignment of transparent regions", len) else { return };
        assert_eq!(region.len(), len);
        assert!(region.page_bytes() > base_page());
        assert_eq!(region.as_ptr().addr() % region.page_bytes(), 0);
        assert!(region.as_slice().iter().all(|&byte| byte == 0));
    }
}

#[test]
fn lengths_that_cannot_be_mapped_are_errors() {
    let refused = |len, size| {
        let built = Region::builder(len).page_size(size).or_page_size(PageSize::Base).build();
        built.expect_err("no such region can be mapped")
    };
    for size in [PageSize::Base, PageSize::Transparent, PageSize::Huge(HugePageSize::MIB_2)] {
        assert!(matches!(refused(0, size), MemoryError::ZeroLength));
        for len in [usize::MAX, usize::MAX - 1, isize::MAX as usize] {
            assert!(matches!(refused(len, size), MemoryError::TooLong { len: l } if l == len));
        }
    }
    // Short enough to be counted, too long for any machine's addresses, but for 32-bit ones.
    if cfg!(target_pointer_width = "64") {
        let error = refused(isize::MAX as usize & !0xff_ffff, PageSize::Base);
        assert!(matches!(error, MemoryError::Call { call: "mmap", .. }), "{error}");
    }
}

#[test]
fn a_page_size_that_nobody_has_is_an_error_that_lists_those_there_are() -> Result<(), MemoryError> {
    let odd = PageSize::Huge(HugePageSize::new(128)?);
    let error = Region::builder(1).page_size(odd).build().expect_err("no kernel has such pages");
    assert!(error.is_page_size_unavailable());
    let MemoryError::NoHugePagesOfSize { size, available } = &error else { panic!("{error}") };
    assert_eq!(size.bytes(), 128);
    for size in available {
        assert!(error.to_string().contains(&size.to_string()), "{error}");
    }
    Ok(())
}

#[test]
fn fallbacks_are_tried_in_order_and_can_be_read_back() -> Result<(), MemoryError> {
    let odd = |bytes| HugePageSize::new(bytes).map(PageSize::Huge);
    let (first, second) = (odd(128)?, odd(256)?);
    let region = Region::builder(5000)
        .page_size(first)
        .or_page_size(second)
        .or_page_size(PageSize::Base)
        .or_page_size(PageSize::Transparent)
        .build()?;
    assert_eq!(region.requested_page_size(), first);
    assert_eq!(region.page_size(), PageSize::Base);
    let error = Region::builder(1).page_size(first).or_page_size(second).build();
    let error = error.expect_err("neither can be had");
    assert!(
        matches!(error, MemoryError::NoHugePagesOfSize { size, .. } if size.bytes() == 128),
        "the error is about the size asked for: {error}"
    );
    Ok(())
}

#[test]
fn elements_are_as_many_as_fit() -> Result<(), MemoryError> {
    let mut region = Region::builder(4096 + 7).build()?;
    assert_eq!(region.as_slice_of::<u64>().len(), 512);
    assert_eq!(region.as_slice_of::<[u8; 4096]>().len(), 1);
    assert_eq!(Region::builder(7).build()?.as_slice_of::<u64>().len(), 0);
    region.as_mut_slice_of::<u32>()[1] = u32::from_ne_bytes([1, 2, 3, 4]);
    assert_eq!(region.as_slice()[3..9], [0, 1, 2, 3, 4, 0]);
    Ok(())
}

#[test]
fn parts_write_where_they_lie() -> Result<(), MemoryError> {
    let mut region = Region::builder(10_000).build()?;
    let parts = region.parts();
    assert_eq!((parts.len(), parts.page_bytes()), (10_000, base_page()));
    std::thread::scope(|scope| {
        for (value, start) in (1..=10).zip((0..10_000).step_by(1000)) {
            scope.spawn(move || {
                // SAFETY: [disjoint] each thread has a thousand bytes of its own.
                let mut part = unsafe { parts.part(start..start + 1000) };
                assert_eq!(part.range(), start..start + 1000);
                part.populate().expect("a few pages can be had");
                assert_eq!(part.as_mut_slice_of::<u64>().len(), 125);
                part.as_mut_slice().fill(value);
            });
        }
    });
    for (value, bytes) in (1..=10).zip(region.as_slice().chunks(1000)) {
        assert!(bytes.iter().all(|&byte| byte == value));
    }
    Ok(())
}

#[test]
#[should_panic(expected = "not a multiple of 4")]
fn elements_of_a_part_must_be_aligned() {
    let mut region = Region::builder(4096).build().expect("one page can be mapped");
    // SAFETY: [disjoint] it is the only part.
    let mut part = unsafe { region.parts().part(2..4096) };
    let _ = part.as_mut_slice_of::<u32>();
}

#[test]
#[should_panic(expected = "not within the region's 4096 bytes")]
fn a_part_must_lie_in_its_region() {
    let mut region = Region::builder(4096).build().expect("one page can be mapped");
    // SAFETY: [disjoint] it is the only part.
    let _ = unsafe { region.parts().part(4000..4097) };
}

#[test]
#[should_panic(expected = "starts before it ends")]
#[expect(clippy::reversed_empty_ranges, reason = "the range is wrong on purpose")]
fn a_range_must_not_run_backwards() {
    let mut region = Region::builder(4096).build().expect("one page can be mapped");
    let _ = region.populate(10..5);
}

#[test]
fn a_region_is_fresh_until_it_is_touched() -> Result<(), MemoryError> {
    let build = || Region::builder(4 * base_page()).build();
    let mut region = build()?;
    assert!(region.is_fresh());
    let _ = (region.as_slice(), region.as_ptr(), region.policy_at(0), region.residency(0..1));
    assert!(region.is_fresh(), "reading places no base page");
    let _ = region.as_mut_slice();
    assert!(!region.is_fresh());

    let mut region = build()?;
    region.populate(0..1)?;
    assert!(!region.is_fresh());
    region.discard(0..base_page())?;
    assert!(!region.is_fresh(), "the rest may have been touched");
    region.discard(0..region.len())?;
    assert!(region.is_fresh());
    let _ = region.parts();
    assert!(!region.is_fresh());

    if let Some(region) = transparent("freshness of transparent regions", 1) {
        assert!(region.is_fresh());
        let _ = region.as_slice();
        assert!(!region.is_fresh(), "reading can spoil the place of a huge page");
    }
    Ok(())
}

#[test]
fn populate_changes_no_byte() -> Result<(), MemoryError> {
    let mut region = Region::builder(10 * base_page() + 3).build()?;
    for (byte, value) in region.as_mut_slice().iter_mut().zip((0..251).cycle()) {
        *byte = value;
    }
    let before = region.as_slice().to_vec();
    for range in [0..region.len(), 1..2, 5..5, 0..0, base_page() - 1..base_page() + 1] {
        region.populate(range)?;
    }
    assert_eq!(region.as_slice(), before);
    Ok(())
}

#[test]
fn discarded_bytes_read_as_zero_and_the_others_stay() -> Result<(), MemoryError> {
    let page = base_page();
    let mut region = Region::builder(4 * page - 5).build()?;
    region.as_mut_slice().fill(7);
    region.discard(page..2 * page)?;
    region.discard(3 * page..region.len())?;
    region.discard(page..page)?;
    for (index, bytes) in region.as_slice().chunks(page).enumerate() {
        let expected = if index % 2 == 0 { 7 } else { 0 };
        assert!(bytes.iter().all(|&byte| byte == expected), "page {index}");
    }
    for range in [1..page, 0..page - 1] {
        let error = region.discard(range.clone()).expect_err("it does not keep to pages");
        assert!(
            matches!(&error, MemoryError::Misaligned { range: r, .. } if *r == range),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn locked_pages_are_discarded_by_writing_zeros() -> Result<(), MemoryError> {
    let mut region = Region::builder(base_page()).build()?;
    region.as_mut_slice().fill(7);
    // SAFETY: the page is the region's, and locking changes nothing in it.
    let locked = unsafe { rustix::mm::mlock(region.as_ptr().cast_mut().cast(), base_page()) };
    if let Err(error) = locked {
        skipped("discarding locked pages", &error);
        return Ok(());
    }
    region.discard(0..region.len())?;
    assert!(region.as_slice().iter().all(|&byte| byte == 0));
    assert!(!region.is_fresh(), "the page still has its place");
    Ok(())
}

#[test]
fn a_region_without_reservation_works_like_any_other() -> Result<(), MemoryError> {
    let mut region = Region::builder(1 << 20).no_reserve().build()?;
    region.populate(0..region.len())?;
    assert!(region.as_slice().iter().all(|&byte| byte == 0));
    Ok(())
}
