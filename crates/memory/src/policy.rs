//! NUMA policies, and their form in the kernel's calls.

use std::ffi::{c_int, c_ulong};
use std::fs;
use std::io;
use std::ops::Range;

use firsttouch_topology::{NodeId, NodeSet};

use crate::MemoryError;
use crate::mapping::Extent;
use crate::sys::{self, RawPolicy};

const MPOL_PREFERRED_MANY: c_int = 5;
const MPOL_WEIGHTED_INTERLEAVE: c_int = 6;

/// Where the pages of a range or of a thread come from.
///
/// A policy decides when a page is first touched. Pages that are already
/// there stay where they are.
///
/// # Examples
///
/// ```
/// use firsttouch_memory::{Policy, Region};
/// use firsttouch_topology::NodeId;
///
/// let mut region = Region::builder(1 << 20).build()?;
/// let half = region.len() / 2;
/// match region.set_policy(0..half, &Policy::Bind([NodeId::new(0)].into_iter().collect())) {
///     Ok(()) => assert_eq!(region.policy_at(half)?, Policy::Default),
///     // Some containers refuse the call; pages then go where they are first touched.
///     Err(error) if error.is_refused() => {}
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), firsttouch_memory::MemoryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// For a range, whatever the touching thread's policy is; for a thread, local.
    Default,
    /// The node of the CPU that first touches the page, or the nearest with room.
    Local,
    /// These nodes and no others.
    ///
    /// When they are full the kernel kills for memory rather than go elsewhere.
    Bind(NodeSet),
    /// This node where it has room, else the nearest to it.
    Preferred(NodeId),
    /// These nodes where they have room, else others; since Linux 5.15.
    PreferredMany(NodeSet),
    /// Page by page over these nodes in turn.
    ///
    /// The kernel counts base and transparent huge pages by their address, so
    /// the range's first page need not be the first node's.
    Interleave(NodeSet),
    /// Over these nodes by the weights in `/sys/kernel/mm/mempolicy`; since Linux 6.9.
    WeightedInterleave(NodeSet),
}

