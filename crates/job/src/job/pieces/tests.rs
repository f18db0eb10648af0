use proptest::prelude::*;

use super::*;
use crate::testing::{four_nodes, node};

fn pieces(units: &[usize]) -> Pieces<usize> {
    Pieces::new(units.iter().enumerate().map(|(number, &units)| Piece::new(number, units)))
}

fn calls(line: &Line, chunk: Range<usize>) -> Vec<(usize, Range<usize>)> {
    line.calls(chunk).map(|call| (call.piece.expect("a piece"), call.range)).collect()
}

#[test]
fn an_indivisible_piece_is_called_by_the_chunk_it_begins_in() -> Result<(), PlanError> {
    let line = pieces(&[5, 0, 3, 10]).lay_out()?;
    assert_eq!(line.len(), 19);
    assert_eq!(calls(&line, 0..19), [(0, 0..5), (1, 0..0), (2, 0..3), (3, 0..10)]);
    assert_eq!(calls(&line, 0..1), [(0, 0..5)]);
    assert_eq!(calls(&line, 1..5), []);
    assert_eq!(calls(&line, 5..6), [(1, 0..0)]);
    assert_eq!(calls(&line, 6..10), [(2, 0..3), (3, 0..10)]);
    assert_eq!(calls(&line, 10..19), []);
    Ok(())
}

#[test]
fn a_divisible_piece_is_called_for_each_part() -> Result<(), PlanError> {
    let mut pieces = pieces(&[5, 0, 3]);
    pieces.divisible = true;
    let line = pieces.lay_out()?;
    assert_eq!(calls(&line, 0..3), [(0, 0..3)]);
    assert_eq!(calls(&line, 3..7), [(0, 3..5), (1, 0..0), (2, 0..1)]);
    assert_eq!(calls(&line, 7..9), [(2, 1..3)]);
    Ok(())
}

#[test]
fn pieces_of_a_node_lie_side_by_side_in_their_order() -> Result<(), Box<dyn std::error::Error>> {
    let on = [Some(3), None, Some(0), Some(3), None];
    let pieces = Pieces::new(on.iter().zip(1..).map(|(on, units)| {
        let piece = Piece::new((), units);
        on.map_or(piece.clone(), |number| piece.on(node(number)))
    }));
    let line = pieces.lay_out()?;
    let places: Vec<_> = calls(&line, 0..line.len()).into_iter().map(|(piece, _)| piece).collect();
    assert_eq!(places, [0, 3, 1, 4, 2]);
    let four = four_nodes();
    let shares = pieces.shares(&line, &four.topology)?;
    let shares: Vec<_> = shares.into_iter().map(|share| (share.node, share.ranges)).collect();
    let expected = [(Some(3), 0..5), (None, 5..12), (Some(0), 12..15)];
    assert_eq!(shares, expected.map(|(number, range)| (number.map(node), vec![range])));
    Ok(())
}

#[test]
fn unknown_nodes_and_too_many_units_are_errors() {
    let four = four_nodes();
    let pieces = Pieces::new([Piece::new((), 1).on(node(4))]);
    let line = pieces.lay_out().expect("one unit");
    let unknown = pieces.shares(&line, &four.topology);
    assert!(matches!(unknown, Err(JobError::UnknownNode { node: found, .. }) if found == node(4)));
    let long = self::pieces(&[usize::MAX - 1, 2]).lay_out();
    assert!(matches!(long, Err(PlanError::TooLong { size: 2, .. })));
    assert!(self::pieces(&[usize::MAX - 1, 1]).lay_out().is_ok());
}

proptest! {
    #[test]
    fn chunks_call_each_piece_or_unit_once(
        units in prop::collection::vec(0_usize..9, 0..20),
        cuts in prop::collection::vec(0_usize..200, 0..12),
        divisible: bool,
    ) {
        let pieces = Pieces { divisible, ..pieces(&units) };
        let line = pieces.lay_out()?;
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(line.len())).collect();
        cuts.extend([0, line.len()]);
        cuts.sort_unstable();
        let mut done: Vec<Vec<Range<usize>>> = vec![Vec::new(); units.len()];
        let mut width = 0;
        for chunk in cuts.windows(2).filter(|chunk| chunk[0] < chunk[1]) {
            for call in line.calls(chunk[0]..chunk[1]) {
                width += call.units;
                done[call.piece.expect("a piece")].push(call.range);
            }
        }
        prop_assert_eq!(width, line.len());
        for (calls, &units) in done.iter().zip(&units) {
            prop_assert!(divisible || calls.len() == 1);
            prop_assert!(!calls.is_empty());
            let mut at = 0;
            for call in calls {
                prop_assert_eq!(call.start, at);
                at = call.end;
            }
            prop_assert_eq!(at, units);
        }
    }
}
