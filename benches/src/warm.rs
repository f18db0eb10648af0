//! Memory made warm before it is measured.
//!
//! A hypervisor hands a guest its memory on first use: what no one has touched
//! since the guest booted can take ten times as long to touch as what was
//! touched and freed. A repetition that happens on cold memory measures the
//! hypervisor. So each one first touches and frees as much memory as it will
//! take, from the same nodes.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use firsttouch::{MemoryError, PageInit, PageSize, Pool, Region};

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
    let mut region = Region::builder(bytes).page_size(page_size).build()?;
    let (len, page) = (region.len(), region.page_bytes());
    let piece = (8_usize << 20).next_multiple_of(page);
    let (parts, next) = (region.parts(), AtomicUsize::new(0));
    let populate = || -> Result<(), MemoryError> {
        loop {
            // Relaxed: it hands out numbers, and guards nothing.
            let start = next.fetch_add(piece, Ordering::Relaxed);
            if start >= len {
                return Ok(());
            }
            // SAFETY: [disjoint] the counter hands out each piece once.
            unsafe { parts.part(start..(start + piece).min(len)) }.populate()?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(populate)).collect();
        populate()?;
        for thread in others {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    })
}
