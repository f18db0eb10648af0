//! How initial values are written.

/// How initial values are written to pages that the kernel has just cleared.
///
/// `docs/page-init.md` has what was measured. In short: what a core's own
/// cache holds of the zeros is best written over there, with plain stores; a
/// copy has its source go through the caches, and so is best written past
/// them; and so is what was cleared too long ago to be in any cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stores {
    /// What was measured to be fastest: cached for fills, streaming for copies and for pages too large for a cache. (the default)
    #[default]
    Auto,
    /// By pieces that a core's own cache holds: each is populated, and written while the zeros are still there.
    ///
    /// The last pieces stay in the caches. A piece is at least a page.
    Cached,
    /// Past the caches, which keep what they had: see [`streaming`](firsttouch_memory::streaming).
    Streaming,
}

/// Where initial values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// The same few bytes, or the closure that makes them.
    Made,
    /// As many bytes of memory.
    Copied,
}

/// How the pieces of a region are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writing {
    /// Bytes populated, and then written, at a time. Whole pages.
    pub(crate) piece: usize,
    pub(crate) streams: bool,
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
    pub(crate) fn writing(self, page_bytes: usize, values: Values) -> Writing {
        let streams = match self {
            Self::Cached => false,
            Self::Streaming => true,
            Self::Auto => values == Values::Copied || page_bytes > LONGEST_CACHED_PAGE,
        };
        Writing { piece: PIECE.next_multiple_of(page_bytes), streams }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_pages_that_a_cache_holds_where_one_page_does() {
        let piece = |page_bytes| Stores::Auto.writing(page_bytes, Values::Made).piece;
        assert_eq!(piece(4 << 10), 256 << 10);
        assert_eq!(piece(64 << 10), 256 << 10);
        assert_eq!(piece(2 << 20), 2 << 20);
        assert_eq!(piece(1 << 30), 1 << 30);
    }

    #[test]
    fn copies_and_pages_beyond_a_cache_are_streamed_unless_told_otherwise() {
        let streams = |stores: Stores, page, values| stores.writing(page, values).streams;
        for page in [4 << 10, 2 << 20, 1 << 30] {
            let is_long = page == 1 << 30;
            assert_eq!(streams(Stores::Auto, page, Values::Made), is_long);
            assert!(streams(Stores::Auto, page, Values::Copied));
            for values in [Values::Made, Values::Copied] {
                assert!(streams(Stores::Streaming, page, values));
                assert!(!streams(Stores::Cached, page, values));
            }
        }
    }
}
