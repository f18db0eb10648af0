//! What the process may use.

use super::{Reader, cgroup, parse};
use crate::affinity;
use crate::discover::AllowedPart;
use crate::{CpuSet, NodeSet};

/// Reads what the process may use; for a recording, the process that recorded it.
pub(crate) fn allowed(reader: &mut Reader) -> AllowedPart {
    let status = text(reader, "status");
    let status = status.as_deref();
    let cpus = affinity_mask(reader)
        .or_else(|| field(status, "Cpus_allowed_list", parse::list::<crate::CpuId>))
        .or_else(|| field(status, "Cpus_allowed", parse::mask));
    let nodes: Option<NodeSet> = field(status, "Mems_allowed_list", parse::list)
        .or_else(|| field(status, "Mems_allowed", parse::mask));
    AllowedPart { cpus, nodes, cpu_quota: cgroup::cpu_quota(reader) }
}

/// Reads a file about the calling thread, or where the recording has none about the process.
pub(super) fn text(reader: &mut Reader, name: &str) -> Option<String> {
    ["thread-self", "self"]
        .iter()
        .find_map(|process| reader.text(&format!("proc/{process}/{name}")))
}

fn field<T>(status: Option<&str>, name: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
    parse(parse::status(status?, name)?)
}

/// Asks the kernel for the calling thread's mask; the files are next where it refuses.
fn affinity_mask(reader: &mut Reader) -> Option<CpuSet> {
    if !reader.is_live() {
        return None;
    }
    match affinity::current() {
        Ok(cpus) => Some(cpus),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let what = format!("{error} ({})", source.unwrap_or_default());
            reader.note(what, "the CPUs that /proc/self/status lists are allowed");
            None
        }
    }
}
