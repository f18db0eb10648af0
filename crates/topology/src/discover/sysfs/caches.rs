//! Data and unified caches.

use std::collections::BTreeMap;

use super::{Reader, cpus, parse};
use crate::{Cache, CpuSet};

/// Reads the data and unified caches of all online CPUs.
pub(super) fn read(reader: &mut Reader, online: &CpuSet) -> Vec<Cache> {
    let mut caches = Vec::new();
    // By index folder: one CPU's files speak for all CPUs that share the cache.
    let mut covered: BTreeMap<u32, CpuSet> = BTreeMap::new();
    for cpu in online.iter() {
        let folder = format!("sys/devices/system/cpu/cpu{cpu}/cache");
        for index in reader.numbered(&folder, "index") {
            let covered = covered.entry(index).or_default();
            if covered.contains(cpu) {
                continue;
            }
            let cache = format!("{folder}/index{index}");
            let kind = reader.text(&format!("{cache}/type"));
            if !matches!(kind.as_deref().map(str::trim), Some("Data" | "Unified")) {
                continue;
            }
            let level = reader.value(&format!("{cache}/level"), |text| {
                parse::number(text.trim()).filter(|&level| level > 0)
            });
            let Some(level) = level else { continue };
            let list = format!("{cache}/shared_cpu_list");
            let map = format!("{cache}/shared_cpu_map");
            let shared = cpus::set(reader, &list, &map, cpu);
            let shared = shared.unwrap_or_else(|| CpuSet::from_iter([cpu]));
            let bytes = reader.value(&format!("{cache}/size"), parse::cache_bytes);
            *covered = covered.union(&shared);
            caches.push(Cache { level, bytes: bytes.filter(|&bytes| bytes > 0), cpus: shared });
        }
    }
    caches
}
