//! Migration on the live machine, which has one node as a rule; the emulated machines have more.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;

use firsttouch_memory::{PageSize, Region};
use firsttouch_pool::Pool;
use firsttouch_topology::{NodeId, NodeSet, Topology};

use crate::job::sites::Sites;
use crate::{Binding, JobError, PageMigration, Placement, PolicyUse, Steal};

type Result = std::result::Result<(), Box<dyn Error>>;

fn region(len: usize, page_size: PageSize) -> Region {
    let builder = Region::builder(len).page_size(page_size).or_page_size(PageSize::Base);
    builder.build().expect("memory for a test")
}

#[test]
fn on_one_node_every_page_is_there_already() -> Result {
    let pool = Pool::new()?;
    if Sites::of(&pool).usable().len() != 1 {
        return Ok(());
    }
    for kind in [PageSize::Base, PageSize::Transparent] {
        for placement in [
            Placement::Blocked,
            Placement::BlockedByMemory,
            Placement::Interleaved { block: 4 << 20 },
        ] {
            let len = (12 << 20) + 17;
            let mut region = region(len, kind);
            let page_bytes = region.page_bytes();
            region.as_mut_slice()[..8 << 20].fill(3);
            let migration = PageMigration::new(&mut region).placement(placement.clone());
            let migration = migration.steal(Steal::Anywhere).min_chunk(page_bytes);
            let report = match migration.run(&pool) {
                Ok(report) => report,
                Err(error) if error.is_refused() => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            assert_eq!(report.policy, PolicyUse::NotNeeded);
            assert_eq!(report.pages.there(), (8 << 20) / 4096, "{placement:?}");
            assert_eq!(report.pages.absent, ((len - (8 << 20)) as u64).div_ceil(4096));
            assert_eq!((report.pages.moved, report.pages.elsewhere()), (0, 0));
            assert_eq!(report.nodes.iter().map(|node| node.row.size).sum::<usize>(), len);
            let pages = report.residency.ok_or("the kernel told a moment ago")?;
            assert_eq!(pages.present(), report.pages.there());
            assert!(region.as_slice()[..8 << 20].iter().all(|&byte| byte == 3));
        }
    }
    Ok(())
}

#[test]
fn placements_that_cannot_be_are_errors() -> Result {
    let pool = Pool::new()?;
    let mut region = region(4 << 20, PageSize::Base);
    let run = |region: &mut Region, placement| {
        PageMigration::new(region).placement(placement).run(&pool).expect_err("it cannot be")
    };
    let error = run(&mut region, Placement::Interleaved { block: 5 });
    assert!(matches!(error, JobError::Block { .. }), "{error}");
    let error = run(&mut region, Placement::Nodes(NodeSet::new()));
    assert!(matches!(error, JobError::NoNodes { .. }), "{error}");
    let error = run(&mut region, Placement::Nodes([NodeId::new(4000)].into_iter().collect()));
    assert!(matches!(error, JobError::NodeWithoutMemory { .. }), "{error}");
    assert!(region.is_fresh());
    Ok(())
}

#[test]
fn a_node_that_the_kernel_does_not_know_is_an_error_that_names_it() -> Result {
    let live = Topology::discover().map_or(0, |topology| topology.nodes().len());
    if live != 1 {
        return Ok(());
    }
    let topology = Topology::synthetic("node:3 core:1 pu:1")?;
    let pool = Pool::builder().topology(Arc::new(topology)).build()?;
    for binding in [Binding::Preferred, Binding::Bind] {
        let mut region = region(6 << 20, PageSize::Base);
        region.as_mut_slice().fill(1);
        let nodes = Placement::Nodes([NodeId::new(1)].into_iter().collect());
        let migration = PageMigration::new(&mut region)
            .placement(nodes)
            .binding(binding)
            .max_threads(NonZeroUsize::MIN)
            .max_threads_per_node(NonZeroUsize::MIN);
        match migration.run(&pool).expect_err("there is no such node here") {
            JobError::Migrate { node, pages, source } => {
                assert!(binding == Binding::Preferred && node == NodeId::new(1), "{source}");
                assert_eq!((pages.failed, pages.total()), ((6 << 20) / 4096, (6 << 20) / 4096));
            }
            JobError::Policy { .. } => assert_eq!(binding, Binding::Bind),
            error => return Err(error.into()),
        }
        assert!(region.as_slice().iter().all(|&byte| byte == 1));
    }
    Ok(())
}

#[test]
fn every_page_is_counted_once_where_one_of_two_nodes_takes_none() -> Result {
    let live = Topology::discover().map_or(0, |topology| topology.nodes().len());
    if live != 1 {
        return Ok(());
    }
    let topology = Topology::synthetic("node:2 core:1 pu:1")?;
    let pool = Pool::builder().topology(Arc::new(topology)).build()?;
    for threads in [1, 2] {
        let threads = NonZeroUsize::new(threads).ok_or("not zero")?;
        let mut region = region((32 << 20) + 5, PageSize::Base);
        region.as_mut_slice()[..24 << 20].fill(1);
        let migration = PageMigration::new(&mut region).max_threads(threads).min_chunk(1);
        let pages = match migration.run(&pool).expect_err("there is no node 1 here") {
            JobError::Migrate { pages, .. } => pages,
            error => return Err(error.into()),
        };
        let all: u64 = (32 << 20) / 4096 + 1;
        assert_eq!(pages.total(), all, "{pages:?}");
        assert!(pages.failed > 0 && pages.moved == 0 && pages.elsewhere() == 0, "{pages:?}");
        assert!(pages.already <= all.div_ceil(2), "more than node 0's part: {pages:?}");
    }
    Ok(())
}

#[test]
fn reading_back_can_be_left_out() -> Result {
    let pool = Pool::new()?;
    let mut region = region(1 << 20, PageSize::Base);
    match PageMigration::new(&mut region).read_back(false).run(&pool) {
        Ok(report) => assert_eq!(report.residency, None),
        Err(error) => assert!(error.is_refused(), "{error}"),
    }
    Ok(())
}
