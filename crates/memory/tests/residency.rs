//! Where pages lie, read back from the kernel.

mod common;

use std::ops::Range;

use common::{allowed_nodes, base_page, skipped, transparent, unless_refused};
use firsttouch_memory::{MemoryError, PageSize, Policy, Region, Residency};
use proptest::prelude::*;

fn residency(region: &Region, range: Range<usize>) -> Option<Residency> {
    unless_refused("where pages lie", region.residency(range))
}

/// Counts of present and not present pages.
fn counts(residency: &Residency) -> (u64, u64) {
    (residency.present(), residency.not_present())
}

#[test]
fn populated_pages_are_present_and_others_are_not() -> Result<(), MemoryError> {
    let page = base_page();
    let mut region = Region::builder(8 * page - 1).build()?;
    let Some(untouched) = residency(&region, 0..region.len()) else { return Ok(()) };
    assert_eq!(counts(&untouched), (0, 8));
    assert_eq!(untouched.nodes().count() + untouched.page_sizes().count(), 0);
    let _ = region.as_slice().iter().copied().fold(0, u8::wrapping_add);
    assert_eq!(region.residency(0..region.len())?, untouched, "the page of zeros has no place");

    region.populate(page - 1..3 * page + 1)?;
    let pages = region.residency(0..region.len())?;
    assert_eq!(counts(&pages), (4, 4));
    assert_eq!(pages.page_bytes(), page);
    assert_eq!(pages.page_sizes().collect::<Vec<_>>(), [(page, 4 * page as u64)]);
    assert!(pages.nodes().all(|(node, pages)| allowed_nodes().contains(node) && pages > 0));
    assert_eq!(pages.nodes().map(|(node, _)| pages.pages_on(node)).sum::<u64>(), 4);
    assert_eq!(region.parts().residency(0..8 * page - 1)?, pages);

    region.discard(0..2 * page)?;
    assert_eq!(counts(&region.residency(0..region.len())?), (2, 6));
    Ok(())
}

#[test]
fn a_part_of_a_page_counts_as_the_page() -> Result<(), MemoryError> {
    let page = base_page();
    let mut region = Region::builder(4 * page).build()?;
    region.populate(page..2 * page)?;
    let Some(inside) = residency(&region, page + 1..page + 2) else { return Ok(()) };
    assert_eq!(counts(&inside), (1, 0));
    assert_eq!(counts(&region.residency(page - 1..page + 1)?), (1, 1));
    assert_eq!(region.residency(page..page)?, Residency::default());
    assert_eq!(region.residency(4 * page..4 * page)?, Residency::default());
    Ok(())
}

#[test]
fn bound_pages_lie_where_they_are_bound() -> Result<(), MemoryError> {
    let page = base_page();
    for node in allowed_nodes().iter() {
        let mut region = Region::builder(4 * page).build()?;
        let bound = region.set_policy(page..3 * page, &Policy::Bind([node].into_iter().collect()));
        if unless_refused("bound pages", bound).is_none() {
            return Ok(());
        }
        region.populate(0..region.len())?;
        let Some(pages) = residency(&region, page..3 * page) else { return Ok(()) };
        assert_eq!(pages.nodes().collect::<Vec<_>>(), [(node, 2)]);
    }
    Ok(())
}

#[test]
fn halves_merge_to_the_whole() -> Result<(), MemoryError> {
    let page = base_page();
    let mut region = Region::builder(9 * page).build()?;
    region.populate(3 * page..7 * page)?;
    let Some(mut total) = residency(&region, 0..5 * page) else { return Ok(()) };
    total.merge(&region.residency(5 * page..9 * page)?);
    assert_eq!(total, region.residency(0..9 * page)?);
    Ok(())
}

#[test]
fn huge_pages_count_as_the_base_pages_that_they_stand_for() -> Result<(), MemoryError> {
    let what = "residency of transparent huge pages";
    let Some(mut region) = transparent(what, 8 << 20) else { return Ok(()) };
    let (base, huge, len) = (base_page(), region.page_bytes(), region.len());
    // One huge page at a time, the second left out.
    for start in (0..len).step_by(huge).filter(|&start| start != huge) {
        region.populate(start..len.min(start + huge))?;
    }
    let Some(pages) = residency(&region, 0..len) else { return Ok(()) };
    let left_out = len.saturating_sub(huge).min(huge);
    let expected = (((len - left_out) / base) as u64, (left_out / base) as u64);
    assert_eq!(counts(&pages), expected);
    let by_size: u64 = pages.page_sizes().map(|(_, bytes)| bytes).sum();
    assert_eq!(by_size, pages.present() * base as u64);
    assert!(pages.page_sizes().all(|(size, _)| size == base || size == huge));

    // Whatever maps the first page, a part of it counts as that part.
    let part = region.residency(base..3 * base)?;
    assert_eq!(counts(&part), (2, 0));
    if pages.page_sizes().any(|(size, bytes)| size == huge && bytes == (len - left_out) as u64) {
        assert_eq!(part.page_sizes().collect::<Vec<_>>(), [(huge, 2 * base as u64)]);
    } else {
        skipped("parts of huge pages", &"the kernel had not enough huge pages");
    }
    Ok(())
}

