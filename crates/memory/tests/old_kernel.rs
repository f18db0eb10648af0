//! Without the calls of newer kernels, results are the same.
//!
//! Calls are switched off for the whole process, so this is one test and a
//! binary of its own.

mod common;

use common::{base_page, skipped, transparent, unless_refused};
use firsttouch_memory::{
    HugePageSize, MemoryError, OptionalCall, PageSize, Region, Residency, simulate_missing,
};

/// A region's bytes, and the residencies of some of its ranges.
type Outcome = (Vec<u8>, Vec<Residency>);

/// Returns what a region is after a history; `None` where residency is refused.
fn outcome(mut region: Region) -> Result<Option<Outcome>, MemoryError> {
    let (len, page) = (region.len(), region.page_bytes());
    region.as_mut_slice()[len / 2 + 1] = 3;
    region.populate(len / 4..len / 2)?;
    region.populate(len - 1..len)?;
    // SAFETY: [disjoint] it is the only part.
    unsafe { region.parts().part(len / 2 - 1..len / 2 + 2) }.populate()?;
    region.discard(page..2 * page)?;
    let mut residencies = Vec::new();
    for range in [0..len, 0..0, 0..len / 2, len / 3..len / 3 + 2 * base_page()] {
        match unless_refused("where pages lie", region.residency(range)) {
            Some(residency) => residencies.push(residency),
            None => return Ok(None),
        }
    }
    Ok(Some((region.as_slice().to_vec(), residencies)))
}

/// The counts alone, for where page sizes are an estimate.
fn counts(residencies: &[Residency]) -> Vec<(Vec<(u32, u64)>, u64)> {
    let nodes = |r: &Residency| r.nodes().map(|(node, n)| (node.os_index(), n)).collect();
    residencies.iter().map(|r| (nodes(r), r.not_present())).collect()
}

#[test]
fn both_ways_give_the_same_result() -> Result<(), MemoryError> {
    let base = || Region::builder(64 * base_page() + 9).build();
    let huge = || transparent("old kernels' transparent huge pages", 8 << 20);
    let pool = || {
        let size = PageSize::Huge(HugePageSize::MIB_2);
        let built = Region::builder(7 << 20).page_size(size).build();
        built.inspect_err(|error| skipped("old kernels' hugetlb pages", error)).ok()
    };
    let with = (
        outcome(base()?)?,
        huge().map(outcome).transpose()?.flatten(),
        pool().map(outcome).transpose()?.flatten(),
    );
    for calls in [
        &[OptionalCall::PopulateWrite][..],
        &[OptionalCall::PagemapScan],
        &[OptionalCall::PopulateWrite, OptionalCall::PagemapScan],
    ] {
        for &call in calls {
            simulate_missing(call, true);
        }
        assert!(outcome(base()?)? == with.0, "base pages differ without {calls:?}");
        let without = huge().map(outcome).transpose()?.flatten();
        if let (Some(with), Some(without)) = (&with.1, &without) {
            assert!(with.0 == without.0, "bytes differ without {calls:?}");
            assert_eq!(counts(&with.1), counts(&without.1), "without {calls:?}");
            // For a whole region the estimate of page sizes is none.
            assert_eq!(with.1[0], without.1[0], "without {calls:?}");
        }
        if let (Some(with), Some(without)) = (&with.2, pool().map(outcome).transpose()?.flatten()) {
            assert!(*with == without, "hugetlb pages differ without {calls:?}");
        }
        for &call in calls {
            simulate_missing(call, false);
        }
    }
    Ok(())
}
