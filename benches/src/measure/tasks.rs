//! The groups `join`, `tree` and `spawn`.

use anyhow::ensure;

use super::latency::{nanoseconds, time};
use super::tally::Tally;
use super::{Request, Sample};
use crate::runtime::{Count, Fib, InTurn, Node, Runtime, Work};
use crate::suite::{Effort, Group};

/// The tree's seed: one whose tree of ten generations has a million nodes or so.
const SEED: u64 = 7;

pub(super) fn measure(request: &Request, runtime: &mut dyn Runtime) -> anyhow::Result<Vec<Sample>> {
    let effort = request.effort;
    match request.group {
        Group::Join => join(request, effort, runtime),
        Group::Tree => tree(request, effort, runtime),
        _ => spawn(request, effort, runtime),
    }
}

fn join(
    request: &Request,
    effort: Effort,
    runtime: &mut dyn Runtime,
) -> anyhow::Result<Vec<Sample>> {
    let fib = Fib(effort.fib());
    // Threads start, and stacks are touched.
    runtime.fib(Fib(effort.fib() / 2));
    let mut answer = None;
    let took = time(|| answer = runtime.fib(fib));
    let Some(answer) = answer else { return Ok(Vec::new()) };
    ensure!(answer == fib.answer(), "{fib:?}: wrong answer: {answer}, not {}", fib.answer());
    Ok(per(request, "ns/join", nanoseconds(took), fib.joins()))
}

fn tree(
    request: &Request,
    effort: Effort,
    runtime: &mut dyn Runtime,
) -> anyhow::Result<Vec<Sample>> {
    let root = Node::root(SEED, effort.generations());
    runtime.count(Node::root(SEED, effort.generations() / 2));
    let mut counted = None;
    let took = time(|| counted = runtime.count(root));
    let Some(counted) = counted else { return Ok(Vec::new()) };
    let nodes = Count(root).run(&mut InTurn);
    ensure!(counted == nodes, "tree: wrong answer: {counted} nodes, not {nodes}");
    Ok(per(request, "ns/node", nanoseconds(took), nodes))
}

fn spawn(
    request: &Request,
    effort: Effort,
    runtime: &mut dyn Runtime,
) -> anyhow::Result<Vec<Sample>> {
    let (outer, inner) = effort.nested_tasks();
    let cases = request.group.cases(effort);
    let mut samples = Vec::new();
    for (case, nested) in cases.iter().zip([false, true]).filter(|(case, _)| request.wants(case)) {
        let tasks = if nested { outer * inner } else { effort.tasks() };
        let tally = Tally::new(tasks);
        let mut run = || match nested {
            true => runtime.spawn_nested(outer, inner, &|index| tally.mark(index)),
            false => runtime.spawn(tasks, &|index| tally.mark(index)),
        };
        // Memory for the tasks is had, and the tally touched.
        if run().is_none() {
            continue;
        }
        let took = time(|| {
            run();
        });
        tally.check(case, 2)?;
        let started = if nested { tasks + outer } else { tasks };
        samples.push(Sample::new(case, "ns/task", nanoseconds(took) / started as f64));
    }
    Ok(samples)
}

/// The one case of a request, as time per piece.
fn per(request: &Request, unit: &str, ns: f64, pieces: u64) -> Vec<Sample> {
    let value = ns / pieces.max(1) as f64;
    request.cases.iter().map(|case| Sample::new(case, unit, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_large_enough_to_measure_and_small_enough_to_wait_for() {
        let nodes = |effort: Effort| Count(Node::root(SEED, effort.generations())).run(&mut InTurn);
        assert_eq!(nodes(Effort::Full), 891_487);
        assert_eq!(nodes(Effort::Brief), 876);
    }
}
