//! Interleaved blocks, regrouped so that each node's blocks are one range.
//!
//! A job cuts ranges. The blocks of one node are strewn over the region, so
//! the job counts in units of its own, in which each node's blocks follow one
//! another: node `k` of `n` has blocks `k`, `k + n`, `k + 2n` and so on.

use std::ops::Range;

use firsttouch_topology::NodeId;

/// Which bytes of a region an interleaved job's units are.
///
/// Only the region's last block may be short, and it is the last of its
/// node's. So the units of a node's share lie in its blocks as the bytes of a
/// file lie in its sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interleave {
    /// Bytes of the region.
    len: usize,
    /// Bytes of a block. Invariant: not zero.
    block: usize,
    /// Invariant: not empty, no node twice.
    nodes: Vec<NodeId>,
}

impl Interleave {
    pub(crate) fn new(len: usize, block: usize, nodes: Vec<NodeId>) -> Self {
        Self { len, block, nodes }
    }

    /// Bytes of a block.
    pub(crate) fn block(&self) -> usize {
        self.block
    }

    /// The nodes, in the order of their first blocks.
    pub(crate) fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Bytes of the blocks of a node that has the most of them.
    pub(crate) fn most_per_node(&self) -> usize {
        self.blocks().div_ceil(self.nodes.len()) * self.block
    }

    /// Blocks of the region, the short one included.
    fn blocks(&self) -> usize {
        self.len.div_ceil(self.block)
    }

    /// Units in which a share's space begins: a multiple of the block, as all blocks before are whole.
    ///
    /// Each share has room for as many blocks as the first, so that the shares
    /// of later nodes begin on a multiple even where one holds the short block.
    ///
    /// Saturates only where a block is absurdly long, and then only for nodes
    /// past the last block, which have no unit.
    fn base(&self, rank: usize) -> usize {
        rank.saturating_mul(self.most_per_node())
    }

    /// Each node's share, in units; empty for a node without blocks.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (NodeId, Range<usize>)> + '_ {
        let (blocks, nodes) = (self.blocks(), self.nodes.len());
        self.nodes.iter().enumerate().map(move |(rank, &node)| {
            let own = (blocks + nodes - 1 - rank) / nodes;
            let holds_last = blocks > 0 && (blocks - 1) % nodes == rank;
            let short = if holds_last { blocks * self.block - self.len } else { 0 };
            let base = self.base(rank);
            (node, base..base + own * self.block - short)
        })
    }

    /// Visits a byte range of the region block by block, each with the node it is on.
    pub(crate) fn homes(
        &self,
        bytes: Range<usize>,
    ) -> impl Iterator<Item = (NodeId, Range<usize>)> + use<'_> {
        let Range { mut start, end } = bytes;
        std::iter::from_fn(move || {
            if start >= end {
                return None;
            }
            let index = start / self.block;
            let part = start..end.min((index + 1).saturating_mul(self.block));
            start = part.end;
            Some((self.nodes[index % self.nodes.len()], part))
        })
    }

    /// Visits the bytes that a range of one node's units stands for: one range for each block it touches.
    pub(crate) fn bytes(
        &self,
        node: NodeId,
        units: Range<usize>,
    ) -> impl Iterator<Item = Range<usize>> + use<'_> {
        let rank = self.nodes.iter().position(|&other| other == node).unwrap_or(0);
        let base = self.base(rank);
        let Range { mut start, end } = units;
        std::iter::from_fn(move || {
            if start >= end {
                return None;
            }
            let (index, inside) = ((start - base) / self.block, (start - base) % self.block);
            let length = (self.block - inside).min(end - start);
            let first = (index * self.nodes.len() + rank) * self.block + inside;
            start += length;
            Some(first..first + length)
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interleave(len: usize, block: usize, nodes: u32) -> Interleave {
        Interleave::new(len, block, (0..nodes).map(|node| NodeId::new(node * 3)).collect())
    }

    #[test]
    fn blocks_go_round_the_nodes_and_the_last_may_be_short() {
        let blocks = interleave(1000, 300, 2);
        let shares: Vec<_> = blocks.shares().collect();
        assert_eq!(shares, [(NodeId::new(0), 0..600), (NodeId::new(3), 600..1000)]);
        let first: Vec<_> = blocks.bytes(NodeId::new(0), 0..600).collect();
        assert_eq!(first, [0..300, 600..900]);
        let second: Vec<_> = blocks.bytes(NodeId::new(3), 700..950).collect();
        assert_eq!(second, [400..600, 900..950]);
    }

    #[test]
    fn bytes_across_blocks_are_told_apart_by_node() {
        let blocks = interleave(1000, 300, 2);
        let homes: Vec<_> = blocks.homes(250..901).collect();
        let (first, second) = (NodeId::new(0), NodeId::new(3));
        let expected =
            [(first, 250..300), (second, 300..600), (first, 600..900), (second, 900..901)];
        assert_eq!(homes, expected);
        assert_eq!(blocks.homes(7..7).next(), None);
    }

    #[test]
    fn fewer_blocks_than_nodes_leave_some_without() {
        let shares: Vec<_> = interleave(500, 300, 4).shares().collect();
        let sizes: Vec<_> = shares.iter().map(|(_, units)| units.len()).collect();
        assert_eq!(sizes, [300, 200, 0, 0]);
    }

    #[test]
    fn a_block_longer_than_any_region_is_all_on_the_first_node() {
        let blocks = interleave(8192, usize::MAX & !4095, 4);
        let sizes: Vec<_> = blocks.shares().map(|(_, units)| units.len()).collect();
        assert_eq!(sizes, [8192, 0, 0, 0]);
        let bytes: Vec<_> = blocks.bytes(NodeId::new(0), 0..8192).collect();
        assert_eq!((bytes.len(), &bytes[0]), (1, &(0..8192)));
        assert_eq!(blocks.homes(0..8192).collect::<Vec<_>>(), [(NodeId::new(0), 0..8192)]);
    }

    proptest! {
        #[test]
        fn every_byte_is_one_unit_of_the_node_that_its_block_is_on(
            len in 1_usize..5000, block in 1_usize..400, nodes in 1_u32..9, cut in 1_usize..300,
        ) {
            let interleave = interleave(len, block, nodes);
            let mut owner = vec![None; len];
            let mut last_end = 0;
            for (node, units) in interleave.shares() {
                prop_assert!(units.start >= last_end && units.start % block == 0);
                last_end = units.end;
                // In pieces of any length, as chunks are.
                let mut start = units.start;
                while start < units.end {
                    let end = (start + cut).min(units.end);
                    let ranges: Vec<_> = interleave.bytes(node, start..end).collect();
                    prop_assert_eq!(ranges.iter().map(Range::len).sum::<usize>(), end - start);
                    for byte in ranges.into_iter().flatten() {
                        prop_assert!(owner[byte].is_none(), "byte {} is met twice", byte);
                        owner[byte] = Some(node);
                    }
                    start = end;
                }
            }
            for (byte, owner) in owner.into_iter().enumerate() {
                let rank = byte / block % nodes as usize;
                prop_assert_eq!(owner, Some(NodeId::new(rank as u32 * 3)));
            }
        }
    }
}
