//! A job's range as one share per node: checked, split, merged.

use std::ops::Range;

use firsttouch_topology::{NodeId, Topology};

use crate::JobError;

/// What one node has of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// `None` for a share that lives nowhere in particular.
    pub(crate) node: Option<NodeId>,
    /// Invariant: ascending, none empty, none overlapping another of the job.
    pub(crate) ranges: Vec<Range<usize>>,
}

impl Share {
    /// Units in all of the ranges.
    pub(crate) fn size(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }
}

/// The whole range as one share for any thread; none where it is empty.
pub(crate) fn anywhere(range: Range<usize>) -> Vec<Share> {
    if range.is_empty() { Vec::new() } else { vec![Share { node: None, ranges: vec![range] }] }
}

/// Puts each node's parts together, nodes in order of their first part; skips empty parts.
pub(crate) fn by_node(parts: impl IntoIterator<Item = (NodeId, Range<usize>)>) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for (node, range) in parts {
        if range.is_empty() {
            continue;
        }
        match shares.iter_mut().find(|share| share.node == Some(node)) {
            Some(share) => share.ranges.push(range),
            None => shares.push(Share { node: Some(node), ranges: vec![range] }),
        }
    }
    for share in &mut shares {
        share.ranges.sort_by_key(|range| range.start);
    }
    shares
}

/// Checks that the parts are on nodes of the machine and cover the range, each unit once.
pub(crate) fn check(
    range: &Range<usize>,
    parts: &[(NodeId, Range<usize>)],
    topology: &Topology,
) -> Result<(), JobError> {
    check_nodes(parts.iter().map(|&(node, _)| node), topology)?;
    cover(range, parts)
}

/// Checks that the machine has these nodes.
pub(crate) fn check_nodes(
    mut nodes: impl Iterator<Item = NodeId>,
    topology: &Topology,
) -> Result<(), JobError> {
    let Some(node) = nodes.find(|&node| topology.node(node).is_none()) else { return Ok(()) };
    let known = topology.nodes().iter().map(|node| node.id()).collect();
    Err(JobError::UnknownNode { node, known })
}

/// Checks that the parts cover the range, each unit once.
fn cover(range: &Range<usize>, parts: &[(NodeId, Range<usize>)]) -> Result<(), JobError> {
    let mut sorted: Vec<_> = parts.iter().filter(|(_, part)| !part.is_empty()).collect();
    sorted.sort_by_key(|(_, part)| part.start);
    let mut at = range.start;
    let mut last: Option<&(NodeId, Range<usize>)> = None;
    for entry in sorted {
        let (node, part) = entry;
        if part.start < range.start || part.end > range.end {
            let (node, part, range) = (*node, part.clone(), range.clone());
            return Err(JobError::PartOutside { node, part, range });
        }
        if let Some((first_node, first)) = last.filter(|_| part.start < at) {
            return Err(JobError::PartsOverlap {
                first_node: *first_node,
                first: first.clone(),
                second_node: *node,
                second: part.clone(),
            });
        }
        if part.start > at {
            return Err(JobError::PartsMiss { gap: at..part.start });
        }
        at = part.end;
        last = Some(entry);
    }
    if at < range.end {
        return Err(JobError::PartsMiss { gap: at..range.end });
    }
    Ok(())
}

