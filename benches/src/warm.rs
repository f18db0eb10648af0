//! Memory made warm before it is measured.
//!
//! A hypervisor hands a guest its memory on first use: what no one has touched
//! since the guest booted can take ten times as long to touch as what was
//! touched and freed. A repetition that happens on cold memory measures the
//! hypervisor. So each one first touches and frees as much memory as it will
//! take, from the same nodes.

use std::num::NonZeroUsize;

use firsttouch::{PageInit, PageSize, Pool, Region};

use crate::pieces::{PIECE, for_each_piece};

/// Who will touch the memory that is to be measured, and so from which nodes it will come.
#[derive(Clone, Copy)]
pub(crate) enum Toucher<'a> {
    /// The calling thread alone.
    Caller,
    /// The pool, with up to so many threads on each node.
    Pool(&'a Pool, NonZeroUsize),
}

/// Populates and frees `bytes` of pages of the given size.
pub(crate) fn warm(bytes: usize, page_size: PageSize, toucher: Toucher<'_>) -> anyhow::Result<()> {
    let mut region = Region::builder(bytes).page_size(page_size).build()?;
    match toucher {
        Toucher::Caller => region.populate(0..bytes)?,
        Toucher::Pool(pool, threads) => {
            let init = PageInit::new(&mut region).max_threads_per_node(threads);
            init.read_back(false).zero(pool)?;
        }
    }
    Ok(())
}

/// Populates and frees `bytes` by so many plain threads, whoever is measured next.
///
/// They are kept to no CPU, as the threads of most rivals are not: on a machine with several nodes
/// the memory comes from all of them.
pub(crate) fn warm_by_threads(
    bytes: usize,
    page_size: PageSize,
    threads: NonZeroUsize,
) -> anyhow::Result<()> {
    populated(bytes, page_size, threads).map(drop)
}

/// Returns a region whose every page is there, populated by so many plain threads.
pub(crate) fn populated(
    bytes: usize,
    page_size: PageSize,
    threads: NonZeroUsize,
) -> anyhow::Result<Region> {
    let mut region = Region::builder(bytes).page_size(page_size).build()?;
    let (len, piece) = (region.len(), PIECE.next_multiple_of(region.page_bytes()));
    let parts = region.parts();
    for_each_piece(len, piece, threads, |range| {
        // SAFETY: [disjoint] each piece is handed out once.
        unsafe { parts.part(range) }.populate()
    })?;
    Ok(region)
}
