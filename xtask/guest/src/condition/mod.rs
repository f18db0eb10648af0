//! Conditions that cases are checked under.
//!
//! A condition has two halves. What belongs to the whole machine the first
//! process prepares and undoes; what belongs to a process the case's own
//! process enters, and leaves by ending.

mod cpu_quota;
mod cpuset;
mod filled_node;
mod filter;
mod group;
mod held;
mod policy;

use std::collections::BTreeSet;

pub(crate) use cpuset::{Version, cpuset_v1_is_missing};
pub(crate) use filled_node::fill;
pub(crate) use filter::{Answer, Call};
pub(crate) use held::Held;
pub(crate) use policy::{current as current_policy, interleaved_over};

use crate::{hotplug, sysfs};

/// One thing that holds while a case is checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    /// The process may run on these CPUs and take memory from these nodes, says its control group.
    Cpuset { version: Version, cpus: BTreeSet<u32>, nodes: BTreeSet<usize> },
    /// The process's control group may use the time of so many hundredths of a CPU.
    CpuQuota { hundredths: u32 },
    /// The process starts with this affinity mask, as `taskset` would start it.
    Affinity { cpus: BTreeSet<u32> },
    /// The process starts with an interleave policy over these nodes, as `numactl` would start it.
    InheritedInterleave { nodes: BTreeSet<usize> },
    /// Another process has taken the node's memory but for so many bytes.
    FilledNode { node: usize, left: u64 },
    /// The node has a pool of so many huge pages of 2 MiB; the other nodes have none.
    HugePages { node: usize, pages: u64 },
    /// When the kernel uses transparent huge pages: `always`, `madvise` or `never`.
    ///
    /// What earlier cases left free in pieces is put together, so that there are some to use.
    TransparentHugePages(&'static str),
    /// Whether the kernel moves pages and threads towards each other by itself.
    NumaBalancing(bool),
    /// A CPU is offline.
    Offline { cpu: u32 },
    /// The case takes CPUs offline itself; they are brought back when it has ended.
    CpusComeBack,
    /// A call is answered by a filter, as a container engine's would.
    Filtered { call: Call, answer: Answer },
}

impl Condition {
    /// Brings the machine into this state, as the first process.
    pub(crate) fn prepare(&self) -> anyhow::Result<Held> {
        match self {
            Self::Cpuset { version, cpus, nodes } => cpuset::prepare(*version, cpus, nodes),
            Self::CpuQuota { hundredths } => cpu_quota::prepare(*hundredths),
            Self::FilledNode { node, left } => filled_node::prepare(*node, *left),
            Self::HugePages { node, pages } => {
                let pool = "hugepages/hugepages-2048kB/nr_hugepages";
                set(format!("{}/{pool}", sysfs::node(*node)), *pages)
            }
            Self::TransparentHugePages(mode) => {
                const PATH: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
                let before = sysfs::chosen(PATH)?;
                sysfs::write(PATH, mode)?;
                sysfs::write("/proc/sys/vm/compact_memory", 1)?;
                Ok(Held::until(move || sysfs::write(PATH, before)))
            }
            Self::NumaBalancing(on) => set("/proc/sys/kernel/numa_balancing", u8::from(*on)),
            Self::Offline { cpu } => set(hotplug::switch(*cpu), 0_u8),
            Self::CpusComeBack => {
                let before = hotplug::online()?;
                Ok(Held::until(move || before.into_iter().try_for_each(hotplug::bring_back)))
            }
            Self::Affinity { .. } | Self::InheritedInterleave { .. } | Self::Filtered { .. } => {
                Ok(Held::nothing())
            }
        }
    }

    /// Brings this process into this state, which its children inherit.
    pub(crate) fn enter(&self) -> anyhow::Result<()> {
        match self {
            Self::Cpuset { version, .. } => cpuset::enter(*version),
            Self::CpuQuota { .. } => cpu_quota::enter(),
            Self::Affinity { cpus } => policy::keep_to(cpus),
            Self::InheritedInterleave { nodes } => policy::interleave(nodes),
            Self::Filtered { call, answer } => filter::enter(*call, *answer),
            Self::FilledNode { .. }
            | Self::HugePages { .. }
            | Self::TransparentHugePages(_)
            | Self::NumaBalancing(_)
            | Self::Offline { .. }
            | Self::CpusComeBack => Ok(()),
        }
    }
}

/// Writes a number, reads it back, and puts the old one back later.
fn set(path: impl Into<String>, value: impl Into<u64>) -> anyhow::Result<Held> {
    let (path, value) = (path.into(), value.into());
    let before: u64 = sysfs::parse(&path)?;
    sysfs::write(&path, value)?;
    let held = Held::until({
        let path = path.clone();
        move || sysfs::write(path, before)
    });
    let now: u64 = sysfs::parse(&path)?;
    anyhow::ensure!(now == value, "{path} is {now} after {value} was written");
    Ok(held)
}

/// Writes numbers as the kernel reads lists of them.
fn list<T: ToString>(numbers: &BTreeSet<T>) -> String {
    numbers.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