#[test]
fn base_regions_have_base_pages_only() -> Result<(), MemoryError> {
    let mut region = Region::builder(16 << 20).page_size(PageSize::Base).build()?;
    let len = region.len();
    region.populate(0..len)?;
    let Some(pages) = residency(&region, 0..len) else { return Ok(()) };
    assert_eq!(pages.page_sizes().collect::<Vec<_>>(), [(base_page(), len as u64)]);
    Ok(())
}

#[test]
fn a_sparse_region_is_counted_to_the_last_page() -> Result<(), MemoryError> {
    let len: usize = if cfg!(target_pointer_width = "64") { 8 << 30 } else { 256 << 20 };
    let mut region = match Region::builder(len).no_reserve().build() {
        Ok(region) => region,
        Err(error) => {
            skipped("sparse regions", &error);
            return Ok(());
        }
    };
    for offset in [0, len / 2 + 12_345, len - 1] {
        region.populate(offset..offset + 1)?;
    }
    let Some(pages) = residency(&region, 0..len) else { return Ok(()) };
    assert_eq!(counts(&pages), (3, (len / base_page()) as u64 - 3));
    Ok(())
}

#[test]
fn scattered_pages_are_counted_once_each() -> Result<(), MemoryError> {
    let page = base_page();
    // Lone pages fill whatever buffers the kernel or the library pass them in.
    for lone_pages in [1024, 2048, 2500] {
        let mut region = Region::builder(2 * lone_pages * page).build()?;
        let len = region.len();
        for offset in (0..len).step_by(2 * page) {
            region.as_mut_slice()[offset] = 1;
        }
        let Some(pages) = residency(&region, 0..len) else { return Ok(()) };
        assert_eq!(counts(&pages), (lone_pages as u64, lone_pages as u64));
        let pages = region.residency(page..len - page)?;
        assert_eq!(counts(&pages), (lone_pages as u64 - 1, lone_pages as u64 - 1));
    }
    Ok(())
}

/// A step of a history of a region: populate, write or discard, over a range of bytes.
#[derive(Clone, Debug)]
enum Step {
    Populate(Range<usize>),
    Write(usize),
    Discard(Range<usize>),
}

/// Pages of the region that histories happen to.
const PAGES: usize = 40;

fn bytes() -> impl Strategy<Value = Range<usize>> {
    let len = PAGES * base_page();
    (0..=len, 0..=len).prop_map(|(a, b)| a.min(b)..a.max(b))
}

fn pages_of(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / base_page()..range.end.div_ceil(base_page())
}

fn step() -> impl Strategy<Value = Step> {
    let whole =
        (0..=PAGES, 0..=PAGES).prop_map(|(a, b)| a.min(b) * base_page()..a.max(b) * base_page());
    prop_oneof![
        bytes().prop_map(Step::Populate),
        (0..PAGES * base_page()).prop_map(Step::Write),
        whole.prop_map(Step::Discard),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn residency_agrees_with_a_model_of_the_pages_touched(
        history in prop::collection::vec(step(), 1..12),
        asked in prop::collection::vec(bytes(), 4),
    ) {
        let mut region = Region::builder(PAGES * base_page()).build().expect("it can be mapped");
        let mut present = [false; PAGES];
        let mut content = vec![0u8; region.len()];
        for step in history {
            match step {
                Step::Populate(range) => {
                    present[pages_of(&range)].fill(true);
                    region.populate(range).expect("a few pages can be had");
                }
                Step::Write(offset) => {
                    present[offset / base_page()] = true;
                    region.as_mut_slice()[offset] = 9;
                    content[offset] = 9;
                }
                Step::Discard(range) => {
                    present[pages_of(&range)].fill(false);
                    content[range.clone()].fill(0);
                    region.discard(range).expect("whole pages can be given back");
                }
            }
        }
        for range in asked {
            let modelled = &present[pages_of(&range)];
            let touched = modelled.iter().filter(|&&present| present).count() as u64;
            let Some(found) = residency(&region, range) else { return Ok(()) };
            prop_assert_eq!(counts(&found), (touched, modelled.len() as u64 - touched));
        }
        prop_assert!(region.as_slice() == content, "the bytes are not what was written");
    }
}
