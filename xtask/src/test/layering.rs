//! The step that keeps the arrows between crates one-way.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use cargo_metadata::{DependencyKind, PackageId};

use super::project::Project;
use super::step::{Finding, passed};

/// Each crate under `crates/`, and those of them that it may be built from.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("firsttouch-testing", &["firsttouch-topology"]),
    ("firsttouch-topology", &[]),
    ("firsttouch-memory", &["firsttouch-topology"]),
    ("firsttouch-pool", &["firsttouch-topology"]),
    ("firsttouch-job", &["firsttouch-topology", "firsttouch-memory", "firsttouch-pool"]),
    (
        "firsttouch",
        &["firsttouch-topology", "firsttouch-memory", "firsttouch-pool", "firsttouch-job"],
    ),
];

/// Crates that build, or look for, C.
const BUILD_C: [&str; 5] = ["autotools", "bindgen", "cc", "cmake", "pkg-config"];

pub(super) fn check(project: &Project) -> anyhow::Result<Finding> {
    let graph = graph(project)?;
    let wrong = against_the_arrows(&graph);
    ensure!(wrong.is_empty(), "against the layering: {}", wrong.join(", "));
    for (library, _) in MAY_USE {
        ensure!(graph.contains_key(library), "the workspace has no crate {library}");
        let reached = reachable(&graph, library);
        let c: Vec<_> = BUILD_C.into_iter().filter(|&name| reached.contains(name)).collect();
        ensure!(c.is_empty(), "{library} builds C by default, through {}", c.join(", "));
    }
    let all = reachable(&graph, "firsttouch").len();
    passed(format!("{all} crates below the face, none of them C"))
}

/// Each package's name and those it is built from: dependencies of tests are not among them.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn graph(project: &Project) -> anyhow::Result<Graph> {
    let metadata = &project.metadata;
    let names: BTreeMap<&PackageId, String> =
        metadata.packages.iter().map(|package| (&package.id, package.name.to_string())).collect();
    let name = |id: &PackageId| names.get(id).cloned().with_context(|| format!("no package {id}"));
    let resolve = metadata.resolve.as_ref().context("cargo resolved no dependencies")?;
    let mut graph = Graph::new();
    for node in &resolve.nodes {
        let built = node.deps.iter().filter(|dependency| {
            dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
        });
        let built =
            built.map(|dependency| name(&dependency.pkg)).collect::<anyhow::Result<Vec<_>>>()?;
        // Two versions of one package count as one: their names are what matters here.
        graph.entry(name(&node.id)?).or_default().extend(built);
    }
    Ok(graph)
}

fn against_the_arrows(graph: &Graph) -> Vec<String> {
    let ours = MAY_USE.map(|(name, _)| name);
    let wrong = MAY_USE.iter().flat_map(|(library, allowed)| {
        let used = graph.get(*library).into_iter().flatten().map(String::as_str);
        let wrong = used.filter(|name| ours.contains(name) && !allowed.contains(name));
        wrong.map(move |name| format!("{library} uses {name}"))
    });
    wrong.collect()
}

fn reachable<'a>(graph: &'a Graph, from: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut ahead = vec![from];
    while let Some(name) = ahead.pop() {
        if reached.insert(name) {
            ahead.extend(graph.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for &(from, to) in edges {
            graph.entry(from.to_owned()).or_default().insert(to.to_owned());
        }
        graph
    }

    #[test]
    fn arrows_down_are_right_and_arrows_up_or_across_are_named() {
        let down = [("firsttouch-job", "firsttouch-pool"), ("firsttouch-pool", "libc")];
        assert!(against_the_arrows(&graph(&down)).is_empty());
        let wrong =
            [("firsttouch-topology", "firsttouch-pool"), ("firsttouch-pool", "firsttouch-memory")];
        let expected =
            ["firsttouch-topology uses firsttouch-pool", "firsttouch-pool uses firsttouch-memory"];
        assert_eq!(against_the_arrows(&graph(&wrong)), expected);
    }

    #[test]
    fn everything_below_is_reached_and_circles_end() {
        let graph = graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "cc")]);
        assert_eq!(reachable(&graph, "a"), BTreeSet::from(["a", "b", "c"]));
    }
}
