//! Locality of live memory, and how bytes become elements.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use firsttouch_memory::Region;
use firsttouch_pool::Pool;
use firsttouch_topology::NodeId;
use proptest::prelude::*;

use super::{Locality, Locate, in_elements};
use crate::{Job, JobError, Location, Loop, Steal};

type Result = std::result::Result<(), Box<dyn Error>>;

fn unless_refused(
    result: std::result::Result<Locality, JobError>,
) -> std::result::Result<Option<Locality>, JobError> {
    match result {
        Ok(locality) => Ok(Some(locality)),
        Err(error) if error.is_refused() => Ok(None),
        Err(error) => Err(error),
    }
}

#[test]
fn a_job_runs_every_element_of_a_located_slice_once() -> Result {
    let pool = Pool::new()?;
    let numbers: Vec<u32> = (0..3_000_000).collect();
    let Some(locality) = unless_refused(Locality::of(&pool, &numbers))? else { return Ok(()) };
    assert_eq!(locality.len(), numbers.len());
    assert_eq!((locality.nowhere(), locality.local_share()), (0, 1.0));
    let bytes: usize = locality.nodes().map(|(_, bytes)| bytes).sum();
    assert_eq!(bytes, numbers.len() * 4);
    let sum = AtomicUsize::new(0);
    let job = Job::new(0, numbers.len()).min_chunk(1000).location(locality.location());
    let report = job.steal(Steal::Node).run(&pool, |chunk| {
        assert!(chunk.node.is_some());
        sum.fetch_add(chunk.range().map(|i| numbers[i] as usize).sum(), Ordering::Relaxed);
    })?;
    assert_eq!(sum.into_inner(), 2_999_999 * 3_000_000 / 2);
    assert_eq!(report.nodes.len(), locality.nodes().count());
    Loop::new().location(locality.location()).for_each_index(&pool, 0..numbers.len(), |_| ())?;
    Ok(())
}

#[test]
fn a_long_slice_is_asked_about_in_pieces_and_is_the_same() -> Result {
    let pool = Pool::new()?;
    let page = Region::builder(1).build()?.page_bytes();
    let mut region = Region::builder(70_000 * page).no_reserve().build()?;
    region.populate(5 * page..6 * page)?;
    region.populate(40_000 * page..50_000 * page)?;
    let odd = &region.as_slice()[3..70_000 * page - 5];
    let Some(locality) = unless_refused(Locality::of(&pool, odd))? else { return Ok(()) };
    assert_eq!(locality.nowhere(), odd.len() - 10_001 * page);
    assert_eq!(locality.nodes().map(|(_, bytes)| bytes).sum::<usize>(), 10_001 * page);
    let one = Locate::new(odd).max_threads(NonZeroUsize::MIN).run(&pool)?;
    assert_eq!(one, locality);
    let few = Locate::new(odd).max_parts(NonZeroUsize::MIN).run(&pool)?;
    assert_eq!(few.parts().len(), 1);
    assert_eq!(few.parts()[0].1, 0..odd.len());
    let every = NonZeroUsize::new(512).ok_or("it is not zero")?;
    let sampled = Locate::new(odd).every(every).run(&pool)?;
    assert_eq!(sampled.parts().last().map(|(_, part)| part.end), Some(odd.len()));
    Ok(())
}

#[test]
fn what_lies_nowhere_can_run_anywhere() -> Result {
    let pool = Pool::new()?;
    let region = Region::builder(1 << 20).build()?;
    let Some(locality) = unless_refused(Locality::of(&pool, region.as_slice_of::<u64>()))? else {
        return Ok(());
    };
    assert_eq!((locality.parts().len(), locality.location()), (0, Location::Anywhere));
    assert_eq!((locality.nowhere(), locality.local_share()), (1 << 20, 0.0));
    for nothing in [Locality::of::<u64>(&pool, &[])?, Locality::of(&pool, &[(); 7])?] {
        assert_eq!(nothing.location(), Location::Anywhere);
        assert_eq!(nothing.nowhere(), 0);
    }
    assert!(Locality::of::<u64>(&pool, &[])?.is_empty());
    Ok(())
}

proptest! {
    #[test]
    fn elements_go_with_the_byte_they_start_with(
        cuts in prop::collection::vec(1_usize..2000, 1..20),
        element_bytes in 1_usize..300,
    ) {
        let mut at = 0;
        let mut parts = Vec::new();
        for (index, cut) in cuts.iter().enumerate() {
            parts.push((NodeId::new(index as u32 % 3), at..at + cut));
            at += cut;
        }
        let elements = at / element_bytes;
        let own = in_elements(&parts, element_bytes, elements);
        let mut next = 0;
        for (node, range) in &own {
            prop_assert_eq!(range.start, next);
            prop_assert!(!range.is_empty());
            for element in range.clone() {
                let first = element * element_bytes;
                let home = parts.iter().find(|(_, part)| part.contains(&first));
                prop_assert_eq!(home.map(|(node, _)| *node), Some(*node));
            }
            next = range.end;
        }
        prop_assert_eq!(next, elements);
        prop_assert!(own.windows(2).all(|pair| pair[0].0 != pair[1].0));
    }
}
