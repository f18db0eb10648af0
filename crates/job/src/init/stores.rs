//! How initial values are written.

use crate::init::provide::Contents;

/// How initial values are written to pages that the kernel has just cleared.
///
/// `docs/page-init.md` has what was measured. In short: pages are best not
/// cleared at all. Where they are, what a core's own cache holds of the zeros
/// is best written over there, with plain stores; a copy has its source go
/// through the caches, and so is best written past them; and so is what was
/// cleared too long ago to be in any cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stores {
    /// What was measured to be fastest, on one machine: provided where that can be had; else cached for fills, streaming for copies and for pages too large for a cache. (the default)
    #[default]
    Auto,
    /// By the kernel, which copies each page's contents into it instead of clearing it (`userfaultfd`).
    ///
    /// Zeros are copied too: from a few that stay in the cache. It can be had
    /// for private base pages, and hugetlb pages of up to 4 MiB, with elements
    /// whose size divides the page; what cannot be had so is as with
    /// [`Stores::Auto`]. See [`Provider`](firsttouch_memory::Provider).
    Provided,
    /// By pieces that a core's own cache holds: each is populated, and written while the zeros are still there.
    ///
    /// The last pieces stay in the caches. A piece is at least a page.
    Cached,
    /// Past the caches, which keep what they had: see [`streaming`](firsttouch_memory::streaming).
    Streaming,
}

/// How the pieces of a region are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writing {
    /// Bytes provided, or populated and then written, at a time. Whole pages.
    piece: usize,
    pub(crate) streams: bool,
    /// Whether pages come with their contents where that can be had.
    pub(crate) provides: bool,
}

/// The most bytes populated before they are written, where a page is not longer.
///
/// A piece that the kernel has just cleared is still in a core's own cache
/// when it is written; the caches of that level start at this size.
const PIECE: usize = 256 << 10;

/// The longest pages of which a good part stays in a cache until they are written.
const LONGEST_CACHED_PAGE: usize = 4 << 20;

impl Stores {
    /// How a region of such pages is written.
    pub(crate) fn writing(self, page_bytes: usize, contents: Contents<'_>) -> Writing {
        let streams = match self {
            Self::Cached => false,
            Self::Streaming => true,
            Self::Auto | Self::Provided => {
                matches!(contents, Contents::Copied(_)) || page_bytes > LONGEST_CACHED_PAGE
            }
        };
        let provides =
            matches!(self, Self::Auto | Self::Provided) && page_bytes <= LONGEST_CACHED_PAGE;
        Writing { piece: PIECE.next_multiple_of(page_bytes), streams, provides }
    }
}

impl Writing {
    /// Bytes at a time: as long as there are where nothing is written to what the kernel clears.
    pub(crate) fn piece(self, contents: Contents<'_>, is_provided: bool) -> usize {
        if matches!(contents, Contents::Zeros) && !is_provided { usize::MAX } else { self.piece }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_pages_that_a_cache_holds_where_one_page_does() {
        let piece = |page_bytes| Stores::Auto.writing(page_bytes, Contents::Repeated).piece;
        assert_eq!(piece(4 << 10), 256 << 10);
        assert_eq!(piece(64 << 10), 256 << 10);
        assert_eq!(piece(2 << 20), 2 << 20);
        assert_eq!(piece(1 << 30), 1 << 30);
    }

    #[test]
    fn copies_and_pages_beyond_a_cache_are_streamed_unless_told_otherwise() {
        let streams = |stores: Stores, page, contents| stores.writing(page, contents).streams;
        for page in [4 << 10, 2 << 20, 1 << 30] {
            let is_long = page == 1 << 30;
            for contents in [Contents::Repeated, Contents::Copied(&[])] {
                let by_default = is_long || matches!(contents, Contents::Copied(_));
                assert_eq!(streams(Stores::Auto, page, contents), by_default);
                assert_eq!(streams(Stores::Provided, page, contents), by_default);
                assert!(streams(Stores::Streaming, page, contents));
                assert!(!streams(Stores::Cached, page, contents));
            }
        }
    }

    #[test]
    fn pages_are_provided_by_default_where_a_cache_holds_one() {
        let provides = |stores: Stores, page| stores.writing(page, Contents::Zeros).provides;
        for stores in [Stores::Auto, Stores::Provided] {
            assert!(provides(stores, 4 << 10) && provides(stores, 2 << 20));
            assert!(!provides(stores, 32 << 20) && !provides(stores, 1 << 30));
        }
        assert!(!provides(Stores::Cached, 4 << 10) && !provides(Stores::Streaming, 4 << 10));
    }
}
