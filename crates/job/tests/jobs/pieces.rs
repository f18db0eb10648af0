//! Jobs over pieces.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use firsttouch_job::{CancelToken, Job, JobError, Piece, PlanError, RunError, Steal};

use crate::{Result, n, node, pool};

#[test]
fn every_piece_is_run_once_with_its_item_and_node() -> Result {
    let pool = pool(3, 2);
    let units = |number: usize| number * 7 % 13;
    let pieces = |number: usize| {
        let piece = Piece::new(number, units(number));
        if number % 4 == 3 { piece } else { piece.on(node((number % 3) as u32)) }
    };
    for steal in [Steal::Node, Steal::Anywhere] {
        for threads in 1..7 {
            let ran: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            let job = Job::over((0..100).map(pieces)).steal(steal).max_threads(n(threads));
            let report = job.run(&pool, |&number, chunk| {
                assert_eq!(chunk.piece, Some(number));
                assert_eq!(chunk.range(), 0..units(number));
                assert_eq!(chunk.node, pieces(number).node);
                ran[number].fetch_add(1, Ordering::Relaxed);
            })?;
            assert!(ran.iter().all(|ran| ran.load(Ordering::Relaxed) == 1));
            let width: usize = (0..100).map(|number| units(number).max(1)).sum();
            assert_eq!((report.size, report.completed, report.chunks), (width, width, 100));
            assert_eq!(report.nodes.len(), 4, "three nodes, and no node in particular");
        }
    }
    Ok(())
}

#[test]
fn a_divisible_piece_is_shared_and_each_unit_comes_once() -> Result {
    let pool = pool(2, 2);
    let lengths = [1000, 3, 0, 250];
    let pieces = lengths.iter().map(|&length| Piece::new(length, length));
    let seen: Mutex<HashMap<usize, Vec<usize>>> = Mutex::default();
    let job = Job::over(pieces).divisible(true).max_chunk(64);
    let report = job.run(&pool, |&length, chunk| {
        assert!(chunk.end <= length && chunk.range().len() <= 64);
        let mut seen = seen.lock().expect("no panic");
        seen.entry(chunk.piece.expect("a piece")).or_default().extend(chunk.range());
    })?;
    assert_eq!(report.completed, 1254);
    for (piece, mut units) in seen.into_inner()? {
        units.sort_unstable();
        assert!(units.into_iter().eq(0..lengths[piece]));
    }
    Ok(())
}

#[test]
fn a_tree_is_run_leaf_by_leaf_and_a_failing_leaf_undoes_the_others() {
    /// Mappings below mappings.
    enum Tree {
        Leaf(&'static str, usize),
        Node(Vec<Tree>),
    }
    fn leaves(tree: &Tree) -> Vec<Piece<&'static str>> {
        match tree {
            Tree::Leaf(name, pages) => vec![Piece::new(*name, *pages)],
            Tree::Node(children) => children.iter().flat_map(leaves).collect(),
        }
    }
    let tree = Tree::Node(vec![
        Tree::Leaf("text", 40),
        Tree::Node(vec![Tree::Leaf("heap", 900), Tree::Leaf("guard", 0)]),
        Tree::Leaf("stack", 60),
    ]);
    let pinned = Mutex::new(Vec::new());
    let ended = Job::over(leaves(&tree)).try_run_with_undo(
        &pool(1, 2),
        |&name, chunk| {
            if name == "guard" {
                return Err(chunk.piece);
            }
            pinned.lock().expect("no panic").push(name);
            Ok(())
        },
        |&name, _| pinned.lock().expect("no panic").retain(|&pinned| pinned != name),
    );
    let Err(RunError::Chunk(failed)) = ended else { panic!("the guard fails") };
    assert_eq!((failed.error, failed.chunk.piece), (Some(2), Some(2)));
    assert!(failed.to_string().starts_with("piece 2: chunk 0..0 failed"), "{failed}");
    assert!(pinned.into_inner().expect("no panic").is_empty());
}

#[test]
fn a_job_over_pieces_stops_between_two_of_one_chunk() {
    let token = CancelToken::new();
    let job = Job::over((0..10).map(|number| Piece::new(number, 1))).cancel(&token);
    let ended = job.max_threads(n(1)).run(&pool(1, 1), |&number, _| {
        if number == 4 {
            token.cancel();
        }
    });
    let Err(JobError::Stopped(stopped)) = ended else { panic!("it is stopped") };
    assert_eq!(stopped.report.completed, 5);
}

#[test]
fn no_pieces_and_impossible_ones() -> Result {
    let pool = pool(2, 1);
    let none: [Piece<()>; 0] = [];
    assert_eq!(Job::over(none).run(&pool, |(), _| ())?.size, 0);
    let unknown = Job::over([Piece::new((), 1).on(node(9))]).run(&pool, |(), _| ());
    assert!(matches!(unknown, Err(JobError::UnknownNode { .. })));
    let long = Job::over([Piece::new((), usize::MAX), Piece::new((), 1)]).run(&pool, |(), _| ());
    assert!(matches!(long, Err(JobError::Plan(PlanError::TooLong { .. }))));
    Ok(())
}
