//! Replicas on the live machine, and for machines that it is not.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;

use firsttouch_memory::{MemoryError, PageSize};
use firsttouch_pool::Pool;
use firsttouch_topology::{NodeId, NodeSet, Topology};

use crate::{Binding, JobError, PolicyUse, Replicate};

type Result = std::result::Result<(), Box<dyn Error>>;

fn synthetic_pool(description: &str) -> Pool {
    let topology = Topology::synthetic(description).expect("a description in the grammar");
    Pool::builder().topology(Arc::new(topology)).build().expect("threads for a test")
}

#[test]
fn every_node_has_a_copy_of_slices_of_any_length() -> Result {
    let pool = synthetic_pool("node:3 core:2 pu:1");
    for len in [1, 511, 512, 513, 100_000, 1_000_003] {
        let source: Vec<u64> = (0..len).map(|i| i * 7).collect();
        let replicas = Replicate::new(&source).min_chunk(1 << 14).run(&pool)?;
        assert_eq!(replicas.len(), source.len());
        assert!(replicas.nodes().eq((0..3).map(NodeId::new)));
        let copies: Vec<_> = replicas.nodes().filter_map(|node| replicas.on(node)).collect();
        assert_eq!(copies.len(), 3);
        for copy in &copies {
            assert!(*copy == source);
        }
        let addresses: std::collections::BTreeSet<_> =
            copies.iter().map(|copy| copy.as_ptr()).collect();
        assert_eq!(addresses.len(), 3, "each copy is a copy");
        assert!(replicas.local() == source);
        assert_eq!(replicas.on(NodeId::new(3)), None);
        assert!(replicas.nearest_to(NodeId::new(3)) == source);
        assert!(std::ptr::eq(replicas.nearest_to(NodeId::new(2)), copies[2]));
        let report = replicas.report();
        assert_eq!((report.bytes, report.replicas.len()), (len as usize * 8, 3));
        let live = Topology::discover().map_or(0, |topology| topology.nodes().len());
        assert!(live > 1 || report.policy == PolicyUse::Refused);
        assert!(report.chunks >= 3 && report.nodes.len() == 3);
    }
    Ok(())
}

#[test]
fn elements_of_odd_sizes_are_copied_whole() -> Result {
    let pool = synthetic_pool("node:2 core:1 pu:1");
    let source: Vec<[u8; 13]> = (0..70_000_u32).map(|i| [(i % 251) as u8; 13]).collect();
    let sizes = Replicate::new(&source)
        .page_size(PageSize::Transparent)
        .or_page_size(PageSize::Base)
        .max_threads(NonZeroUsize::MIN)
        .max_threads_per_node(NonZeroUsize::MIN)
        .read_back(false);
    let replicas = sizes.run(&pool)?;
    assert!(replicas.nodes().all(|node| replicas.on(node) == Some(&source)));
    assert!(replicas.report().replicas.iter().all(|copy| copy.is_placed().is_none()));
    Ok(())
}

#[test]
fn an_empty_slice_has_empty_copies() -> Result {
    let pool = Pool::new()?;
    let replicas = Replicate::<f64>::new(&[]).run(&pool)?;
    assert!(replicas.is_empty() && replicas.local().is_empty());
    assert_eq!(replicas.report().chunks, 0);
    Ok(())
}

#[test]
fn copies_on_the_live_machine_lie_where_they_are_meant_to() -> Result {
    let pool = Pool::new()?;
    let source = vec![0xA5_u8; (3 << 20) + 1];
    let replicas = Replicate::new(&source).run(&pool)?;
    let live = Topology::discover()?;
    for copy in &replicas.report().replicas {
        assert!(live.nodes().len() > 1 || copy.is_placed().unwrap_or(true), "{copy:?}");
    }
    let seen = pool.broadcast(|_| replicas.local() == source);
    assert!(seen.into_iter().all(|equal| equal));
    Ok(())
}

#[test]
fn nodes_that_cannot_have_a_copy_are_errors() -> Result {
    let pool = Pool::new()?;
    let nowhere = NodeId::new(4000);
    let error = Replicate::new(&[1_u8]).nodes([nowhere].into_iter().collect()).run(&pool);
    assert!(matches!(error, Err(JobError::NodeWithoutMemory { node, .. }) if node == nowhere));
    let error = Replicate::new(&[1_u8]).nodes(NodeSet::new()).run(&pool);
    assert!(matches!(error, Err(JobError::NoNodes { .. })));
    Ok(())
}

#[test]
fn a_bound_copy_whose_memory_cannot_be_had_is_an_error() -> Result {
    let live = Topology::discover().map_or(0, |topology| topology.nodes().len());
    if live != 1 {
        return Ok(());
    }
    let pool = synthetic_pool("node:2 core:1 pu:1");
    let error = Replicate::new(&[1_u64; 5000]).binding(Binding::Bind).run(&pool);
    match error.expect_err("this machine has no node 1") {
        JobError::Replica { node, source } => {
            assert!(node == NodeId::new(0) || node == NodeId::new(1));
            assert!(matches!(
                *source,
                MemoryError::NoSuchNode { .. } | MemoryError::Refused { .. }
            ));
        }
        // Nobody knows how much a synthetic node has free.
        JobError::NotEnoughFree { .. } => {}
        error => return Err(error.into()),
    }
    Ok(())
}
