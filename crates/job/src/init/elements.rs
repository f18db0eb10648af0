//! Which elements a range of pages owns.

use std::ops::Range;

/// How elements of one size lie in a region: from its start, as many as fit.
///
/// Pages are handed out by the range, and an element may lie across the end
/// of one. It belongs to the range that it starts in. So ranges of pages that
/// do not overlap own elements that do not overlap, whatever the sizes, and
/// all elements are owned where the ranges cover the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elements {
    /// Bytes of an element. Invariant: not zero.
    size: usize,
    /// Where the last whole element ends.
    end: usize,
}

/// What a range of pages owns: elements, and bytes past the last of all elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    /// Starts and ends on element boundaries.
    pub(crate) elements: Range<usize>,
    pub(crate) rest: Range<usize>,
}

impl Elements {
    pub(crate) fn new(len: usize, size: usize) -> Self {
        Self { size, end: len - len % size }
    }

    /// Bytes of an element.
    pub(crate) fn size(self) -> usize {
        self.size
    }

    /// What a byte range of the region owns; neighbours of it own what is next to that.
    pub(crate) fn owned(&self, bytes: &Range<usize>) -> Owned {
        let (start, end) = (self.owned_from(bytes.start), self.owned_from(bytes.end));
        Owned {
            elements: start.min(self.end)..end.min(self.end),
            rest: start.max(self.end)..end.max(self.end),
        }
    }

    /// The first byte that a range owns which starts here. Grows with `start`.
    fn owned_from(&self, start: usize) -> usize {
        // Up to the last element's end there is a next boundary at or before that end.
        if start <= self.end { start.next_multiple_of(self.size) } else { start }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_that_divide_the_page_stay_on_their_pages() {
        let elements = Elements::new(10 * 4096, 8);
        let owned = elements.owned(&(4096..3 * 4096));
        assert_eq!(owned, Owned { elements: 4096..3 * 4096, rest: 40960..40960 });
    }

    #[test]
    fn an_element_across_a_boundary_belongs_to_where_it_starts() {
        let elements = Elements::new(8192, 24);
        assert_eq!(elements.owned(&(0..4096)).elements, 0..4104);
        let second = elements.owned(&(4096..8192));
        assert_eq!((second.elements, second.rest), (4104..8184, 8184..8192));
    }

    #[test]
    fn an_element_larger_than_the_region_leaves_only_the_rest() {
        let owned = Elements::new(4096, 10_000).owned(&(0..4096));
        assert_eq!(owned, Owned { elements: 0..0, rest: 0..4096 });
    }

    proptest! {
        #[test]
        fn neighbouring_ranges_own_everything_once(
            len in 1_usize..100_000, size in 1_usize..9000, step in 1_usize..9000,
        ) {
            let elements = Elements::new(len, size);
            let (mut at, mut rest_at) = (0, len - len % size);
            let mut start = 0;
            while start < len {
                let end = (start + step).min(len);
                let owned = elements.owned(&(start..end));
                prop_assert_eq!(owned.elements.start, at);
                prop_assert_eq!(owned.elements.len() % size, 0);
                prop_assert_eq!(owned.rest.start, rest_at);
                (at, rest_at) = (owned.elements.end, owned.rest.end);
                start = end;
            }
            prop_assert_eq!((at, rest_at), (len - len % size, len));
        }
    }
}
