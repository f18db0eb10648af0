//! What can be wrong with a request for memory.

use std::fmt;
use std::io;
use std::ops::Range;

use firsttouch_topology::{NodeId, NodeSet};

use crate::{HugePageSize, PageSize};

/// Why memory could not be mapped, placed, populated or asked about.
///
/// Ranges are in bytes from the region's start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// A region of no bytes was asked for.
    #[error("a region of 0 bytes cannot be mapped; ask for at least 1 byte")]
    ZeroLength,
    /// The length is beyond what the address space can hold.
    #[error(
        "a region of {len} bytes is too long: rounded up to whole pages, at most {} bytes can be \
         mapped",
        isize::MAX
    )]
    TooLong {
        /// The length asked for, in bytes.
        len: usize,
    },
    /// A huge page size is not a power of two.
    #[error("{bytes} bytes is no huge page size: a page size is a power of two")]
    InvalidHugePageSize {
        /// The size asked for, in bytes.
        bytes: usize,
    },
    /// The kernel has no hugetlb pages of this size.
    #[error("this kernel has no huge pages of {size}; it has {}", List(.available))]
    NoHugePagesOfSize {
        /// The size asked for.
        size: HugePageSize,
        /// The sizes that the kernel has, smallest first.
        available: Vec<HugePageSize>,
    },
    /// The pools of hugetlb pages cannot cover the region.
    #[error(
        "{needed} huge pages of {size} are needed and {free} are free and unreserved{}; {}",
        Pools(.pools), Remedy(*.size, .free >= .needed)
    )]
    HugePagesShort {
        /// The page size asked for.
        size: HugePageSize,
        /// The pages that the region needs.
        needed: u64,
        /// The pages that are free and that nobody has reserved, on all nodes together.
        free: u64,
        /// The pages free on each node, reserved ones included, ascending by node.
        pools: Vec<(NodeId, u64)>,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A pool of hugetlb pages ran out while a range was populated.
    ///
    /// Pages before the one that failed are placed.
    #[error(
        "populating bytes {range:?}: no huge page of {size} is left{}{}; {}",
        OnNodes(.nodes), Pools(.pools), NodeRemedy(*.size, .nodes.as_ref(), .pools)
    )]
    HugePagesExhausted {
        /// The page size.
        size: HugePageSize,
        /// The range.
        range: Range<usize>,
        /// The nodes that the range's policy binds its pages to; `None` where it allows all.
        nodes: Option<NodeSet>,
        /// The pages free on each node, reserved ones included, ascending by node.
        pools: Vec<(NodeId, u64)>,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A file cannot be mapped as memory, as it is none of bytes that stay.
    #[error("only regular files can be mapped; this is a device, a directory or a pipe")]
    NotARegularFile,
    /// A file ends before the range that was to be mapped.
    #[error("bytes {range:?} of a file were to be mapped, and the file has {len}")]
    FileTooShort {
        /// The range asked for, in bytes of the file.
        range: Range<u64>,
        /// The file's length, in bytes.
        len: u64,
    },
    /// A file was to be mapped from or to an offset that is no multiple of its page size.
    ///
    /// A range to be written may also end at the file's end, and one to be
    /// read anywhere.
    #[error("offset {offset} of the file is no multiple of its pages' {page_bytes} bytes")]
    MisalignedInFile {
        /// The offset asked for, in bytes.
        offset: u64,
        /// The page size of the file's system, in bytes.
        page_bytes: usize,
    },
    /// A policy was to be set for a file whose pages do not follow one.
    #[error(
        "the kernel places the page cache of a file by the policy of the thread that reads it, and \
         ignores the policy of a mapping; set that of the thread (ThreadPolicy), or use a file of a \
         tmpfs or a shared region"
    )]
    PolicyIgnored,
    /// Pages were to be put into huge pages, in a region that is not of transparent ones.
    #[error("only regions of transparent huge pages can be collapsed; this one has {page_size}")]
    NotTransparent {
        /// The region's page size.
        page_size: PageSize,
    },
    /// The kernel is older than a call.
    #[error("{call} needs Linux {since} or later; this kernel does not know it")]
    UnsupportedCall {
        /// The call.
        call: &'static str,
        /// The first kernel that has it.
        since: &'static str,
    },
    /// Transparent huge pages cannot be had here.
    #[error("transparent huge pages cannot be had: {reason}")]
    NoTransparentHugePages {
        /// What stands in the way, and what would open it.
        reason: String,
    },
    /// A range does not start and end on whole pages.
    #[error(
        "{call}: the range {range:?} must start at a multiple of {page_bytes} bytes, the \
         region's page size, and end at one or at the region's end"
    )]
    Misaligned {
        /// The operation asked for.
        call: &'static str,
        /// The range asked for.
        range: Range<usize>,
        /// The region's page size, in bytes.
        page_bytes: usize,
    },
    /// A policy that needs nodes names none.
    #[error("the policy {policy} names no node; it needs at least one")]
    EmptyNodeSet {
        /// The policy's name.
        policy: &'static str,
    },
    /// A node of a policy is not part of this machine.
    #[error("{policy}{}: there is no node {node}; the online nodes are {online}", Over(.range))]
    NoSuchNode {
        /// The policy's name.
        policy: &'static str,
        /// The range; `None` for a thread's policy.
        range: Option<Range<usize>>,
        /// The node that does not exist.
        node: NodeId,
        /// The nodes that do.
        online: NodeSet,
    },
    /// A node of a policy has no memory.
    #[error("{policy}{}: node {node} has no memory; these nodes have: {with_memory}", Over(.range))]
    NodeWithoutMemory {
        /// The policy's name.
        policy: &'static str,
        /// The range; `None` for a thread's policy.
        range: Option<Range<usize>>,
        /// The node without memory.
        node: NodeId,
        /// The nodes that have memory.
        with_memory: NodeSet,
    },
    /// A node of a policy is outside of what this process may use.
    #[error(
        "{policy}{}: node {node} is not allowed for this process (by its cpuset); these nodes are: \
         {allowed}", Over(.range)
    )]
    NodeNotAllowed {
        /// The policy's name.
        policy: &'static str,
        /// The range; `None` for a thread's policy.
        range: Option<Range<usize>>,
        /// The node that is not allowed.
        node: NodeId,
        /// The nodes that are.
        allowed: NodeSet,
    },
    /// The kernel is older than the policy.
    #[error("the policy {policy} needs Linux {since} or later; this kernel does not know it")]
    UnsupportedPolicy {
        /// The policy's name.
        policy: &'static str,
        /// The first kernel that has it.
        since: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A policy in force is newer than this library.
    #[error("the kernel reports a policy of mode {mode}, which this library does not know")]
    UnknownPolicy {
        /// The kernel's number of the policy.
        mode: i32,
    },
    /// The process may not lock so much memory.
    ///
    /// Nothing was locked. A process with CAP_IPC_LOCK has no limit.
    #[error(
        "{needed} bytes cannot be locked: the process may lock {limit} bytes in all \
         (RLIMIT_MEMLOCK) and has locked {locked}; raise the limit (ulimit -l, LimitMEMLOCK= of \
         systemd, memlock in /etc/security/limits.conf, --ulimit memlock= of container engines) \
         to {} bytes or more, or run with CAP_IPC_LOCK, which lifts it",
        .locked.saturating_add(*.needed)
    )]
    LockLimit {
        /// Bytes to be locked.
        needed: u64,
        /// Bytes that the process has locked already, by whatever means (`VmLck`).
        locked: u64,
        /// Bytes that it may lock in all.
        limit: u64,
    },
    /// A system call is not to be had in this environment at all.
    ///
    /// Other calls still work; placement then follows first touch alone.
    #[error(
        "{call} is refused here: the kernel is built without NUMA, or a seccomp filter blocks the \
         call, as container engines do unless the container has CAP_SYS_NICE"
    )]
    Refused {
        /// The system call.
        call: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A system call failed.
    #[error("{call}{} failed: {meaning}", Over(.range))]
    Call {
        /// The system call.
        call: &'static str,
        /// The range; `None` where the call has none.
        range: Option<Range<usize>>,
        /// What the kernel's answer means here.
        meaning: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl MemoryError {
    /// Returns whether the error says that a page size cannot be had.
    ///
    /// These are the errors that let [`RegionBuilder::build`] go on to a
    /// fallback.
    ///
    /// [`RegionBuilder::build`]: crate::RegionBuilder::build
    #[must_use]
    pub fn is_page_size_unavailable(&self) -> bool {
        matches!(
            self,
            Self::NoHugePagesOfSize { .. }
                | Self::HugePagesShort { .. }
                | Self::NoTransparentHugePages { .. }
        )
    }

    /// Returns whether the error says that a system call is refused altogether.
    ///
    /// A program can go on without the call, knowing less or placing less.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Gives the kernel's answer to a call its meaning.
    pub(crate) fn from_call(
        call: &'static str,
        range: Option<Range<usize>>,
        source: io::Error,
    ) -> Self {
        match source.raw_os_error() {
            Some(libc::ENOSYS | libc::EPERM | libc::EACCES) => Self::Refused { call, source },
            errno => Self::Call { call, range, meaning: meaning(call, errno), source },
        }
    }
}

/// Says what an errno of a call means for memory that this library mapped.
fn meaning(call: &str, errno: Option<i32>) -> &'static str {
    match (call, errno) {
        ("mmap", Some(libc::ENOMEM)) => {
            "it is more than the kernel will promise (physical memory and swap, by \
             vm.overcommit_memory), or than the address space limit (RLIMIT_AS) or the limit on \
             mappings (vm.max_map_count) leaves; ask for less, or for a region that reserves \
             nothing"
        }
        ("mmap", Some(libc::EAGAIN)) => {
            "the process locks all its memory, and the limit on locked memory (RLIMIT_MEMLOCK) is \
             reached"
        }
        ("madvise(MADV_NOHUGEPAGE)", Some(libc::EAGAIN | libc::ENOMEM)) => {
            "transparent huge pages cannot be switched off for the region, as the limit on mappings \
             (vm.max_map_count) is reached"
        }
        ("madvise(MADV_POPULATE_WRITE)", Some(libc::ENOMEM)) => {
            "no memory was left for a page, by the machine, the cgroup or the range's policy"
        }
        ("madvise(MADV_POPULATE_WRITE)", Some(libc::EFAULT)) => {
            "a page could not be supplied where a plain access would have been killed by SIGBUS: \
             the range's policy allows only nodes whose pool of huge pages is empty, or a cgroup \
             limits huge pages"
        }
        ("madvise(MADV_POPULATE_READ)", Some(libc::EFAULT)) => {
            "a page of the file could not be read: the file became shorter, or its device failed"
        }
        ("fallocate", Some(libc::ENOSPC)) => {
            "the file system has no room left; a tmpfs has a limit of its own (mount option size)"
        }
        ("madvise(MADV_POPULATE_WRITE)", Some(libc::EHWPOISON)) => {
            "a page of the range is broken in hardware and was taken out of use"
        }
        ("mbind", Some(libc::ENOMEM)) => {
            "the kernel ran out of memory for it, or the limit on mappings (vm.max_map_count) is \
             reached, as each range with a policy of its own is a mapping of its own"
        }
        ("mlock2", Some(libc::ENOMEM)) => {
            "the limit on mappings (vm.max_map_count) is reached, as a locked range is a mapping of \
             its own"
        }
        ("move_pages", Some(libc::ENODEV)) => "the node is not online, or has no memory",
        (_, Some(libc::ENOMEM)) => "the kernel ran out of memory for it",
        (_, Some(libc::EAGAIN)) => "the kernel was short of a resource each time it was asked",
        (_, Some(libc::EINVAL)) => "the kernel rejects an argument of the call",
        (_, Some(libc::EFAULT)) => "the kernel finds part of the range unmapped",
        _ => "the kernel gave an answer that the call's documentation does not name",
    }
}

/// Writes ` over RANGE`, or nothing for what has no range.
struct Over<'a>(&'a Option<Range<usize>>);

