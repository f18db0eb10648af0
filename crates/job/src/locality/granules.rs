//! Runs of pages made into parts, few enough to be worth it.
//!
//! Pure arithmetic, so that machines of any shape can be tried.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;

use firsttouch_memory::{AddressRange, NodeRun};
use firsttouch_topology::NodeId;

/// What was found out about a range of addresses, in bytes from its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// Parts that cover the range in order, neighbours on different nodes; none where no page has a place.
    pub(crate) parts: Vec<(NodeId, Range<usize>)>,
    /// Bytes on each node.
    pub(crate) on: BTreeMap<NodeId, usize>,
    /// Bytes that lie nowhere.
    pub(crate) nowhere: usize,
    /// Bytes that lie on the node of their part.
    pub(crate) local: usize,
}

/// How a range is cut where it lies in too many runs: granules of equal length, that start on pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granules {
    len: usize,
    /// Bytes from a granule's boundary to the range's start.
    before: usize,
    /// Bytes of a granule. Invariant: whole pages, not zero.
    granule: usize,
    most_parts: usize,
}

/// What one thread found out about some of a range.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// Where each run lies.
    Runs(Vec<Run>),
    /// How many bytes of each granule lie on which node, as it has more runs than there may be parts.
    Sums(BTreeMap<(usize, Option<NodeId>), usize>),
}

type Run = (Option<NodeId>, Range<usize>);

impl Granules {
    pub(crate) fn new(range: AddressRange, page_bytes: usize, most_parts: NonZeroUsize) -> Self {
        Self::cut(range.len(), range.start() % page_bytes, page_bytes, most_parts.get())
    }

    fn cut(len: usize, before: usize, page_bytes: usize, most_parts: usize) -> Self {
        let pages = before.saturating_add(len).div_ceil(page_bytes);
        let granule = pages.div_ceil(most_parts).max(1).saturating_mul(page_bytes);
        Self { len, before, granule, most_parts }
    }

    /// Takes in the runs of a piece that starts at a byte of the range.
    pub(crate) fn piece(&self, start: usize, runs: Vec<NodeRun>) -> Piece {
        let runs =
            runs.into_iter().map(|run| (run.node, start + run.bytes.start..start + run.bytes.end));
        let runs: Vec<Run> = runs.collect();
        if runs.len() <= self.most_parts {
            Piece::Runs(runs)
        } else {
            Piece::Sums(self.sums(&runs))
        }
    }

    /// Puts the pieces of the whole range together, which are in order.
    pub(crate) fn found(&self, pieces: Vec<Piece>) -> Found {
        let mut runs: Vec<Run> = Vec::new();
        let mut fits = true;
        for piece in &pieces {
            match piece {
                Piece::Runs(more) => more.iter().for_each(|run| append(&mut runs, run.clone())),
                Piece::Sums(_) => fits = false,
            }
        }
        if fits {
            let found = exact(&runs);
            if found.parts.len() <= self.most_parts {
                return found;
            }
        }
        let mut sums = BTreeMap::new();
        for piece in pieces {
            let more = match piece {
                Piece::Runs(runs) => self.sums(&runs),
                Piece::Sums(sums) => sums,
            };
            for (key, bytes) in more {
                *sums.entry(key).or_default() += bytes;
            }
        }
        self.coarse(&sums)
    }

    /// Sums up the bytes of each granule by node.
    fn sums(&self, runs: &[Run]) -> BTreeMap<(usize, Option<NodeId>), usize> {
        let mut sums = BTreeMap::new();
        for (node, bytes) in runs {
            let mut start = bytes.start;
            while start < bytes.end {
                let index = (self.before + start) / self.granule;
                let end = self.bytes(index).end.min(bytes.end);
                *sums.entry((index, *node)).or_default() += end - start;
                start = end;
            }
        }
        sums
    }

    /// The bytes of a granule.
    fn bytes(&self, index: usize) -> Range<usize> {
        let at = |index: usize| {
            index.saturating_mul(self.granule).saturating_sub(self.before).min(self.len)
        };
        at(index)..at(index + 1)
    }

