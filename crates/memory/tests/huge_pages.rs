//! Hugetlb pages: the refusal on every machine, the pages where some are free.

mod common;

use std::fs;

use common::{base_page, skipped, unless_refused};
use firsttouch_memory::{HugePageSize, MemoryError, PageSize, Region};
use firsttouch_topology::NodeId;

/// Returns the kernel's huge page sizes with the free pages of each.
fn pools() -> Vec<(HugePageSize, u64)> {
    let number = |path: std::path::PathBuf| -> u64 {
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let entries = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kib: usize = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let free = number(entry.path().join("free_hugepages"))
                .saturating_sub(number(entry.path().join("resv_hugepages")));
            Some((HugePageSize::new(kib << 10).ok()?, free))
        })
        .collect()
}

/// Returns the free pages of a size on each node, ascending by node.
fn node_pools(size: HugePageSize) -> Vec<(NodeId, u64)> {
    let kib = size.bytes() >> 10;
    let entries = fs::read_dir("/sys/devices/system/node").into_iter().flatten().flatten();
    let mut pools: Vec<_> = entries
        .filter_map(|entry| {
            let node = entry.file_name().into_string().ok()?.strip_prefix("node")?.parse().ok()?;
            let free = format!("hugepages/hugepages-{kib}kB/free_hugepages");
            let free = fs::read_to_string(entry.path().join(free)).ok()?;
            Some((NodeId::new(node), free.trim().parse().ok()?))
        })
        .collect();
    pools.sort_by_key(|(node, _)| node.os_index());
    pools
}

#[test]
fn more_huge_pages_than_there_are_is_an_error_that_counts_them_on_each_node() {
    if pools().is_empty() {
        skipped("short pools of huge pages", &"the kernel has no huge pages");
    }
    for (size, free) in pools() {
        // More than any pool, even one that may grow, and within the address space.
        let Some(len) = size.bytes().checked_mul((free as usize + 1) * 4096) else { continue };
        let before = node_pools(size);
        let error = match Region::builder(len).page_size(PageSize::Huge(size)).build() {
            Ok(region) => {
                skipped("short pools of huge pages", &format!("{region:?} was granted"));
                continue;
            }
            Err(error) => error,
        };
        assert!(error.is_page_size_unavailable(), "{error}");
        let MemoryError::HugePagesShort { size: named, needed, pools, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((*named, *needed), (size, (len / size.bytes()) as u64));
        // Others may take pages meanwhile.
        if node_pools(size) == before {
            assert_eq!(*pools, before, "{error}");
        }
        for (node, free) in pools {
            assert!(error.to_string().contains(&format!("on node {node}: {free}")), "{error}");
        }
        let advice = format!("hugepages-{}kB/nr_hugepages", size.bytes() >> 10);
        assert!(error.to_string().contains(&advice), "{error}");
    }
}

#[test]
fn huge_pages_are_placed_counted_and_given_back() -> Result<(), MemoryError> {
    // Both tests of a pool at once would take each other's pages, so one does it all.
    let Some((size, _)) = pools().into_iter().find(|&(_, free)| free >= 2) else {
        skipped("regions of huge pages", &"no pool has two free pages (vm.nr_hugepages)");
        return Ok(());
    };
    let (huge, base) = (size.bytes(), base_page());
    let built = Region::builder(huge + 1).page_size(PageSize::Huge(size)).build();
    let mut region = match built {
        Err(error @ MemoryError::HugePagesShort { .. }) => {
            skipped("regions of huge pages", &error);
            return Ok(());
        }
        built => built?,
    };
    assert!(region.is_fresh());
    assert_eq!((region.page_bytes(), region.page_size()), (huge, PageSize::Huge(size)));
    assert_eq!((region.len(), region.as_ptr().addr() % huge), (huge + 1, 0));

    assert!(!region.is_fresh(), "as_ptr may have been read through");
    region.discard(0..region.len())?;
    region.populate(0..1)?;
    region.as_mut_slice()[7] = 7;
    let what = "residency of huge pages";
    if let Some(pages) = unless_refused(what, region.residency(0..region.len())) {
        assert_eq!((pages.present(), pages.not_present()), ((huge / base) as u64, 1));
        assert_eq!(pages.page_sizes().collect::<Vec<_>>(), [(huge, huge as u64)]);
        let part = region.residency(base + 1..2 * base + 1)?;
        assert_eq!((part.present(), part.not_present()), (2, 0));
    }
    region.populate(0..region.len())?;
    assert_eq!(region.as_slice()[7], 7);
    region.discard(0..region.len())?;
    assert!(region.as_slice().iter().all(|&byte| byte == 0));
    Ok(())
}
