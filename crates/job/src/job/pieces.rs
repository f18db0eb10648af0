//! Work that is no range: pieces of any kind, laid end to end so that they are cut and balanced as a range is.

use std::ops::Range;

use firsttouch_topology::{NodeId, Topology};

use crate::job::body::{Call, Calls};
use crate::location::parts::{self, Share};
use crate::{JobError, PlanError};

/// One piece of work that is no range: a segment, a mapping, a subtree.
///
/// # Examples
///
/// ```
/// use firsttouch_job::Piece;
/// use firsttouch_topology::NodeId;
///
/// let piece = Piece::new("a mapping", 4096).on(NodeId::new(1));
/// assert_eq!((piece.units, piece.node), (4096, Some(NodeId::new(1))));
/// ```
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece<T> {
    /// What the job's function gets.
    pub item: T,
    /// How much work it is, in units of the job's own; a piece of 0 counts as 1 where work is shared out.
    pub units: usize,
    /// The node it lives on; `None` for nowhere in particular.
    pub node: Option<NodeId>,
}

impl<T> Piece<T> {
    /// Returns a piece of so many units that lives nowhere in particular.
    pub fn new(item: T, units: usize) -> Self {
        Self { item, units, node: None }
    }

    /// Sets the node it lives on. Default: none in particular.
    pub fn on(self, node: NodeId) -> Self {
        Self { node: Some(node), ..self }
    }

    /// The units it takes where pieces lie end to end.
    fn width(&self) -> usize {
        self.units.max(1)
    }
}

/// What a [`Job`](crate::Job) runs over where that is no range; [`Job::over`](crate::Job::over) makes it.
#[derive(Clone, Debug)]
pub struct Pieces<T> {
    pub(crate) pieces: Vec<Piece<T>>,
    pub(crate) divisible: bool,
}

impl<T> Pieces<T> {
    pub(crate) fn new(pieces: impl IntoIterator<Item = Piece<T>>) -> Self {
        Self { pieces: pieces.into_iter().collect(), divisible: false }
    }

    /// Lays the pieces end to end, those of each node side by side.
    pub(crate) fn lay_out(&self) -> Result<Line, PlanError> {
        let mut order: Vec<usize> = (0..self.pieces.len()).collect();
        // Stable: pieces of a node keep their order, and the nodes that of their first pieces.
        let mut nodes: Vec<Option<NodeId>> = Vec::new();
        for piece in &self.pieces {
            if !nodes.contains(&piece.node) {
                nodes.push(piece.node);
            }
        }
        order.sort_by_key(|&piece| {
            let node = self.pieces[piece].node;
            nodes.iter().position(|&known| known == node)
        });
        let mut end = 0_usize;
        let ends = order.iter().map(|&piece| {
            let width = self.pieces[piece].width();
            let (start, size, max) = (end as u128, width as u128, usize::MAX as u128);
            end = end.checked_add(width).ok_or(PlanError::TooLong { start, size, max })?;
            Ok(end)
        });
        let ends = ends.collect::<Result<Vec<usize>, PlanError>>()?;
        Ok(Line {
            units: order.iter().map(|&piece| self.pieces[piece].units).collect(),
            order,
            ends,
            divisible: self.divisible,
        })
    }

    /// One share for each node that has pieces, and one for those that live nowhere in particular.
    pub(crate) fn shares(&self, line: &Line, topology: &Topology) -> Result<Vec<Share>, JobError> {
        let mut shares: Vec<Share> = Vec::new();
        for (place, &piece) in line.order.iter().enumerate() {
            let node = self.pieces[piece].node;
            let range = line.range(place);
            match shares.last_mut().filter(|share| share.node == node) {
                Some(share) => share.ranges[0].end = range.end,
                None => shares.push(Share { node, ranges: vec![range] }),
            }
        }
        let on_nodes = shares.iter().filter_map(|share| share.node);
        parts::check_nodes(on_nodes, topology)?;
        Ok(shares)
    }
}

/// Pieces that lie end to end: which of them a range of the line is.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The pieces in the order in which they lie.
    order: Vec<usize>,
    /// Where each ends. Invariant: ascending, each more than the one before.
    ends: Vec<usize>,
    /// The units of each, in the same order.
    units: Vec<usize>,
    divisible: bool,
}

impl Line {
    /// Units in all.
    pub(crate) fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Where the piece at a place lies.
    fn range(&self, place: usize) -> Range<usize> {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[place]
    }

    /// The call that one piece is to a chunk that reaches over it.
    fn call(&self, place: usize, chunk: &Range<usize>) -> Call {
        let Range { start, end } = self.range(place);
        let inside =
            if self.divisible { chunk.start.max(start)..chunk.end.min(end) } else { start..end };
        let of_piece = |at: usize| (at - start).min(self.units[place]);
        Call {
            piece: Some(self.order[place]),
            range: of_piece(inside.start)..of_piece(inside.end),
            units: inside.len(),
        }
    }
}

impl Calls for Line {
    /// A piece that may be cut is called for each chunk that has some of it, another by the chunk that it begins in.
    fn calls(&self, chunk: Range<usize>) -> impl Iterator<Item = Call> {
        let begins_before = |unit: usize| {
            // Place 0 begins at 0, and each other place where the one before ends.
            let after_first = self.ends.partition_point(|&end| end < unit);
            if unit == 0 { 0 } else { (after_first + 1).min(self.ends.len()) }
        };
        let first = if self.divisible {
            self.ends.partition_point(|&end| end <= chunk.start)
        } else {
            begins_before(chunk.start)
        };
        let last = begins_before(chunk.end);
        (first..last).map(move |place| self.call(place, &chunk))
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
