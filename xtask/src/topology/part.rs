//! Packages and nodes, each inside what holds it.
//!
//! On one machine a package holds several nodes, on another a node holds
//! several packages; so neither is taken to be the outer one, and the sets of
//! CPUs decide.

use std::cmp::Reverse;

use firsttouch::topology::{Cache, Node, Package};
use firsttouch::{CpuSet, Topology};

use super::text::{bytes, count};
use super::tree::cores;

/// Packages and nodes with the same CPUs, and the parts inside.
pub(super) struct Part<'a> {
    pub(super) cpus: CpuSet,
    pub(super) packages: Vec<&'a Package>,
    pub(super) nodes: Vec<&'a Node>,
    pub(super) inner: Vec<Part<'a>>,
}

/// All of a machine's parts.
pub(super) struct Whole<'a>(Vec<Part<'a>>);

impl<'a> Whole<'a> {
    pub(super) fn new(topology: &'a Topology) -> Self {
        let mut parts: Vec<Part<'a>> = Vec::new();
        let packages = topology.packages().iter().map(|package| Part {
            cpus: package.cpus.clone(),
            packages: vec![package],
            nodes: Vec::new(),
            inner: Vec::new(),
        });
        let nodes = topology.nodes().iter().map(|node| Part {
            cpus: node.local_cpus().clone(),
            packages: Vec::new(),
            nodes: vec![node],
            inner: Vec::new(),
        });
        let mut all: Vec<_> = packages.chain(nodes).collect();
        // Large before small and packages before nodes, so that what holds a part is there first.
        all.sort_by_key(|part| (part.is_memory_only(), Reverse(part.cpus.len()), part.nodes.len()));
        for part in all {
            insert(&mut parts, part);
        }
        sort(&mut parts);
        Self(parts)
    }

    pub(super) fn parts(&self) -> &[Part<'a>] {
        &self.0
    }
}

/// Puts a part inside the smallest that holds all its CPUs.
fn insert<'a>(parts: &mut Vec<Part<'a>>, part: Part<'a>) {
    let holds = |outer: &Part<'a>| {
        let inside = part.cpus.is_subset(&outer.cpus) && !outer.is_memory_only();
        // A memory-only node stands beside the node whose CPUs it is near.
        inside && !(part.is_memory_only() && outer.is_one_node())
    };
    let Some(outer) = parts.iter_mut().find(|outer| holds(outer)) else {
        parts.push(part);
        return;
    };
    let same = outer.cpus == part.cpus && outer.nodes.is_empty() && !part.is_memory_only();
    if same && outer.inner.is_empty() {
        outer.nodes.extend(part.nodes);
    } else {
        insert(&mut outer.inner, part);
    }
}

fn sort(parts: &mut [Part<'_>]) {
    let number = |part: &Part<'_>| part.nodes.first().map(|node| node.id());
    parts.sort_by_key(|part| (part.is_memory_only(), part.cpus.first(), number(part)));
    for part in parts {
        sort(&mut part.inner);
    }
}

/// A last-level cache, or several of one size, and the CPUs of each.
pub(super) struct LastLevelCache {
    level: u32,
    bytes: Option<u64>,
    cpus: CpuSet,
}

impl LastLevelCache {
    fn name(&self) -> String {
        match self.bytes {
            Some(size) => format!("L{} {}", self.level, bytes(size)),
            None => format!("L{}", self.level),
        }
    }

    /// Names the cache, and the CPUs that share it where there are others than `cpus`.
    pub(super) fn describe(&self, cpus: &CpuSet) -> String {
        match self.cpus.is_subset(cpus) {
            true => self.name(),
            false => format!("{} shared by CPUs {}", self.name(), self.cpus),
        }
    }
}

impl Part<'_> {
    pub(super) fn name(&self) -> String {
        let packages = self.packages.iter().map(|package| match package.id {
            Some(id) => format!("package {id}"),
            None => "package".to_owned(),
        });
        let nodes = self.nodes.iter().map(|node| format!("node {}", node.id()));
        packages.chain(nodes).collect::<Vec<_>>().join(", ")
    }

    /// Returns whether nothing inside has CPUs of its own.
    pub(super) fn is_innermost(&self) -> bool {
        self.inner.iter().all(Part::is_memory_only)
    }

    /// Returns the last-level caches of the part's CPUs, by first CPU.
    pub(super) fn last_level_caches(&self, topology: &Topology) -> Vec<LastLevelCache> {
        let mut left = self.cpus.clone();
        let mut found = Vec::new();
        while let Some(cpu) = left.first() {
            let last: Option<&Cache> =
                topology.caches().iter().filter(|c| c.cpus.contains(cpu)).max_by_key(|c| c.level);
            let Some(cache) = last else {
                left.remove(cpu);
                continue;
            };
            left = left.difference(&cache.cpus);
            found.push(LastLevelCache {
                level: cache.level,
                bytes: cache.bytes,
                cpus: cache.cpus.clone(),
            });
        }
        found
    }

    /// Returns whether the part is one package that holds nothing, with one last-level cache at most.
    pub(super) fn is_plain_package(&self, topology: &Topology) -> bool {
        let plain = self.packages.len() == 1 && self.nodes.is_empty() && self.inner.is_empty();
        plain && self.last_level_caches(topology).len() < 2
    }

    /// Returns whether the part is a node without CPUs of its own.
    pub(super) fn is_memory_only(&self) -> bool {
        !self.nodes.is_empty() && self.nodes.iter().all(|node| node.cpus().is_empty())
    }

    fn is_one_node(&self) -> bool {
        self.packages.is_empty() && self.nodes.len() == 1
    }
}

/// Says for each size of cache how many there are and which CPUs share each.
pub(super) fn describe_caches(topology: &Topology, caches: &[LastLevelCache]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for cache in caches {
        if !names.contains(&cache.name()) {
            names.push(cache.name());
        }
    }
    let describe = |name: &String| {
        let alike: Vec<_> = caches.iter().filter(|cache| cache.name() == *name).collect();
        let private =
            |cache: &&LastLevelCache| topology.cores().iter().any(|c| c.cpus == cache.cpus);
        if alike.iter().all(private) {
            return format!("{name}: {}, one to a core", count(alike.len(), "cache"));
        }
        if let [cache] = alike[..] {
            return format!("{name}: CPUs {}, {}", cache.cpus, cores(topology, &cache.cpus));
        }
        let lists: Vec<_> = alike.iter().map(|cache| cache.cpus.to_string()).collect();
        let lists = lists.join(" | ");
        let sharers = alike.first().map_or(String::new(), |cache| cores(topology, &cache.cpus));
        let uniform = alike.iter().all(|cache| cores(topology, &cache.cpus) == sharers);
        let each = if uniform { format!(" of {sharers} each") } else { String::new() };
        format!("{name}: {}{each}, CPUs {lists}", count(alike.len(), "group"))
    };
    names.iter().map(describe).collect()
}
