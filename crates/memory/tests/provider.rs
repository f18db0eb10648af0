//! Pages that are provided with their contents hold them, wherever pages come from.

mod common;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use common::{allowed_nodes, base_page, skipped, transparent, unless_refused};
use firsttouch_memory::{
    HugePageSize, MemoryError, PageSize, Part, Parts, Policy, Provider, Region,
};

/// A provider of a region, or a word on why there is none.
fn provider<'a>(what: &str, parts: Parts<'a>) -> Option<Provider<'a>> {
    // SAFETY: [missing] tests touch what they provided, or after a withdrawal, alone.
    let provider = unsafe { parts.provider() };
    if provider.is_none() {
        skipped(what, &"the kernel, or a filter, has no userfaultfd");
    }
    provider
}

/// A part of a region; tests have one at a time of the same bytes.
fn part<'a>(parts: Parts<'a>, range: Range<usize>) -> Part<'a> {
    // SAFETY: [disjoint] as said above.
    unsafe { parts.part(range) }
}

/// Bytes of which no two pages hold the same.
fn contents(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251 + index / 4096) as u8).collect()
}

/// Regions of each kind that can be provided here.
fn regions(pages: usize) -> Vec<Region> {
    let base = Region::builder(pages * base_page()).build().expect("memory for a test");
    let size = HugePageSize::MIB_2;
    let huge = Region::builder(pages * size.bytes()).page_size(PageSize::Huge(size)).build();
    let huge = huge.inspect_err(|error| skipped("hugetlb pages provided", error));
    [Some(base), huge.ok()].into_iter().flatten().collect()
}

#[test]
fn pages_hold_what_they_are_provided_with_and_are_there() -> Result<(), MemoryError> {
    for mut region in regions(6) {
        let (len, page) = (region.len(), region.page_bytes());
        let parts = region.parts();
        let Some(provider) = provider("pages with contents", parts) else { return Ok(()) };
        let contents = contents(len);
        provider.copy(&mut part(parts, 0..page), &contents[..page])?;
        provider.zeros(&mut part(parts, page..3 * page))?;
        provider.copy(&mut part(parts, 3 * page..len), &contents[3 * page..])?;
        drop(provider);
        let there = unless_refused("where provided pages lie", parts.residency(0..len));
        assert!(there.is_none_or(|pages| pages.not_present() == 0));
        let bytes = region.as_slice();
        assert!(bytes[..page] == contents[..page], "the first page");
        assert!(bytes[page..3 * page].iter().all(|&byte| byte == 0), "zeros");
        assert!(bytes[3 * page..] == contents[3 * page..], "the last pages");
    }
    Ok(())
}

#[test]
fn the_last_page_may_be_the_regions_in_part() -> Result<(), MemoryError> {
    for len in [1, 100, 4096, 3 * 4096 + 17, (1 << 20) - 1] {
        let mut region = Region::builder(len).build()?;
        let parts = region.parts();
        let Some(provider) = provider("part of a page", parts) else { return Ok(()) };
        let contents = contents(len);
        provider.copy(&mut part(parts, 0..len), &contents)?;
        drop(provider);
        assert!(region.as_slice() == contents, "{len}");
    }
    Ok(())
}

#[test]
fn pages_that_are_there_are_given_back_first() -> Result<(), MemoryError> {
    for mut region in regions(4) {
        let (len, page) = (region.len(), region.page_bytes());
        // Of base pages this maps the kernel's page of zeros.
        assert_eq!(region.as_slice()[page], 0);
        region.as_mut_slice()[2 * page..3 * page].fill(9);
        let parts = region.parts();
        let Some(provider) = provider("pages that are there", parts) else { return Ok(()) };
        let contents = contents(len);
        provider.copy(&mut part(parts, 0..len), &contents)?;
        provider.zeros(&mut part(parts, 2 * page..len))?;
        drop(provider);
        assert!(region.as_slice()[..2 * page] == contents[..2 * page]);
        assert!(region.as_slice()[2 * page..].iter().all(|&byte| byte == 0));
    }
    Ok(())
}

