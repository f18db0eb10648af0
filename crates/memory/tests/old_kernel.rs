//! Without the calls of newer kernels, results are the same.
//!
//! Calls are switched off for the whole process, so this is one test and a
//! binary of its own.

mod common;

use std::os::unix::fs::FileExt as _;

use common::{base_page, skipped, transparent, unless_refused};
use firsttouch_memory::{
    FileView, HugePageSize, MemoryError, OptionalCall, PageSize, Region, Residency,
    simulate_missing,
};

/// Touches some pages of a region in each way there is, and returns its bytes.
fn touch(region: &mut Region) -> Result<Vec<u8>, MemoryError> {
    let (len, page) = (region.len(), region.page_bytes());
    region.as_mut_slice()[len / 2 + 1] = 3;
    region.populate(len / 4..len / 2)?;
    region.populate(len - 1..len)?;
    // SAFETY: [disjoint] it is the only part.
    unsafe { region.parts().part(len / 2 - 1..len / 2 + 2) }.populate()?;
    region.discard(page.min(len)..len.min(2 * page))?;
    Ok(region.as_slice().to_vec())
}

/// Returns the residencies of some ranges, the whole region first; `None` where they are refused.
fn residencies(region: &Region) -> Option<Vec<Residency>> {
    let len = region.len();
    [0..len, 0..0, 0..len / 2, len / 3..len / 3 + 2 * base_page()]
        .into_iter()
        .map(|range| unless_refused("where pages lie", region.residency(range)))
        .collect()
}

/// Returns the counts alone, for where page sizes are an estimate.
fn counts(residency: &Residency) -> (Vec<(u32, u64)>, u64) {
    let nodes = residency.nodes().map(|(node, pages)| (node.os_index(), pages)).collect();
    (nodes, residency.not_present())
}

/// Checks that a region's residency is the same without the kernel's scan; returns it.
fn residencies_both_ways(region: &Region) -> Option<Vec<Residency>> {
    let with = residencies(region)?;
    simulate_missing(OptionalCall::PagemapScan, true);
    let without = residencies(region);
    simulate_missing(OptionalCall::PagemapScan, false);
    let without = without.expect("it was not refused a moment ago");
    assert_eq!(with[0], without[0], "for a whole region nothing is an estimate");
    if region.page_size() == PageSize::Transparent {
        assert!(with.iter().map(counts).eq(without.iter().map(counts)));
    } else {
        assert_eq!(with, without);
    }
    Some(with)
}

/// Checks the parts of a populated region without the kernel's scan, each far smaller than the region.
fn small_parts_merge_to_the_whole(region: &Region, whole: &Residency) -> Result<(), MemoryError> {
    simulate_missing(OptionalCall::PagemapScan, true);
    let (len, page) = (region.len(), region.page_bytes());
    let mut merged = Residency::default();
    for start in (0..len).step_by(page) {
        merged.merge(&region.residency(start..len.min(start + page))?);
    }
    simulate_missing(OptionalCall::PagemapScan, false);
    assert_eq!(counts(&merged), counts(whole));
    let all_of_one_size = whole.page_sizes().count() == 1 && len % page == 0;
    if region.page_size() != PageSize::Transparent || all_of_one_size {
        assert_eq!(&merged, whole, "with one size of page nothing is an estimate");
    }
    Ok(())
}

/// Checks that regions of one kind are the same whether or not the kernel populates.
fn check(build: impl Fn() -> Option<Region>) -> Result<(), MemoryError> {
    let Some(mut with) = build() else { return Ok(()) };
    let bytes = touch(&mut with)?;
    let pages = residencies_both_ways(&with);
    let page_size = with.page_size();
    // Hugetlb pages are few, and the other region needs them.
    drop(with);

    simulate_missing(OptionalCall::PopulateWrite, true);
    let mut without = build().expect("there was one a moment ago");
    assert!(touch(&mut without)? == bytes, "{page_size}: the bytes differ");
    if page_size != PageSize::Transparent {
        // What one touch of a transparent huge page brings is the kernel's choice.
        assert_eq!(residencies_both_ways(&without), pages);
    }
    let len = without.len();
    without.populate(0..len)?;
    assert!(without.as_slice() == bytes, "{page_size}: populating changed the bytes");
    if let Some(pages) = residencies_both_ways(&without) {
        assert_eq!(pages[0].present(), len.div_ceil(base_page()) as u64);
        small_parts_merge_to_the_whole(&without, &pages[0])?;
    }
    simulate_missing(OptionalCall::PopulateWrite, false);
    Ok(())
}

