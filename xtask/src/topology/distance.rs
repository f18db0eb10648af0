//! Distances between nodes, as a table where there are few and in groups where there are many.

use std::collections::BTreeMap;

use firsttouch::{NodeId, NodeSet, Topology};

use super::text::wrapped;
use super::tree::line;

/// The most nodes whose distances are drawn as a table, which is then half a screen wide.
const TABLE_NODES: usize = 16;

pub(super) fn draw(out: &mut String, topology: &Topology) {
    let nodes: Vec<_> = topology.nodes().iter().map(|node| node.id()).collect();
    if nodes.len() < 2 {
        return;
    }
    if topology.distances().is_none() {
        line(out, format_args!("\nDistances: none known; 10 within a node and 20 between any two"));
        return;
    }
    let groups = groups(topology, &nodes);
    if let [all] = &groups[..] {
        let remote = topology.distance(all[0], all[1]);
        line(out, format_args!("\nDistances: 10 within a node and {remote} between any two"));
    } else if nodes.len() <= TABLE_NODES {
        line(out, format_args!("\nDistances from a node (row) to a node (column)"));
        table(out, topology, &nodes);
    } else {
        line(out, format_args!("\nDistances from nodes to others"));
        for group in groups {
            let text = describe(topology, &group, &nodes);
            for (row, text) in wrapped(&text).into_iter().enumerate() {
                line(out, format_args!("  {}{text}", if row == 0 { "" } else { "  " }));
            }
        }
    }
}

fn table(out: &mut String, topology: &Topology, nodes: &[NodeId]) {
    let every = nodes.iter().flat_map(|&a| nodes.iter().map(move |&b| topology.distance(a, b)));
    let ids = nodes.iter().map(|id| id.os_index());
    let width = every.chain(ids).max().unwrap_or(0).to_string().len();
    let cell = |value: u32| format!(" {value:>width$}");
    let header: String = nodes.iter().map(|id| cell(id.os_index())).collect();
    line(out, format_args!("  {:>width$} {header}", ""));
    for &from in nodes {
        let row: String = nodes.iter().map(|&to| cell(topology.distance(from, to))).collect();
        line(out, format_args!("  {:>width$}:{row}", from.os_index()));
    }
}

/// Puts nodes together that are equally far from each other and from every other node.
fn groups(topology: &Topology, nodes: &[NodeId]) -> Vec<Vec<NodeId>> {
    let mut groups: Vec<Vec<NodeId>> = Vec::new();
    let joins = |group: &[NodeId], node: NodeId| {
        let (first, between) = match *group {
            [first] => (first, topology.distance(first, node)),
            [first, second, ..] => (first, topology.distance(first, second)),
            [] => return false,
        };
        let both = |a, b| topology.distance(a, b) == between && topology.distance(b, a) == between;
        let same = |&to: &NodeId| topology.distance(node, to) == topology.distance(first, to);
        let mut others = nodes.iter().filter(|&&other| other != node && other != first);
        group.iter().all(|&member| both(member, node)) && others.all(same)
    };
    for &node in nodes {
        match groups.iter_mut().find(|group| joins(group, node)) {
            Some(group) => group.push(node),
            None => groups.push(vec![node]),
        }
    }
    groups
}

/// Returns `60-63: 10 to itself; 22 to each other; 26 to 52-59`.
fn describe(topology: &Topology, group: &[NodeId], nodes: &[NodeId]) -> String {
    let from: NodeSet = group.iter().copied().collect();
    let mut texts = Vec::new();
    if let [first, second, ..] = *group {
        texts.push(format!("{} to each other", topology.distance(first, second)));
    }
    let mut near = BTreeMap::<u32, NodeSet>::new();
    for &to in nodes.iter().filter(|&&to| !from.contains(to)) {
        near.entry(topology.distance(group[0], to)).or_default().insert(to);
    }
    texts.extend(near.iter().map(|(distance, to)| format!("{distance} to {to}")));
    format!("{from}: {}", texts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equally_far_nodes_are_one_line() -> Result<(), firsttouch::TopologyError> {
        let topology = Topology::synthetic("node:20 pu:1")?;
        let nodes: Vec<_> = topology.nodes().iter().map(|node| node.id()).collect();
        let groups = groups(&topology, &nodes);
        assert_eq!(groups.len(), 1);
        assert_eq!(describe(&topology, &groups[0], &nodes), "0-19: 20 to each other");
        let alone = describe(&topology, &nodes[..1], &nodes);
        assert_eq!(alone, "0: 20 to 1-19");
        Ok(())
    }
}