impl Policy {
    /// Returns the policy's name in the kernel's headers.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Default => "MPOL_DEFAULT",
            Self::Local => "MPOL_LOCAL",
            Self::Bind(_) => "MPOL_BIND",
            Self::Preferred(_) => "MPOL_PREFERRED",
            Self::PreferredMany(_) => "MPOL_PREFERRED_MANY",
            Self::Interleave(_) => "MPOL_INTERLEAVE",
            Self::WeightedInterleave(_) => "MPOL_WEIGHTED_INTERLEAVE",
        }
    }

    /// Returns the first kernel that knows the policy, where that is newer than the oldest we need.
    fn since(&self) -> Option<&'static str> {
        match self {
            Self::PreferredMany(_) => Some("5.15"),
            Self::WeightedInterleave(_) => Some("6.9"),
            _ => None,
        }
    }

    /// Returns the nodes that the policy names; `None` for a policy without nodes.
    fn nodes(&self) -> Option<NodeSet> {
        match self {
            Self::Default | Self::Local => None,
            Self::Preferred(node) => Some([*node].into_iter().collect()),
            Self::Bind(nodes)
            | Self::PreferredMany(nodes)
            | Self::Interleave(nodes)
            | Self::WeightedInterleave(nodes) => Some(nodes.clone()),
        }
    }

    /// Encodes the policy for the kernel, after checking what can be checked without it.
    pub(crate) fn encode(&self, range: Option<&Range<usize>>) -> Result<RawPolicy, MemoryError> {
        let mode = match self {
            Self::Default => libc::MPOL_DEFAULT,
            Self::Local => libc::MPOL_LOCAL,
            Self::Bind(_) => libc::MPOL_BIND,
            Self::Preferred(_) => libc::MPOL_PREFERRED,
            Self::PreferredMany(_) => MPOL_PREFERRED_MANY,
            Self::Interleave(_) => libc::MPOL_INTERLEAVE,
            Self::WeightedInterleave(_) => MPOL_WEIGHTED_INTERLEAVE,
        };
        let Some(nodes) = self.nodes() else {
            return Ok(RawPolicy { mode, nodes: Vec::new() });
        };
        if nodes.is_empty() {
            return Err(MemoryError::EmptyNodeSet { policy: self.name() });
        }
        // The kernel drops the nodes that a process may not use as long as one
        // is left, so a policy would quietly be less than what was asked for.
        match sys::allowed_nodes().map(|mask| nodes_of_mask(&mask)) {
            Ok(allowed) => match nodes.difference(&allowed).first() {
                Some(node) => Err(self.node_error(range, node, allowed, node_list)),
                None => Ok(RawPolicy { mode, nodes: mask_of_nodes(&nodes) }),
            },
            Err(error) => {
                tracing::trace!(%error, "the allowed nodes are not known; the kernel will judge");
                Ok(RawPolicy { mode, nodes: mask_of_nodes(&nodes) })
            }
        }
    }

    /// Says why a node outside of the allowed ones cannot be used.
    ///
    /// `listed` reads a node list of sysfs by its name.
    fn node_error(
        &self,
        range: Option<&Range<usize>>,
        node: NodeId,
        allowed: NodeSet,
        listed: impl Fn(&str) -> Option<NodeSet>,
    ) -> MemoryError {
        let (policy, range) = (self.name(), range.cloned());
        // Without sysfs, what is allowed is all that is known.
        let online = listed("online").unwrap_or_else(|| allowed.clone());
        if !online.contains(node) {
            return MemoryError::NoSuchNode { policy, range, node, online };
        }
        match listed("has_memory") {
            Some(with_memory) if !with_memory.contains(node) => {
                MemoryError::NodeWithoutMemory { policy, range, node, with_memory }
            }
            _ => MemoryError::NodeNotAllowed { policy, range, node, allowed },
        }
    }

    /// Gives the kernel's answer to a policy that passed [`Policy::encode`] its meaning.
    pub(crate) fn call_error(
        &self,
        call: &'static str,
        range: Option<&Range<usize>>,
        source: io::Error,
    ) -> MemoryError {
        match (source.raw_os_error(), self.since()) {
            // The nodes are good, so what the kernel does not know is the mode.
            (Some(libc::EINVAL), Some(since)) => {
                MemoryError::UnsupportedPolicy { policy: self.name(), since, source }
            }
            _ => MemoryError::from_call(call, range.cloned(), source),
        }
    }

    /// Decodes a policy that the kernel gave.
    pub(crate) fn decode(raw: &RawPolicy) -> Result<Self, MemoryError> {
        const FLAGS: c_int =
            libc::MPOL_F_STATIC_NODES | libc::MPOL_F_RELATIVE_NODES | libc::MPOL_F_NUMA_BALANCING;
        let nodes = nodes_of_mask(&raw.nodes);
        match raw.mode & !FLAGS {
            libc::MPOL_DEFAULT => Ok(Self::Default),
            libc::MPOL_LOCAL => Ok(Self::Local),
            // Old kernels have no other way to say local.
            libc::MPOL_PREFERRED => Ok(nodes.first().map_or(Self::Local, Self::Preferred)),
            libc::MPOL_BIND => Ok(Self::Bind(nodes)),
            libc::MPOL_INTERLEAVE => Ok(Self::Interleave(nodes)),
            MPOL_PREFERRED_MANY => Ok(Self::PreferredMany(nodes)),
            MPOL_WEIGHTED_INTERLEAVE => Ok(Self::WeightedInterleave(nodes)),
            mode => Err(MemoryError::UnknownPolicy { mode }),
        }
    }
}

/// Sets the policy of a range of a region.
pub(crate) fn set(
    extent: &Extent,
    range: &Range<usize>,
    policy: &Policy,
) -> Result<(), MemoryError> {
    let pages = extent.whole_pages("mbind", range)?;
    if pages.is_empty() {
        return Ok(());
    }
    let raw = policy.encode(Some(range))?;
    sys::mbind(extent.at(pages.start), pages.len(), &raw)
        .map_err(|source| policy.call_error("mbind", Some(range), source))?;
    tracing::trace!(?range, ?policy, "set a range's policy");
    Ok(())
}

/// Reads back the policy of the page at an offset of a region.
pub(crate) fn at(extent: &Extent, offset: usize) -> Result<Policy, MemoryError> {
    let raw = sys::policy_of(extent.at(offset)).map_err(|source| {
        MemoryError::from_call("get_mempolicy", Some(offset..offset + 1), source)
    })?;
    Policy::decode(&raw)
}

/// Reads one of the kernel's lists of nodes, such as `online`.
fn node_list(name: &str) -> Option<NodeSet> {
    fs::read_to_string(format!("/sys/devices/system/node/{name}")).ok()?.parse().ok()
}