    /// Gives each granule to a node.
    fn coarse(&self, sums: &BTreeMap<(usize, Option<NodeId>), usize>) -> Found {
        let mut found = Found::default();
        // What each node has of the granules so far beyond what it was given.
        let mut owed: BTreeMap<NodeId, i128> = BTreeMap::new();
        let mut parts: Vec<Run> = Vec::new();
        let mut entries = sums.iter().peekable();
        while let Some(&(&(index, _), _)) = entries.peek() {
            let mut here: Vec<(NodeId, usize)> = Vec::new();
            while let Some((&(_, node), &bytes)) = entries.next_if(|entry| entry.0.0 == index) {
                match node {
                    Some(node) => here.push((node, bytes)),
                    None => found.nowhere += bytes,
                }
            }
            let present: usize = here.iter().map(|&(_, bytes)| bytes).sum();
            for &(node, bytes) in &here {
                *found.on.entry(node).or_default() += bytes;
                *owed.entry(node).or_default() += bytes as i128;
            }
            let clear = |&&(_, bytes): &&(NodeId, usize)| bytes >= present - present / 4;
            let most_owed = |entry: &&(NodeId, usize)| {
                (owed.get(&entry.0).copied().unwrap_or(0), std::cmp::Reverse(entry.0))
            };
            let chosen = here.iter().find(clear).or_else(|| here.iter().max_by_key(most_owed));
            if let Some(&(node, bytes)) = chosen {
                found.local += bytes;
                *owed.entry(node).or_default() -= present as i128;
            }
            append(&mut parts, (chosen.map(|&(node, _)| node), self.bytes(index)));
        }
        found.parts = settled(&parts);
        found
    }
}

/// What was found where each run can be a part.
fn exact(runs: &[Run]) -> Found {
    let mut found = Found { parts: settled(runs), ..Found::default() };
    for (node, bytes) in runs {
        match node {
            Some(node) => *found.on.entry(*node).or_default() += bytes.len(),
            None => found.nowhere += bytes.len(),
        }
    }
    found.local = found.on.values().sum();
    found
}

/// Adds a run, to the last one where that is on the same node.
fn append(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        _ if run.1.is_empty() => {}
        Some((node, bytes)) if *node == run.0 => bytes.end = run.1.end,
        _ => runs.push(run),
    }
}

