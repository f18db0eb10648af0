//! What the process may use.

use super::{Reader, cgroup, parse};
use crate::affinity;
use crate::discover::AllowedPart;
use crate::{CpuSet, NodeSet};

/// What the process may use, and what that tells about the machine.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) part: AllowedPart,
    /// The CPUs the kernel itself said this thread may run on, which are online; empty for a recording.
    pub(super) running: CpuSet,
}

/// Reads what the process may use; for a recording, the process that recorded it.
pub(super) fn allowed(reader: &mut Reader) -> Process {
    let status = text(reader, "status");
    let status = status.as_deref();
    let running = affinity_mask(reader);
    let cpus = running
        .clone()
        .or_else(|| field(status, "Cpus_allowed_list", parse::list))
        .or_else(|| field(status, "Cpus_allowed", parse::mask));
    let nodes: Option<NodeSet> = field(status, "Mems_allowed_list", parse::list)
        .or_else(|| field(status, "Mems_allowed", parse::mask));
    let part = AllowedPart { cpus, nodes, cpu_quota: cgroup::cpu_quota(reader) };
    Process { part, running: running.unwrap_or_default() }
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