/// Returns the nodes as a mask of the kernel's words, which are as wide as a pointer.
fn mask_of_nodes(nodes: &NodeSet) -> Vec<c_ulong> {
    let mut mask = Vec::new();
    for node in nodes.iter() {
        let word = (node.os_index() / c_ulong::BITS) as usize;
        if mask.len() <= word {
            mask.resize(word + 1, 0);
        }
        mask[word] |= 1 << (node.os_index() % c_ulong::BITS);
    }
    mask
}

/// Returns the nodes of a mask of the kernel's words.
fn nodes_of_mask(mask: &[c_ulong]) -> NodeSet {
    let words = mask.iter().zip(0u32..).filter(|(word, _)| **word != 0);
    words
        .flat_map(|(&word, index)| {
            let bits = (0..c_ulong::BITS).filter(move |bit| word >> bit & 1 != 0);
            bits.map(move |bit| NodeId::new(index * c_ulong::BITS + bit))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(list: &str) -> NodeSet {
        list.parse().expect("the list is in the kernel's syntax")
    }

    #[test]
    fn a_mask_gives_back_the_nodes_it_was_made_of() {
        for list in ["", "0", "63", "64", "0,31-33,63-65,1023", "70000"] {
            assert_eq!(nodes_of_mask(&mask_of_nodes(&nodes(list))), nodes(list), "{list}");
        }
    }

    #[test]
    fn a_policy_is_decoded_whatever_its_flags() {
        let raw = |mode, list| RawPolicy { mode, nodes: mask_of_nodes(&nodes(list)) };
        let decoded = |mode, list| Policy::decode(&raw(mode, list)).ok();
        assert_eq!(decoded(libc::MPOL_DEFAULT, ""), Some(Policy::Default));
        assert_eq!(decoded(libc::MPOL_PREFERRED, ""), Some(Policy::Local));
        let balanced = libc::MPOL_BIND | libc::MPOL_F_NUMA_BALANCING;
        assert_eq!(decoded(balanced, "1-2"), Some(Policy::Bind(nodes("1-2"))));
        let fixed = MPOL_PREFERRED_MANY | libc::MPOL_F_STATIC_NODES;
        assert_eq!(decoded(fixed, "3"), Some(Policy::PreferredMany(nodes("3"))));
        let unknown = Policy::decode(&raw(4095, ""));
        assert!(matches!(unknown, Err(MemoryError::UnknownPolicy { mode: 4095 })));
    }

    #[test]
    fn a_node_that_cannot_be_used_is_told_why() {
        let why = |node, sysfs: bool| {
            let listed = |name: &str| {
                let list = if name == "online" { "0-3" } else { "0,2-3" };
                sysfs.then(|| nodes(list))
            };
            let policy = Policy::Preferred(NodeId::new(node));
            policy.node_error(Some(&(0..8)), NodeId::new(node), nodes("0,2"), listed).to_string()
        };
        assert_eq!(
            why(3, true),
            "MPOL_PREFERRED over bytes 0..8: node 3 is not allowed for this process (by its \
             cpuset); these nodes are: 0,2"
        );
        assert_eq!(
            why(1, true),
            "MPOL_PREFERRED over bytes 0..8: node 1 has no memory; these nodes have: 0,2-3"
        );
        let unknown = |online| {
            format!(
                "MPOL_PREFERRED over bytes 0..8: there is no node 4; the online nodes are {online}"
            )
        };
        assert_eq!(why(4, true), unknown("0-3"));
        assert_eq!(why(4, false), unknown("0,2"));
    }

    #[test]
    fn an_unknown_mode_is_told_from_a_bad_argument() {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let many = Policy::PreferredMany(nodes("0")).call_error("mbind", None, invalid());
        assert!(matches!(many, MemoryError::UnsupportedPolicy { since: "5.15", .. }));
        let bind = Policy::Bind(nodes("0")).call_error("mbind", None, invalid());
        assert!(matches!(bind, MemoryError::Call { call: "mbind", .. }));
        for refusal in [libc::EPERM, libc::ENOSYS] {
            let source = io::Error::from_raw_os_error(refusal);
            let refused = Policy::PreferredMany(nodes("0")).call_error("mbind", None, source);
            assert!(refused.is_refused(), "{refused}");
        }
    }
}