/// Gives what lies nowhere to the node before, or at the start to the first; none where there is no node.
fn settled(runs: &[Run]) -> Vec<(NodeId, Range<usize>)> {
    let mut parts: Vec<(NodeId, Range<usize>)> = Vec::new();
    let Some(mut now) = runs.iter().find_map(|(node, _)| *node) else { return parts };
    for (node, bytes) in runs {
        now = node.unwrap_or(now);
        match parts.last_mut() {
            Some((last, part)) if *last == now => part.end = bytes.end,
            _ => parts.push((now, bytes.clone())),
        }
    }
    parts
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: usize = 4096;

    fn node(number: u32) -> NodeId {
        NodeId::new(number)
    }

    /// Runs of whole pages, by the node of each page.
    fn runs(pages: &[Option<u32>]) -> Vec<Run> {
        let mut runs = Vec::new();
        for (index, page) in pages.iter().enumerate() {
            append(&mut runs, (page.map(node), index * PAGE..(index + 1) * PAGE));
        }
        runs
    }

    fn found(pages: &[Option<u32>], most_parts: usize) -> Found {
        let granules = Granules::cut(pages.len() * PAGE, 0, PAGE, most_parts);
        let runs = runs(pages);
        let piece = if runs.len() <= most_parts {
            Piece::Runs(runs)
        } else {
            Piece::Sums(granules.sums(&runs))
        };
        granules.found(vec![piece])
    }

    fn given(found: &Found, to: u32) -> usize {
        let parts = found.parts.iter().filter(|(on, _)| *on == node(to));
        parts.map(|(_, part)| part.len()).sum::<usize>() / PAGE
    }

    #[test]
    fn pages_that_lie_nowhere_go_with_those_before_them() {
        let pages = [None, Some(1), None, Some(1), Some(0), None];
        let found = found(&pages, 8);
        assert_eq!(found.parts, [(node(1), 0..4 * PAGE), (node(0), 4 * PAGE..6 * PAGE)]);
        assert_eq!((found.nowhere, found.local), (3 * PAGE, 3 * PAGE));
        assert_eq!(found.on, BTreeMap::from([(node(0), PAGE), (node(1), 2 * PAGE)]));
    }

    #[test]
    fn memory_that_lies_nowhere_has_no_part() {
        let found = found(&[None; 5], 2);
        assert_eq!((found.parts.len(), found.nowhere), (0, 5 * PAGE));
    }

    #[test]
    fn interleaved_pages_are_shared_out_evenly_among_few_parts() {
        let pages: Vec<_> = (0..4000).map(|page| Some(page % 4)).collect();
        let found = found(&pages, 100);
        assert!(found.parts.len() <= 100);
        for number in 0..4 {
            assert_eq!(given(&found, number), 1000, "node {number}");
        }
        assert_eq!(found.local, 1000 * PAGE);
    }

    #[test]
    fn uneven_interleaving_is_shared_out_in_proportion() {
        let pages: Vec<_> = (0..3000).map(|page| Some(u32::from(page % 3 == 0))).collect();
        let found = found(&pages, 50);
        let (two_thirds, third) = (given(&found, 0), given(&found, 1));
        assert!(two_thirds.abs_diff(2000) <= 60 && third.abs_diff(1000) <= 60, "{found:?}");
    }

    #[test]
    fn stray_pages_do_not_take_a_granule_from_its_node() {
        let strays = |page: usize| Some(if page % 7 == 3 { 5 } else { u32::from(page >= 2000) });
        let pages: Vec<_> = (0..4000).map(strays).collect();
        let found = found(&pages, 40);
        assert_eq!(found.parts, [(node(0), 0..2000 * PAGE), (node(1), 2000 * PAGE..4000 * PAGE)]);
    }

    #[test]
    fn granules_start_on_pages_where_the_range_does_not() {
        let granules = Granules::cut(10 * PAGE, 100, PAGE, 3);
        assert_eq!(granules.bytes(0), 0..4 * PAGE - 100);
        assert_eq!(granules.bytes(2), 8 * PAGE - 100..10 * PAGE);
        assert_eq!(granules.bytes(3), 10 * PAGE..10 * PAGE);
    }

    proptest! {
        #[test]
        fn parts_cover_the_range_in_order_and_are_few(
            pages in prop::collection::vec(prop::option::weighted(0.9, 0_u32..4), 1..300),
            cuts in prop::collection::vec(0_usize..300, 0..4),
            most_parts in 1_usize..40,
            before in 0_usize..PAGE,
        ) {
            let len = pages.len() * PAGE - before;
            let granules = Granules::cut(len, before, PAGE, most_parts);
            // In pieces of any length, as threads bring them.
            let mut ends: Vec<_> = cuts.iter().map(|cut| cut % pages.len()).collect();
            ends.extend([0, pages.len()]);
            ends.sort_unstable();
            let at = |page: usize| (page * PAGE).saturating_sub(before);
            let pieces = ends.windows(2).map(|pair| {
                let mut own: Vec<Run> = Vec::new();
                for (page, on) in (pair[0]..pair[1]).zip(&pages[pair[0]..pair[1]]) {
                    append(&mut own, (on.map(node), at(page)..at(page + 1)));
                }
                if own.len() > most_parts {
                    Piece::Sums(granules.sums(&own))
                } else {
                    Piece::Runs(own)
                }
            });
            let found = granules.found(pieces.collect());
            prop_assert!(found.parts.len() <= most_parts);
            let mut at_byte = 0;
            for (index, (on, part)) in found.parts.iter().enumerate() {
                prop_assert_eq!(part.start, at_byte);
                prop_assert!(part.end > part.start);
                prop_assert!(part.end == len || (part.end + before) % PAGE == 0);
                prop_assert!(found.on.contains_key(on));
                prop_assert!(index == 0 || found.parts[index - 1].0 != *on);
                at_byte = part.end;
            }
            let present: usize = found.on.values().sum();
            prop_assert_eq!(present + found.nowhere, len);
            prop_assert!(found.local <= present);
            prop_assert_eq!(at_byte, if present == 0 { 0 } else { len });
        }
    }
}