#[test]
fn what_was_withdrawn_is_the_kernels_to_clear() -> Result<(), MemoryError> {
    for mut region in regions(4) {
        let (len, page) = (region.len(), region.page_bytes());
        let parts = region.parts();
        let Some(provider) = provider("withdrawing", parts) else { return Ok(()) };
        provider.copy(&mut part(parts, 0..page), &vec![1; page])?;
        provider.withdraw()?;
        let mut left = part(parts, page..2 * page);
        left.populate()?;
        left.as_mut_slice()[5] = 5;
        let error = provider.zeros(&mut left).expect_err("it was withdrawn");
        assert!(matches!(error, MemoryError::Call { .. }), "{error}");
        provider.withdraw()?;
        drop(provider);
        for (index, expected) in [1, 0, 0, 0].into_iter().enumerate() {
            assert_eq!(region.as_slice()[index * page], expected);
        }
        assert_eq!(region.as_slice()[page + 5], 5, "what is there stays");
        // Nothing is left of it: pages that go are the kernel's again.
        region.discard(0..len)?;
        assert!(region.as_slice().iter().all(|&byte| byte == 0));
    }
    Ok(())
}

#[test]
fn pages_that_are_left_out_read_as_zero_once_the_provider_is_gone() -> Result<(), MemoryError> {
    for mut region in regions(3) {
        let page = region.page_bytes();
        let parts = region.parts();
        let Some(provider) = provider("pages left out", parts) else { return Ok(()) };
        provider.copy(&mut part(parts, page..2 * page), &vec![7; page])?;
        drop(provider);
        for (index, expected) in [0, 7, 0].into_iter().enumerate() {
            let bytes = &region.as_slice()[index * page..(index + 1) * page];
            assert!(bytes.iter().all(|&byte| byte == expected), "page {index}");
        }
    }
    Ok(())
}

#[test]
fn a_part_of_several_policies_is_an_error_and_parts_of_one_are_provided() -> Result<(), MemoryError>
{
    let mut region = Region::builder(4 * base_page()).build()?;
    let (len, half) = (region.len(), 2 * base_page());
    let bound = region.set_policy(half..len, &Policy::Bind(allowed_nodes()));
    if unless_refused("parts of several policies", bound).is_none() {
        return Ok(());
    }
    let parts = region.parts();
    let Some(provider) = provider("parts of several policies", parts) else { return Ok(()) };
    let contents = contents(len);
    let across = provider.copy(&mut part(parts, 0..len), &contents);
    let error = across.expect_err("the kernel copies to one mapping at a time");
    assert!(matches!(error, MemoryError::Call { .. }), "{error}");
    for range in [0..half, half..len] {
        provider.copy(&mut part(parts, range.clone()), &contents[range])?;
    }
    drop(provider);
    assert!(region.as_slice() == contents);
    Ok(())
}

#[test]
fn several_threads_provide_pages_of_one_region() -> Result<(), MemoryError> {
    let mut region = Region::builder(8 << 20).build()?;
    let len = region.len();
    let parts = region.parts();
    let Some(provider) = provider("several threads", parts) else { return Ok(()) };
    let contents = contents(len);
    thread::scope(|scope| {
        for half in [0..len / 2, len / 2..len] {
            let (provider, contents) = (&provider, &contents);
            scope.spawn(move || {
                for start in half.clone().step_by(64 << 10) {
                    let piece = start..half.end.min(start + (64 << 10));
                    let provided = provider.copy(&mut part(parts, piece.clone()), &contents[piece]);
                    provided.expect("the pages are missing");
                }
            });
        }
    });
    drop(provider);
    assert!(region.as_slice() == contents);
    Ok(())
}

#[test]
fn a_part_that_is_no_whole_pages_is_refused() -> Result<(), MemoryError> {
    let mut region = Region::builder(4 * base_page()).build()?;
    let parts = region.parts();
    let Some(provider) = provider("misaligned parts", parts) else { return Ok(()) };
    let error = provider.zeros(&mut part(parts, 1..base_page())).expect_err("it starts in a page");
    assert!(matches!(error, MemoryError::Misaligned { .. }), "{error}");
    Ok(())
}

#[test]
fn a_part_of_another_region_is_a_mistake() {
    let mut region = Region::builder(base_page()).build().expect("memory for a test");
    let mut other = Region::builder(base_page()).build().expect("memory for a test");
    let Some(provider) = provider("parts of other regions", region.parts()) else { return };
    let mut part = part(other.parts(), 0..base_page());
    let mistake = catch_unwind(AssertUnwindSafe(|| provider.zeros(&mut part)));
    let payload = mistake.expect_err("it is not its region's");
    let message = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()));
    assert!(message.is_some_and(|text| text.contains("pages of its own region")));
}

#[test]
fn transparent_and_shared_pages_are_not_provided() -> Result<(), MemoryError> {
    let shared = Region::builder(1 << 20).shared().build()?;
    for mut region in [Some(shared), transparent("none provided", 4 << 20)].into_iter().flatten() {
        // SAFETY: [missing] there is no provider.
        assert!(unsafe { region.parts().provider() }.is_none());
    }
    Ok(())
}
