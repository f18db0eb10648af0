//! Release on the live machine.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;

use firsttouch_memory::{AddressRange, PageSize, Region};
use firsttouch_pool::Pool;
use firsttouch_topology::Topology;

use super::shares;
use crate::job::sites::Sites;
use crate::{PageRelease, ReleaseOnDrop};

type Result = std::result::Result<(), Box<dyn Error>>;

fn full(len: usize, page_size: PageSize) -> Region {
    let builder = Region::builder(len).page_size(page_size).or_page_size(PageSize::Base);
    let mut region = builder.build().expect("memory for a test");
    region.as_mut_slice().fill(1);
    region
}

#[test]
fn regions_of_any_length_are_given_back_whole() -> Result {
    let pool = Pool::new()?;
    for len in [1, 4096, 4097, (3 << 20) + 5, 40 << 20] {
        for kind in [PageSize::Base, PageSize::Transparent] {
            let region = full(len, kind);
            let granted = region.page_size();
            let report = PageRelease::new(region).min_chunk(1 << 16).run(&pool);
            assert_eq!((report.bytes, report.page_size, report.kept), (len, granted, 0));
            assert_eq!(report.nodes.iter().map(|row| row.size).sum::<usize>(), len);
            assert!(report.chunks >= report.threads && report.threads >= 1);
        }
    }
    Ok(())
}

#[test]
fn a_region_without_pages_wakes_nobody() -> Result {
    let pool = Pool::new()?;
    let report = PageRelease::new(Region::builder(64 << 20).build()?).run(&pool);
    assert_eq!((report.chunks, report.threads, report.kept), (0, 1, 0));
    Ok(())
}

#[test]
fn locked_pages_go_with_the_mapping_and_are_counted() -> Result {
    let pool = Pool::new()?;
    let mut region = full(1 << 20, PageSize::Base);
    if region.lock().is_err() {
        // The process may lock less than that.
        return Ok(());
    }
    let release = PageRelease::new(region).max_threads(NonZeroUsize::MIN);
    let report = release.max_threads_per_node(NonZeroUsize::MIN).run(&pool);
    assert_eq!((report.kept, report.threads), (1 << 20, 1));
    Ok(())
}

#[test]
fn a_dropped_region_is_released_and_one_taken_out_is_not() -> Result {
    let pool = Arc::new(Pool::new()?);
    let on_drop = ReleaseOnDrop::new(full(20 << 20, PageSize::Base), Arc::clone(&pool));
    assert_eq!(on_drop.as_slice()[5], 1);
    drop(on_drop);
    let mut on_drop = ReleaseOnDrop::new(full(1 << 20, PageSize::Base), Arc::clone(&pool));
    on_drop.as_mut_slice()[5] = 2;
    let region = on_drop.into_region();
    assert_eq!(region.as_slice()[4..6], [1, 2]);
    let report = ReleaseOnDrop::new(region, Arc::clone(&pool)).release();
    assert_eq!(report.bytes, 1 << 20);
    // A helper can be the one that drops it.
    let on_drop = ReleaseOnDrop::new(full(20 << 20, PageSize::Base), Arc::clone(&pool));
    pool.join(|| drop(on_drop), || ());
    Ok(())
}

#[test]
fn nodes_that_the_machine_does_not_have_are_no_reason_to_keep_memory() -> Result {
    let topology = Topology::synthetic("node:2 core:1 pu:1")?;
    let pool = Pool::builder().topology(Arc::new(topology)).build()?;
    let region = full((40 << 20) + 3, PageSize::Transparent);
    let sites = Sites::of(&pool);
    let shares = shares(&region, &pool, &sites, None);
    assert_eq!(shares.iter().map(|share| share.size()).sum::<usize>(), (40 << 20) + 3);
    // All of this machine's pages are on its node 0, where it tells.
    let live = Topology::discover().map_or(0, |topology| topology.nodes().len());
    let told = AddressRange::of(region.as_slice()).node_runs(NonZeroUsize::MIN).is_ok();
    assert!(live != 1 || !told || (shares.len() == 1 && shares[0].node.is_some()));
    assert_eq!(PageRelease::new(region).run(&pool).kept, 0);
    Ok(())
}