impl fmt::Display for Over<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |range| write!(f, " over bytes {range:?}"))
    }
}

/// Writes huge page sizes as a list.
struct List<'a>(&'a [HugePageSize]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "none");
        }
        for (index, size) in self.0.iter().enumerate() {
            write!(f, "{}{size}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Writes ` (on node 0: 3, on node 1: 0)`, or nothing where nodes are unknown.
struct Pools<'a>(&'a [(NodeId, u64)]);

impl fmt::Display for Pools<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (node, free)) in self.0.iter().enumerate() {
            write!(f, "{}on node {node}: {free}", if index == 0 { " (" } else { ", " })?;
        }
        if self.0.is_empty() { Ok(()) } else { write!(f, ")") }
    }
}

/// Writes ` on node 1`, or nothing where any node would do.
struct OnNodes<'a>(&'a Option<NodeSet>);

impl fmt::Display for OnNodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nodes) if nodes.len() == 1 => write!(f, " on node {nodes}"),
            Some(nodes) => write!(f, " on nodes {nodes}"),
            None => Ok(()),
        }
    }
}

/// Writes what would let pages of a node's pool be had.
struct NodeRemedy<'a>(HugePageSize, Option<&'a NodeSet>, &'a [(NodeId, u64)]);

impl fmt::Display for NodeRemedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(size, nodes, pools) = self;
        let counts = |node: NodeId| nodes.is_none_or(|nodes| nodes.contains(node));
        if pools.iter().any(|&(node, free)| free > 0 && counts(node)) {
            return f.write_str(
                "those that are free are reserved for others, or a limit of the cgroup \
                 (hugetlb.*.max) stands in the way",
            );
        }
        let kib = size.bytes() >> 10;
        match nodes.and_then(NodeSet::first) {
            Some(node) => write!(
                f,
                "raise /sys/devices/system/node/node{node}/hugepages/hugepages-{kib}kB/nr_hugepages{}, \
                 or let the policy use other nodes",
                AtBoot(*size)
            ),
            None => Raise(*size).fmt(f),
        }
    }
}

