//! Memory made warm before it is measured.
//!
//! A hypervisor hands a guest its memory on first use: what no one has touched
//! since the guest booted can take ten times as long to touch as what was
//! touched and freed. A repetition that happens on cold memory measures the
//! hypervisor. So each one first touches and frees as much memory as it will
//! take, from the same nodes.

use std::num::NonZeroUsize;

use firsttouch::{PageInit, PageSize, Pool, Region};

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