#[test]
fn both_ways_give_the_same_result() -> Result<(), MemoryError> {
    check(|| Region::builder(64 * base_page() + 9).build().ok())?;
    check(|| transparent("old kernels' transparent huge pages", 64 << 20))?;
    for shared in [false, true] {
        check(|| {
            let size = PageSize::Huge(HugePageSize::MIB_2);
            let builder = Region::builder(7 << 20).page_size(size);
            let builder = if shared { builder.shared() } else { builder };
            let built = builder.build();
            built.inspect_err(|error| skipped("old kernels' hugetlb pages", error)).ok()
        })?;
    }
    for memfd_is_missing in [false, true] {
        simulate_missing(OptionalCall::Memfd, memfd_is_missing);
        let shared = || Region::builder(64 * base_page() + 9).shared().build();
        let region = shared()?;
        // SAFETY: [exclusive] the file is not used.
        let has_file = unsafe { region.file() }.is_some();
        assert!(!(memfd_is_missing && has_file));
        assert_eq!(region.is_fresh(), has_file, "without a file nothing is known");
        check(|| shared().ok())?;
    }
    simulate_missing(OptionalCall::Memfd, false);
    for directory in ["/dev/shm", "/tmp"] {
        let file = tempfile::tempfile_in(directory).and_then(|file| {
            file.set_len(region_len())?;
            Ok(file)
        });
        match file {
            // SAFETY: [long], [exclusive] nobody else has the file; [room] it is small.
            Ok(file) => check(|| unsafe { Region::map_file(&file, 0..region_len()).ok() })?,
            Err(error) => skipped("old kernels' files", &error),
        }
    }
    populating_undoes_no_write_of_others();
    views_are_populated_both_ways()
}

/// Checks that populating page by page keeps what others write to shared memory meanwhile.
fn populating_undoes_no_write_of_others() {
    let mut region = Region::builder(16 * base_page()).shared().build().expect("memory for a test");
    // SAFETY: [exclusive] no view is alive while the file is used.
    let Some(file) = (unsafe { region.file() }) else {
        return skipped("writes of others", &"memfd_create is refused here");
    };
    let file = std::fs::File::from(file.try_clone_to_owned().expect("a descriptor"));
    simulate_missing(OptionalCall::PopulateWrite, true);
    let undone = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let undone = (0..100_000_u64).filter(|count| {
                let (page, byte) = (count % 16 * base_page() as u64, *count as u8);
                let mut read = [0];
                file.write_all_at(&[byte], page).expect("a file in memory is written");
                file.read_exact_at(&mut read, page).expect("and read");
                read != [byte]
            });
            undone.count()
        });
        while !writer.is_finished() {
            region.populate(0..region.len()).expect("its pages are there");
        }
        writer.join().expect("the writer's file is there")
    });
    simulate_missing(OptionalCall::PopulateWrite, false);
    assert_eq!(undone, 0, "writes of others were undone");
}

fn region_len() -> u64 {
    64 * base_page() as u64 + 9
}

/// Checks that a view has all pages, whether or not the kernel populates it.
fn views_are_populated_both_ways() -> Result<(), MemoryError> {
    let program = std::fs::File::open("/proc/self/exe").expect("this test runs");
    for is_missing in [false, true] {
        simulate_missing(OptionalCall::PopulateRead, is_missing);
        // SAFETY: [long], [unchanged] the kernel lets nobody write to a program that runs.
        let view = unsafe { FileView::map(&program, 0..region_len())? };
        view.populate(0..view.len())?;
        if let Some(pages) = unless_refused("pages of views", view.residency(0..view.len())) {
            assert_eq!((pages.present(), pages.not_present()), (65, 0));
        }
    }
    simulate_missing(OptionalCall::PopulateRead, false);
    Ok(())
}