/// Writes what would let a region of huge pages be mapped.
///
/// The flag says that the pools have as many pages as are needed, and still the kernel refused.
struct Remedy(HugePageSize, bool);

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(size, enough) = self;
        if *enough {
            f.write_str(
                "so a limit stands in the way: on the nodes of this process (its cpuset or \
                 policy), on its cgroup (hugetlb.*.rsvd.max) or on its address space (RLIMIT_AS)",
            )
        } else {
            Raise(*size).fmt(f)
        }
    }
}

/// Writes how the pool of a size is made larger, on whichever node.
struct Raise(HugePageSize);

impl fmt::Display for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.0.bytes() >> 10;
        let at_boot = AtBoot(self.0);
        write!(f, "raise /sys/kernel/mm/hugepages/hugepages-{kib}kB/nr_hugepages{at_boot}")
    }
}

/// Writes how pages are had that a running kernel seldom finds memory in one piece for; nothing for smaller ones.
struct AtBoot(HugePageSize);

impl fmt::Display for AtBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = self.0.bytes() >> 30;
        if gib == 0 {
            return Ok(());
        }
        write!(f, " (or boot with hugepagesz={gib}G hugepages=N, before memory is in small pieces)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_pool_is_named_with_its_node_and_where_to_raise_it() {
        let exhausted = |nodes: Option<&str>, pools: &[(u32, u64)]| {
            MemoryError::HugePagesExhausted {
                size: HugePageSize::MIB_2,
                range: 0..2 << 20,
                nodes: nodes.map(|list| list.parse().expect("a list")),
                pools: pools.iter().map(|&(node, free)| (NodeId::new(node), free)).collect(),
                source: io::Error::from_raw_os_error(libc::EFAULT),
            }
            .to_string()
        };
        let bound = exhausted(Some("1"), &[(0, 3), (1, 0)]);
        assert!(bound.contains("is left on node 1 (on node 0: 3, on node 1: 0)"), "{bound}");
        assert!(bound.contains("node1/hugepages/hugepages-2048kB/nr_hugepages"), "{bound}");
        let any = exhausted(None, &[(0, 0)]);
        assert!(any.contains("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), "{any}");
        assert!(exhausted(Some("0-1"), &[(0, 3), (1, 0)]).contains("cgroup"));
        assert!(!bound.contains("boot") && !any.contains("boot"), "{bound}; {any}");
    }

    #[test]
    fn pages_of_a_gib_are_to_be_had_at_boot_too() {
        let size = HugePageSize::GIB_1;
        let pools = vec![(NodeId::new(0), 0), (NodeId::new(1), 1)];
        let source = || io::Error::from_raw_os_error(libc::ENOMEM);
        let short = MemoryError::HugePagesShort {
            size,
            needed: 2,
            free: 1,
            pools: pools.clone(),
            source: source(),
        };
        let nodes = Some("0".parse().expect("a list"));
        let exhausted =
            MemoryError::HugePagesExhausted { size, range: 0..1, nodes, pools, source: source() };
        let boot = "hugepages-1048576kB/nr_hugepages (or boot with hugepagesz=1G hugepages=N";
        for error in [short, exhausted].map(|error| error.to_string()) {
            assert!(error.contains("(on node 0: 0, on node 1: 1)"), "{error}");
            assert!(error.contains(boot), "{error}");
        }
    }

    #[test]
    fn a_pool_is_to_be_raised_only_where_it_is_short() {
        let short = |needed, free| MemoryError::HugePagesShort {
            size: HugePageSize::MIB_2,
            needed,
            free,
            pools: vec![(NodeId::new(0), free)],
            source: io::Error::from_raw_os_error(libc::ENOMEM),
        };
        let advice = "hugepages-2048kB/nr_hugepages";
        assert!(short(4, 3).to_string().contains(advice));
        let limited = short(4, 4).to_string();
        assert!(!limited.contains(advice) && limited.contains("RLIMIT_AS"), "{limited}");
    }
}
