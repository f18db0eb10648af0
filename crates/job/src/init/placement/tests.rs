use firsttouch_topology::CpuId;

use super::*;
use crate::job::sites::Site;
use crate::testing::{Machine, four_nodes, node, with_cpu_only_node, with_memory_only_node};

const MIB: usize = 1 << 20;

fn sites<'m>(machine: &'m Machine, helpers: &[(u32, usize)]) -> Sites<'m> {
    let site = |&(number, helpers): &(u32, usize)| Site { node: node(number), helpers };
    Sites::new(&machine.topology, helpers.iter().map(site).collect(), None, CpuId::new(0))
}

fn sizes(placement: &Placement, len: usize, page: usize, sites: &Sites<'_>) -> Vec<(u32, usize)> {
    let layout = lay_out(placement, len, page, sites, usize::MAX).expect("a valid placement");
    let sizes: Vec<_> = layout.sizes().map(|(node, size)| (node.os_index(), size)).collect();
    assert_eq!(sizes.iter().map(|&(_, size)| size).sum::<usize>(), len);
    for share in layout.shares.iter().filter(|_| layout.interleave.is_none()) {
        for range in &share.ranges {
            assert!(range.start % page == 0 && (range.end % page == 0 || range.end == len));
        }
    }
    sizes
}

#[test]
fn blocked_is_in_proportion_to_helpers() {
    let machine = four_nodes();
    let even = sites(&machine, &[(0, 4), (1, 4), (2, 4), (3, 4)]);
    let quarter = 16 * MIB;
    assert_eq!(
        sizes(&Placement::Blocked, 64 * MIB, 4096, &even),
        [(0, quarter), (1, quarter), (2, quarter), (3, quarter)]
    );
    let uneven = sites(&machine, &[(1, 1), (3, 3)]);
    assert_eq!(
        sizes(&Placement::Blocked, 64 * MIB, 2 * MIB, &uneven),
        [(1, 16 * MIB), (3, 48 * MIB)]
    );
    let capped = lay_out(&Placement::Blocked, 64 * MIB, 4096, &uneven, 1).expect("valid");
    assert!(capped.sizes().all(|(_, size)| size == 32 * MIB), "one thread each weighs the same");
}

#[test]
fn blocked_counts_local_helpers_alone_where_there_are_some() {
    let machine = with_cpu_only_node();
    let sites = sites(&machine, &[(0, 4), (1, 4), (2, 2)]);
    let sizes = sizes(&Placement::Blocked, 100 * 4096, 4096, &sites);
    assert_eq!(sizes, [(0, 50 * 4096), (1, 50 * 4096)], "node 2's helpers are local to none");
}

#[test]
fn blocked_by_memory_uses_nodes_without_cpus_too() {
    let machine = with_memory_only_node();
    let sites = sites(&machine, &[(0, 2), (8, 2)]);
    let by_memory = sizes(&Placement::BlockedByMemory, 60 * 4096, 4096, &sites);
    assert_eq!(by_memory, [(0, 10 * 4096), (3, 40 * 4096), (8, 10 * 4096)]);
    let by_helpers = sizes(&Placement::Blocked, 60 * 4096, 4096, &sites);
    assert_eq!(by_helpers, [(0, 30 * 4096), (8, 30 * 4096)]);
}

#[test]
fn chosen_nodes_share_the_helpers_that_serve_them() {
    let machine = with_memory_only_node();
    let sites = sites(&machine, &[(0, 2), (8, 4)]);
    // Node 8's four helpers serve node 3 too, so each of the two weighs as two helpers.
    let nodes = Placement::Nodes([node(0), node(3), node(8)].into_iter().collect());
    assert_eq!(
        sizes(&nodes, 60 * 4096, 4096, &sites),
        [(0, 20 * 4096), (3, 20 * 4096), (8, 20 * 4096)]
    );
    let one = Placement::Nodes([node(3)].into_iter().collect());
    assert_eq!(sizes(&one, 1000, 4096, &sites), [(3, 1000)]);
}

#[test]
fn a_node_without_memory_cannot_be_chosen() {
    let machine = with_cpu_only_node();
    let sites = sites(&machine, &[(0, 4), (1, 4), (2, 2)]);
    let nodes = Placement::Nodes([node(1), node(2)].into_iter().collect());
    let error = lay_out(&nodes, MIB, 4096, &sites, usize::MAX).expect_err("node 2 has none");
    assert_eq!(error.to_string(), "node 2 has no memory that this process may use; nodes 0-1 have");
}

#[test]
fn fewer_pages_than_nodes_go_to_as_many_nodes() {
    let machine = four_nodes();
    let sites = sites(&machine, &[(0, 4), (1, 4), (2, 4), (3, 4)]);
    for pages in 1..4 {
        let sizes = sizes(&Placement::Blocked, pages * 4096 - 1, 4096, &sites);
        assert_eq!(sizes.len(), pages);
    }
}

#[test]
fn interleaved_gives_each_node_its_blocks() {
    let machine = with_cpu_only_node();
    let sites = sites(&machine, &[(0, 4), (2, 2)]);
    let placement = Placement::Interleaved { block: 64 << 10 };
    // The helpers of node 2, which has no memory, are nearest to node 1.
    assert_eq!(sizes(&placement, MIB, 4096, &sites), [(0, MIB / 2), (1, MIB / 2)]);
    let layout = lay_out(&placement, MIB, 4096, &sites, usize::MAX).expect("valid");
    let second = layout.shares[1].ranges[0].clone();
    let blocks: Vec<_> = layout.bytes(Some(node(1)), second).collect();
    assert_eq!(blocks.len(), 8);
    assert_eq!(blocks[1], (192 << 10)..(256 << 10));
    let one_node = self::sites(&machine, &[(0, 4)]);
    let layout = lay_out(&placement, MIB, 4096, &one_node, usize::MAX).expect("valid");
    assert_eq!(layout.interleave, None, "one node has nothing to interleave with");
}
