//! Locality: where the pages of any memory lie, and who should run what uses it.

mod find;
mod granules;
#[cfg(all(test, not(loom)))]
mod tests;

use std::num::NonZeroUsize;
use std::ops::Range;

use firsttouch_memory::AddressRange;
use firsttouch_pool::Pool;
use firsttouch_topology::NodeId;

pub(crate) use self::find::{Options, find};
use self::granules::Found;
use crate::{JobError, Location};

/// The most parts, where the caller does not say.
///
/// Each part is a chunk at the least, and handing out a chunk costs some
/// hundred nanoseconds: a thousand of them are a tenth of a millisecond.
const MOST_PARTS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Where the elements of a slice lie: one part for each run of them on one node.
///
/// It works for memory that somebody else mapped and placed: a `Vec` that was
/// filled by many threads, a file, a library's buffer. Its
/// [`location`](Self::location) has each node's threads run the elements that
/// lie there.
///
/// It is a record of one moment. Pages that move later (automatic NUMA
/// balancing does that) are found where they were.
///
/// An element that lies across two pages belongs to the page that it starts
/// in. Elements whose page lies nowhere yet go with those before them.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use firsttouch_job::{Job, Locality};
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let numbers: Vec<u64> = (0..1_000_000).collect();
/// let locality = match Locality::of(&pool, &numbers) {
///     Ok(locality) => locality,
///     // Some containers refuse the call.
///     Err(error) if error.is_refused() => return Ok(()),
///     Err(error) => return Err(error.into()),
/// };
/// let sum = AtomicU64::new(0);
/// Job::new(0, numbers.len()).min_chunk(10_000).location(locality.location()).run(&pool, |chunk| {
///     sum.fetch_add(numbers[chunk.range()].iter().sum(), Ordering::Relaxed);
/// })?;
/// assert_eq!(sum.into_inner(), 499_999_500_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Locality {
    /// Invariant: they cover the elements in order, and neighbours are on different nodes; none where no page has a place.
    parts: Vec<(NodeId, Range<usize>)>,
    elements: usize,
    found: Found,
}

/// How to find out where a slice lies; [`Locality::of`] is this with the defaults.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use firsttouch_job::Locate;
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let bytes = vec![1_u8; 4 << 20];
/// match Locate::new(&bytes).every(NonZeroUsize::new(16).unwrap()).run(&pool) {
///     Ok(locality) => println!("{:?}", locality.parts()),
///     // Some containers refuse the call.
///     Err(error) if error.is_refused() => {}
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is asked until run is called"]
#[derive(Clone, Debug)]
pub struct Locate {
    range: AddressRange,
    elements: usize,
    options: Options,
}

impl Locate {
    /// Starts to describe how to find out where a slice lies; it is borrowed no longer than this call.
    pub fn new<T>(slice: &[T]) -> Self {
        let options =
            Options { every: NonZeroUsize::MIN, most_parts: MOST_PARTS, max_threads: None };
        Self { range: AddressRange::of(slice), elements: slice.len(), options }
    }

    /// Sets the most parts. Default: 1024.
    ///
    /// Memory that lies in more runs than that, as interleaved memory does, is
    /// cut into so many granules of equal length. A granule goes to the node
    /// that has three quarters of it or more. Where none has, there is little
    /// to gain from nearness, and granules go to the nodes that they are on in
    /// proportion to what each has, so that the work is even.
    /// [`Locality::local_share`] says what that leaves.
    pub fn max_parts(mut self, n: NonZeroUsize) -> Self {
        self.options.most_parts = n;
        self
    }

    /// Sets of how many base pages one is asked where it lies, and answers for all. Default: 1, which is every page.
    ///
    /// Asking takes some tenths of a microsecond for each page.
    pub fn every(mut self, pages: NonZeroUsize) -> Self {
        self.options.every = pages;
        self
    }

    /// Sets the most threads, the caller included. Default: as many as the pool has helpers, one for each 64 MiB.
    pub fn max_threads(mut self, n: NonZeroUsize) -> Self {
        self.options.max_threads = Some(n);
        self
    }

    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// [`JobError::Locate`] where the kernel does not tell.
    pub fn run(self, pool: &Pool) -> Result<Locality, JobError> {
        let found = find(pool, self.range, self.options).map_err(JobError::Locate)?;
        let element_bytes = self.range.len().checked_div(self.elements).unwrap_or(0);
        let parts = in_elements(&found.parts, element_bytes, self.elements);
        Ok(Locality { parts, elements: self.elements, found })
    }
}

impl Locality {
    /// Finds out where a slice lies, page by page; in parallel for a long one.
    ///
    /// # Errors
    ///
    /// [`JobError::Locate`] where the kernel does not tell.
    pub fn of<T>(pool: &Pool, slice: &[T]) -> Result<Self, JobError> {
        Locate::new(slice).run(pool)
    }

    /// Returns the parts: they cover the elements in order, and neighbours are on different nodes.
    ///
    /// There is none where no page has a place.
    #[must_use]
    pub fn parts(&self) -> &[(NodeId, Range<usize>)] {
        &self.parts
    }

    /// Returns where a job or loop over the slice's indices, from 0, should run.
    ///
    /// That is [`Location::PerNode`], or [`Location::Anywhere`] where no page
    /// has a place.
    #[must_use]
    pub fn location(&self) -> Location {
        if self.parts.is_empty() {
            Location::Anywhere
        } else {
            Location::PerNode(self.parts.clone())
        }
    }

    /// Returns the elements of the slice.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements
    }

    /// Returns whether the slice has no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// Visits the nodes that the slice lies on, ascending, with how many of its bytes each has.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, usize)> + '_ {
        self.found.on.iter().map(|(&node, &bytes)| (node, bytes))
    }

    /// Returns the bytes whose pages lie nowhere.
    #[must_use]
    pub fn nowhere(&self) -> usize {
        self.found.nowhere
    }

    /// Returns the share of bytes that lie on the node of their part, from 0 to 1, of those that lie anywhere.
    ///
    /// It is 1, but for memory in more runs than there may be parts.
    #[must_use]
    pub fn local_share(&self) -> f64 {
        match self.found.on.values().sum::<usize>() {
            0 => 0.0,
            present => self.found.local as f64 / present as f64,
        }
    }
}

/// Turns parts in bytes into parts in elements: each element goes with the byte that it starts with.
fn in_elements(
    parts: &[(NodeId, Range<usize>)],
    element_bytes: usize,
    elements: usize,
) -> Vec<(NodeId, Range<usize>)> {
    if element_bytes == 0 {
        return Vec::new();
    }
    let mut own: Vec<(NodeId, Range<usize>)> = Vec::with_capacity(parts.len());
    for (node, bytes) in parts {
        let first = bytes.start.div_ceil(element_bytes);
        let end = bytes.end.div_ceil(element_bytes).min(elements);
        match own.last_mut() {
            _ if first >= end => {}
            Some((last, range)) if last == node => range.end = end,
            _ => own.push((*node, first..end)),
        }
    }
    own
}