/// Cuts a range in proportion to weights, one piece each, at multiples of `align`.
///
/// Each cut is at most half an `align` from the exact proportion. A weight of
/// 0 gets an empty piece; where all are 0 they count as equal.
pub(crate) fn in_proportion(
    range: Range<usize>,
    align: usize,
    weights: &[u128],
) -> Vec<Range<usize>> {
    let equal = vec![1; weights.len()];
    let weights = if weights.iter().any(|&weight| weight > 0) { weights } else { &equal[..] };
    // Weights below 2^48, of which fewer than 2^15 and times 2^64 units fit into 128 bits.
    let widest = weights.iter().max().map_or(0, |weight| u128::BITS - weight.leading_zeros());
    let scaled = |weight: u128| weight >> widest.saturating_sub(48);
    let total: u128 = weights.iter().copied().map(scaled).sum();
    let first = range.start / align;
    let units = (range.end.div_ceil(align) - first) as u128;
    let mut at = range.start;
    let mut weight_before = 0;
    let mut pieces = Vec::with_capacity(weights.len());
    for &weight in weights {
        weight_before += scaled(weight);
        let unit = (units * weight_before * 2 + total) / (total * 2);
        // The last cut is past the end where the end is no multiple.
        let cut = (first + unit as usize).saturating_mul(align);
        let cut = cut.clamp(at, range.end.max(at));
        pieces.push(at..cut);
        at = cut;
    }
    pieces
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId::new(number)
    }

    #[test]
    fn parts_that_cover_the_range_in_any_order_are_accepted() {
        let parts = [(node(3), 50..100), (node(0), 10..50), (node(1), 50..50), (node(0), 100..101)];
        assert!(cover(&(10..101), &parts).is_ok());
        let shares = by_node(parts);
        assert_eq!(shares.len(), 2, "the empty part is skipped");
        assert_eq!(shares[1], Share { node: Some(node(0)), ranges: vec![10..50, 100..101] });
        assert_eq!(shares[1].size(), 41);
    }

    #[test]
    fn overlap_gap_and_excess_are_told_apart() {
        let overlap = cover(&(0..100), &[(node(0), 0..60), (node(1), 59..100)]);
        assert!(
            matches!(overlap, Err(JobError::PartsOverlap { second, .. }) if second == (59..100))
        );
        let inside = cover(&(0..100), &[(node(0), 0..100), (node(1), 20..30)]);
        assert!(matches!(inside, Err(JobError::PartsOverlap { .. })));
        let gap = cover(&(0..100), &[(node(0), 0..60), (node(1), 61..100)]);
        assert!(matches!(gap, Err(JobError::PartsMiss { gap }) if gap == (60..61)));
        let short = cover(&(0..100), &[(node(0), 0..99)]);
        assert!(matches!(short, Err(JobError::PartsMiss { gap }) if gap == (99..100)));
        let excess = cover(&(0..100), &[(node(0), 0..101)]);
        assert!(matches!(excess, Err(JobError::PartOutside { .. })));
        assert!(cover(&(5..5), &[]).is_ok(), "an empty range needs no part");
    }

    #[test]
    fn proportions_are_kept_on_aligned_cuts() {
        assert_eq!(in_proportion(0..64, 4, &[1, 1, 1, 1]), [0..16, 16..32, 32..48, 48..64]);
        assert_eq!(in_proportion(0..64, 4, &[3, 0, 1]), [0..48, 48..48, 48..64]);
        assert_eq!(in_proportion(0..64, 4, &[0, 0]), [0..32, 32..64]);
        assert_eq!(in_proportion(3..62, 8, &[1, 1]), [3..32, 32..62]);
        let pieces = in_proportion(0..4096, 4096, &[1, 1]);
        assert_eq!(pieces.iter().filter(|piece| !piece.is_empty()).count(), 1);
        assert!(in_proportion(0..10, 1, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn proportional_pieces_cover_in_order_and_nearly_exactly(
            start in 0_usize..usize::MAX >> 24,
            size in 0_usize..=usize::MAX >> 2,
            align in prop_oneof![1_usize..10_000, Just(4096), Just(1 << 30), Just(usize::MAX)],
            weights in prop::collection::vec(
                prop_oneof![0_u128..600, any::<u64>().prop_map(u128::from)], 1..70),
        ) {
            let range = start..start + size;
            let pieces = in_proportion(range.clone(), align, &weights);
            prop_assert_eq!(pieces.len(), weights.len());
            let mut at = start;
            for piece in &pieces {
                prop_assert_eq!(piece.start, at);
                prop_assert!(piece.end == range.end || piece.end == start || piece.end % align == 0);
                at = piece.end;
            }
            prop_assert_eq!(at, range.end);
            let total: f64 = weights.iter().map(|&weight| weight as f64).sum();
            if total > 0.0 {
                for (piece, &weight) in pieces.iter().zip(&weights) {
                    let exact = size as f64 * weight as f64 / total;
                    let slack = 2.0 * align as f64 + size as f64 * 1e-9;
                    prop_assert!((piece.len() as f64 - exact).abs() <= slack);
                    prop_assert!(weight > 0 || piece.is_empty());
                }
            }
        }
    }
}
