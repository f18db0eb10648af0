//! A machine as one JSON object.
//!
//! `cpus`, `nodes` and `distances` have the form of the recorded machines'
//! expectations, in which `distances` is a list of matrices named and marked
//! as hwloc does and unknown memory is 0. The other keys tell the rest, and
//! there what is unknown is null.

use firsttouch::Topology;
use firsttouch::topology::{Node, NodeKind, Source, TransparentHugePages};
use serde_json::{Value, json};

/// What hwloc calls the firmware's table of distances.
const FIRMWARE_TABLE: &str = "NUMALatency";
/// hwloc's mark of it: from the operating system (1), standing for latency (4).
const FIRMWARE_TABLE_KIND: &str = "5";

/// Returns everything the topology knows.
pub(super) fn object(topology: &Topology) -> Value {
    let allowed = topology.allowed();
    let pages = topology.page_sizes();
    json!({
        "source": source(topology.source()),
        "cpus": topology.online_cpus().to_string(),
        "nodes": topology.nodes().iter().map(node).collect::<Vec<_>>(),
        "distances": distances(topology),
        "packages": topology.packages().iter().map(|package| json!({
            "id": package.id,
            "cpus": package.cpus.to_string(),
        })).collect::<Vec<_>>(),
        "cores": topology.cores().iter().map(|core| json!({
            "cpus": core.cpus.to_string(),
            "kind": core.kind,
        })).collect::<Vec<_>>(),
        "core_kinds": topology.core_kinds().iter().map(|kind| json!({
            "name": kind.name,
            "capacity": kind.capacity,
            "cpus": kind.cpus.to_string(),
        })).collect::<Vec<_>>(),
        "caches": topology.caches().iter().map(|cache| json!({
            "level": cache.level,
            "bytes": cache.bytes,
            "cpus": cache.cpus.to_string(),
        })).collect::<Vec<_>>(),
        "page_sizes": {
            "base": pages.base,
            "huge": pages.huge,
            "transparent": pages.transparent,
            "transparent_mode": pages.transparent_mode.map(transparent_mode),
        },
        "allowed": {
            "cpus": allowed.cpus().to_string(),
            "nodes": allowed.nodes().to_string(),
            "cpu_quota": allowed.cpu_quota().map(|quota| json!({
                "quota_us": quota.quota_us,
                "period_us": quota.period_us,
            })),
            "parallelism": allowed.parallelism().get(),
        },
        "oddities": topology.oddities().iter().map(|oddity| json!({
            "what": oddity.what,
            "assumed": oddity.assumed,
        })).collect::<Vec<_>>(),
    })
}

fn source(source: &Source) -> Value {
    match source {
        Source::Recorded(root) => json!({ "kind": "recorded", "root": root.to_string_lossy() }),
        Source::Synthetic(text) => json!({ "kind": "synthetic", "description": text }),
        Source::Hwloc => json!({ "kind": "hwloc" }),
        _ => json!({ "kind": "live" }),
    }
}

fn node(node: &Node) -> Value {
    let kind = match node.kind() {
        NodeKind::MemoryOnly => "memory-only",
        NodeKind::CpuOnly => "cpu-only",
        _ => "general",
    };
    json!({
        "id": node.id().os_index(),
        "local_cpus": node.local_cpus().to_string(),
        "memory_bytes": node.memory_total().unwrap_or(0),
        "kind": kind,
        "cpus": node.cpus().to_string(),
        "total_bytes": node.memory_total(),
        "free_bytes": node.memory_free(),
        "huge_page_pools": node.huge_page_pools().iter().map(|pool| json!({
            "page_bytes": pool.page_bytes,
            "total": pool.total,
            "free": pool.free,
            "surplus": pool.surplus,
        })).collect::<Vec<_>>(),
    })
}

fn distances(topology: &Topology) -> Vec<Value> {
    let matrix = topology.distances().map(|matrix| {
        json!({
            "name": FIRMWARE_TABLE,
            "kind": FIRMWARE_TABLE_KIND,
            "nodes": matrix.nodes().iter().map(|node| node.os_index()).collect::<Vec<_>>(),
            "values": matrix.values(),
        })
    });
    matrix.into_iter().collect()
}

pub(super) fn transparent_mode(mode: TransparentHugePages) -> &'static str {
    match mode {
        TransparentHugePages::Always => "always",
        TransparentHugePages::Madvise => "madvise",
        TransparentHugePages::Never => "never",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_the_form_of_the_recorded_expectations() -> anyhow::Result<()> {
        let object = object(&Topology::synthetic("node:2(memory=4KiB) core:2 pu:1")?);
        assert_eq!(object["cpus"], "0-3");
        assert_eq!(object["distances"], json!([]));
        let node = &object["nodes"][1];
        assert_eq!(node["id"], 1);
        assert_eq!(node["local_cpus"], "2-3");
        assert_eq!(node["memory_bytes"], 4096);
        assert_eq!(object["source"]["kind"], "synthetic");
        assert_eq!(object["allowed"]["parallelism"], 4);
        Ok(())
    }
}
