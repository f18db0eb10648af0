//! The facts about a machine that a reader of a record needs.

use std::fs::File;
use std::io::BufReader;
use std::time::SystemTime;

use firsttouch::Topology;
use procfs::{FromBufRead, FromRead};

use crate::room::Room;
use crate::size;

/// Returns the facts that stand above every table, as a name and a value each.
///
/// What cannot be read says so; a fact is never left out.
#[must_use]
pub fn facts(topology: &Topology, room: &Room) -> Vec<(&'static str, String)> {
    vec![
        ("date", humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        ("firsttouch", env!("CARGO_PKG_VERSION").to_owned()),
        ("compiler", env!("FIRSTTOUCH_RUSTC_VERSION").to_owned()),
        ("tracing", tracing()),
        ("kernel", kernel()),
        ("CPU model", cpu_model()),
        ("CPUs", cpus(topology)),
        ("nodes", nodes(topology)),
        ("load", load()),
        ("memory", memory(room)),
        ("free memory", free_memory(room)),
        ("base pages", size::exact(topology.page_sizes().base)),
        ("transparent huge pages", transparent(topology)),
        ("huge pages", huge(topology)),
    ]
}

const UNKNOWN: &str = "unknown";

fn tracing() -> String {
    match tracing::level_filters::STATIC_MAX_LEVEL.into_level() {
        Some(level) => format!("compiled in up to level {}", level.as_str().to_lowercase()),
        None => "compiled out".to_owned(),
    }
}

fn kernel() -> String {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine()))
}

fn cpu_model() -> String {
    let read =
        || procfs::CpuInfo::from_buf_read(BufReader::new(File::open("/proc/cpuinfo").ok()?)).ok();
    // Not every architecture names its CPUs there.
    let model = read().and_then(|info| info.model_name(0).map(str::to_owned));
    model.unwrap_or_else(|| UNKNOWN.to_owned())
}

fn cpus(topology: &Topology) -> String {
    let online = topology.online_cpus();
    let allowed = topology.allowed().cpus();
    let quota = match topology.allowed().cpu_quota() {
        Some(quota) => format!(", quota of {:.2} CPUs", quota.cpus()),
        None => String::new(),
    };
    let (n, m) = (online.len(), allowed.len());
    format!("{n} online ({online}), {m} allowed ({allowed}){quota}")
}

fn nodes(topology: &Topology) -> String {
    let all = topology.nodes().iter().map(firsttouch::topology::Node::id);
    let all: firsttouch::NodeSet = all.collect();
    let allowed = topology.allowed().nodes();
    format!("{} ({all}), {} allowed ({allowed})", all.len(), allowed.len())
}

/// A busy machine spoils any table; the reader can tell by this.
fn load() -> String {
    let read = || procfs::LoadAverage::from_read(File::open("/proc/loadavg").ok()?).ok();
    let runnable = |load: procfs::LoadAverage| format!("{:.2} in the last minute", load.one);
    read().map_or_else(|| UNKNOWN.to_owned(), runnable)
}

fn memory(room: &Room) -> String {
    let read = || procfs::Meminfo::from_read(File::open("/proc/meminfo").ok()?).ok();
    let total = read().map_or_else(|| UNKNOWN.to_owned(), |info| size::rounded(info.mem_total));
    format!("{total}, {} to be had ({})", size::rounded(room.available), room.bound_by)
}

fn free_memory(room: &Room) -> String {
    let fate = if room.taken_back {
        "goes back to the hypervisor (free page reporting): large sizes are not all warm"
    } else {
        "stays in this machine, as far as can be told"
    };
    fate.to_owned()
}

fn transparent(topology: &Topology) -> String {
    let sizes = topology.page_sizes();
    match (sizes.transparent, sizes.transparent_mode) {
        (Some(bytes), Some(mode)) => {
            format!("{}, mode {}", size::exact(bytes), format!("{mode:?}").to_lowercase())
        }
        _ => "none".to_owned(),
    }
}

fn huge(topology: &Topology) -> String {
    let sizes = &topology.page_sizes().huge;
    if sizes.is_empty() {
        return "none".to_owned();
    }
    let pools = topology.nodes().iter().flat_map(|node| node.huge_page_pools());
    let pools: Vec<_> = pools.collect();
    let name = |&bytes: &u64| {
        let of_size = || pools.iter().filter(move |pool| pool.page_bytes == bytes);
        let free: u64 = of_size().map(|pool| pool.free).sum();
        let total: u64 = of_size().map(|pool| pool.total).sum();
        format!("{}: {free} of {total} free", size::exact(bytes))
    };
    sizes.iter().map(name).collect::<Vec<_>>().join(", ")
}
