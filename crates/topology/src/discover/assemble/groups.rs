//! Groups of CPUs: cores, packages, kinds of core, caches.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Cache, Core, CoreKind, CpuSet, Oddity, Package};

/// Keeps online CPUs only, each in one set; CPUs in no set are left for the caller.
pub(super) fn disjoint(
    noun: &str,
    sets: Vec<CpuSet>,
    online: &CpuSet,
    oddities: &mut Vec<Oddity>,
) -> Vec<CpuSet> {
    let mut taken = CpuSet::new();
    let mut kept: Vec<CpuSet> = Vec::with_capacity(sets.len());
    let mut twice = CpuSet::new();
    for set in sets {
        let set = set.intersection(online);
        let free = set.difference(&taken);
        // The same set again is one CPU's file repeating its sibling's.
        if free.len() != set.len() && !kept.contains(&set) {
            twice = twice.union(&set.intersection(&taken));
        }
        if !free.is_empty() {
            taken = taken.union(&free);
            kept.push(free);
        }
    }
    if !twice.is_empty() {
        let what = format!("CPUs {twice} are in more than one {noun}");
        Oddity::note(oddities, what, "the first counts");
    }
    kept.sort_by_key(CpuSet::first);
    kept
}

pub(super) fn packages(
    parts: Vec<Package>,
    online: &CpuSet,
    oddities: &mut Vec<Oddity>,
) -> Vec<Package> {
    let mut taken = CpuSet::new();
    let mut kept: Vec<Package> = Vec::new();
    let mut twice = CpuSet::new();
    for part in parts {
        let cpus = part.cpus.intersection(online);
        let repeated = kept.iter().any(|other| other.cpus == cpus && other.id == part.id);
        if repeated {
            continue;
        }
        twice = twice.union(&cpus.intersection(&taken));
        let cpus = cpus.difference(&taken);
        if !cpus.is_empty() {
            taken = taken.union(&cpus);
            kept.push(Package { id: part.id, cpus });
        }
    }
    if !twice.is_empty() {
        let what = format!("CPUs {twice} are in more than one package");
        Oddity::note(oddities, what, "the first counts");
    }
    let rest = online.difference(&taken);
    if !rest.is_empty() {
        kept.push(Package { id: None, cpus: rest });
    }
    kept.sort_by_key(|package| package.cpus.first());
    kept
}

pub(super) fn core_kinds(
    parts: Vec<CoreKind>,
    online: &CpuSet,
    oddities: &mut Vec<Oddity>,
) -> Vec<CoreKind> {
    let mut taken = CpuSet::new();
    let mut kept = Vec::with_capacity(parts.len().max(1));
    for mut kind in parts {
        kind.cpus = kind.cpus.intersection(online);
        let shared = kind.cpus.intersection(&taken);
        if !shared.is_empty() {
            let what = format!("CPUs {shared} are of more than one kind of core");
            Oddity::note(oddities, what, "the first counts");
            kind.cpus = kind.cpus.difference(&taken);
        }
        if !kind.cpus.is_empty() {
            taken = taken.union(&kind.cpus);
            kept.push(kind);
        }
    }
    let rest = online.difference(&taken);
    if !rest.is_empty() {
        kept.push(CoreKind { cpus: rest, capacity: None, name: None });
    }
    kept.sort_by_key(|kind| (kind.capacity, kind.cpus.first()));
    kept
}

pub(super) fn cores(mut sets: Vec<CpuSet>, online: &CpuSet, kinds: &[CoreKind]) -> Vec<Core> {
    let taken = sets.iter().fold(CpuSet::new(), |taken, set| taken.union(set));
    sets.extend(online.difference(&taken).iter().map(|cpu| CpuSet::from_iter([cpu])));
    sets.sort_by_key(CpuSet::first);
    let kind_of = |cpus: &CpuSet| {
        let kind = kinds.iter().position(|kind| kind.cpus.intersects(cpus));
        kind.unwrap_or(0)
    };
    sets.into_iter().map(|cpus| Core { kind: kind_of(&cpus), cpus }).collect()
}

/// Sorts caches and keeps each CPU in one of a level.
pub(super) fn caches(parts: Vec<Cache>, online: &CpuSet, oddities: &mut Vec<Oddity>) -> Vec<Cache> {
    let mut taken: BTreeMap<u32, CpuSet> = BTreeMap::new();
    let mut twice: BTreeMap<u32, CpuSet> = BTreeMap::new();
    let mut kept: Vec<Cache> = Vec::new();
    let mut seen: BTreeSet<(u32, String)> = BTreeSet::new();
    for mut cache in parts {
        cache.cpus = cache.cpus.intersection(online);
        // The same cache again is another CPU's file about it.
        if !seen.insert((cache.level, cache.cpus.to_string())) {
            continue;
        }
        let taken = taken.entry(cache.level).or_default();
        let shared = cache.cpus.intersection(taken);
        if !shared.is_empty() {
            let twice = twice.entry(cache.level).or_default();
            *twice = twice.union(&shared);
            cache.cpus = cache.cpus.difference(taken);
        }
        if !cache.cpus.is_empty() {
            *taken = taken.union(&cache.cpus);
            kept.push(cache);
        }
    }
    for (level, cpus) in twice {
        let what = format!("CPUs {cpus} are in more than one cache of level {level}");
        Oddity::note(oddities, what, "the first counts");
    }
    kept.sort_by_key(|cache| (cache.level, cache.cpus.first()));
    kept
}
