//! Whether bound nodes have room, read just before.

use std::borrow::Cow;

use firsttouch_memory::PageSize;
use firsttouch_topology::{Node, NodeId, Source, Topology};

use crate::JobError;
use crate::init::placement::Layout;

/// Checks that each node of the layout has enough free memory in pages of the region's size.
pub(crate) fn check(
    layout: &Layout,
    topology: &Topology,
    page_size: PageSize,
    page_bytes: usize,
) -> Result<(), JobError> {
    // The pool read the machine when it was built; only free memory has changed since.
    let now = match topology.source() {
        Source::Recorded(root) => Topology::from_root(root).map(Cow::Owned),
        Source::Synthetic(_) => Ok(Cow::Borrowed(topology)),
        _ => Topology::discover().map(Cow::Owned),
    };
    let now = now.map_err(JobError::FreeUnknown)?;
    enough(layout.sizes(), page_bytes, |node| free(now.node(node)?, page_size))
}

/// Compares what each node is to get, in whole pages, with what it has free.
fn enough(
    sizes: impl Iterator<Item = (NodeId, usize)>,
    page_bytes: usize,
    free: impl Fn(NodeId) -> Option<u64>,
) -> Result<(), JobError> {
    for (node, size) in sizes {
        let needed = size.next_multiple_of(page_bytes) as u64;
        let free = free(node);
        if free.is_none_or(|free| free < needed) {
            return Err(JobError::NotEnoughFree { node, needed, free });
        }
    }
    Ok(())
}

/// Bytes free on a node in pages of one size; `None` where that is not known.
fn free(node: &Node, page_size: PageSize) -> Option<u64> {
    let PageSize::Huge(size) = page_size else { return node.memory_free() };
    let mut pools = node.huge_page_pools().iter();
    let pool = pools.find(|pool| pool.page_bytes == size.bytes() as u64)?;
    Some(pool.free * pool.page_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_node_without_room_is_named_with_what_it_needs() {
        let sizes = || [(NodeId::new(0), 8192), (NodeId::new(2), 4097)].into_iter();
        let check =
            |frees: [Option<u64>; 3]| enough(sizes(), 4096, |node| frees[node.os_index() as usize]);
        assert!(check([Some(8192), None, Some(8192)]).is_ok());
        let error = check([Some(8192), None, Some(8191)]).unwrap_err();
        assert!(matches!(
            error,
            JobError::NotEnoughFree { node, needed: 8192, free: Some(8191) }
                if node == NodeId::new(2)
        ));
        let unknown = check([Some(8192), None, None]).unwrap_err();
        assert!(unknown.to_string().contains("an unknown number"), "{unknown}");
    }
}
