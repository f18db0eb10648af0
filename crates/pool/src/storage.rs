//! Where the pool's own structures lie: on the node of those who write them.
//!
//! A node's first helper makes what its node's helpers share, and each helper
//! makes what only it writes, after it was pinned. So the kernel places these
//! pages on that node when they are first touched. Each starts on a page
//! boundary and fills its page, so that nobody else's data lies with it. What
//! the heap has left of earlier threads can lie elsewhere, so its pages are
//! given back to the kernel first.

use std::fmt;
use std::ops::Deref;

use firsttouch_topology::NodeId;

use crate::sys::discard_pages;

/// Something on pages that it shares with nothing else, where pages are of 4 KiB.
#[derive(Default)]
#[repr(align(4096))]
pub(crate) struct OwnPages<T>(T);

impl<T> OwnPages<T> {
    /// Makes it on the heap; the calling thread is the first to touch its pages.
    pub(crate) fn new(value: T) -> Box<Self> {
        let mut place = Box::<Self>::new_uninit();
        // SAFETY: [unused] the pages hold this one value, which is not there yet.
        unsafe { discard_pages(place.as_mut_ptr().cast(), size_of::<Self>()) };
        place.write(Self(value));
        // SAFETY: it was written just now.
        unsafe { place.assume_init() }
    }
}

impl<T> Deref for OwnPages<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for OwnPages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of a pool's own structures, for tests that read back where its pages lie.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Storage {
    /// What it is.
    pub what: &'static str,
    /// The node whose helpers write it.
    pub node: NodeId,
    /// Its first byte.
    pub address: usize,
    /// Its length in bytes.
    pub bytes: usize,
}

impl Storage {
    pub(crate) fn of<T>(what: &'static str, node: NodeId, storage: &OwnPages<T>) -> Self {
        let address = std::ptr::from_ref(storage).addr();
        Self { what, node, address, bytes: size_of::<OwnPages<T>>() }
    }
}
