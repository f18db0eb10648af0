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
    let free = |node| free(now.node(node)?, page_size, topology.page_sizes().base);
    enough(layout.sizes(), page_bytes, free).map_err(|short| match (page_size, short) {
        (PageSize::Huge(size), JobError::NotEnoughFree { node, needed, free }) => {
            let pages = |bytes: u64| bytes / size.bytes() as u64;
            JobError::NotEnoughHugePages {
                node,
                size,
                needed: pages(needed),
                free: free.map(pages),
            }
        }
        (_, short) => short,
    })
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

/// Bytes that can be had on a node in pages of one size; `None` where that is not known.
fn free(node: &Node, page_size: PageSize, base_page: u64) -> Option<u64> {
    let PageSize::Huge(size) = page_size else {
        let reserved = node.memory_reserved().unwrap_or(0);
        return Some(without_tables(node.memory_free()?.saturating_sub(reserved), base_page));
    };
    let mut pools = node.huge_page_pools().iter();
    let pool = pools.find(|pool| pool.page_bytes == size.bytes() as u64)?;
    Some(pool.free * pool.page_bytes)
}

/// What is left of free bytes once the pages themselves are mapped: each has an entry in a table.
///
/// Transparent huge pages have the same tables set aside, for when they are split.
fn without_tables(free: u64, base_page: u64) -> u64 {
    const ENTRY: u64 = 8;
    free - (free / base_page.max(ENTRY) * ENTRY).min(free)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_pages_need_beside_themselves_is_not_free_for_them() {
        assert_eq!(without_tables(513 << 12, 4096), (513 << 12) - 513 * 8);
        assert_eq!(without_tables(4095, 4096), 4095);
        assert_eq!(without_tables(u64::MAX, 0), 7);
        assert_eq!(without_tables(0, 65536), 0);
    }

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
