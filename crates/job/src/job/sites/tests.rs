use super::*;
use crate::location::parts;
use crate::testing::{Machine, four_nodes, node, with_cpu_only_node, with_memory_only_node};

fn sites<'m>(machine: &'m Machine, helpers: &[(u32, usize)], cpu: u32) -> Sites<'m> {
    let site = |&(number, helpers): &(u32, usize)| Site { node: node(number), helpers };
    let sites = helpers.iter().map(site).collect();
    Sites::new(&machine.topology, sites, None, CpuId::new(cpu))
}

#[test]
fn a_node_is_served_by_its_own_helpers() {
    let machine = four_nodes();
    let sites = sites(&machine, &[(0, 4), (1, 4), (2, 4), (3, 4)], 0);
    for (index, number) in [0, 1, 2, 3].into_iter().enumerate() {
        assert_eq!(sites.serving(node(number)), (vec![index], true));
    }
}

#[test]
fn a_memory_only_node_is_served_by_the_helpers_of_its_local_cpus() {
    let machine = with_memory_only_node();
    let sites = sites(&machine, &[(0, 2), (8, 2)], 0);
    assert_eq!(sites.serving(node(3)), (vec![1], true));
    assert_eq!(sites.serving(node(0)), (vec![0], true));
}

#[test]
fn helpers_without_memory_of_their_own_serve_where_no_local_helper_does() {
    let machine = with_cpu_only_node();
    let sites = sites(&machine, &[(0, 4), (1, 4), (2, 2)], 0);
    assert_eq!(sites.serving(node(0)), (vec![0], true));
    assert_eq!(sites.serving(node(1)), (vec![1], true));
    assert_eq!(sites.nearest_usable(node(2)), Some(node(1)));
    assert_eq!(sites.usable().to_string(), "0-1");
    let sites = self::sites(&machine, &[(0, 4), (2, 2)], 0);
    assert_eq!(sites.serving(node(1)), (vec![1], false), "node 2 is the nearest with helpers");
}

#[test]
fn a_node_without_helpers_is_served_by_the_nearest_that_has_some() {
    let machine = four_nodes();
    let sites = sites(&machine, &[(0, 4), (2, 1)], 0);
    assert_eq!(sites.serving(node(3)), (vec![1], false));
    assert_eq!(sites.serving(node(1)), (vec![0, 1], false), "both are as near");
}

#[test]
fn a_caller_serves_what_is_local_to_its_cpu_or_served_by_its_node() {
    let machine = with_memory_only_node();
    let shares = parts::by_node([(node(0), 0..10), (node(3), 10..20), (node(8), 20..30)]);
    let on = |cpu: u32| {
        let sites = sites(&machine, &[(0, 2), (8, 2)], cpu);
        let demands: Vec<_> = shares.iter().map(|share| sites.demand(share, 1)).collect();
        sites.caller(&shares, &demands)
    };
    let first = on(1);
    assert_eq!((first.site, first.serves), (Some(0), vec![true, false, false]));
    assert_eq!(first.nearest, [0, 2, 1]);
    let second = on(2);
    assert_eq!((second.site, second.serves), (Some(1), vec![false, true, true]));
    assert_eq!(second.nearest, [2, 1, 0]);
}

#[test]
fn a_caller_on_a_node_without_helpers_serves_that_node_all_the_same() {
    let machine = four_nodes();
    let sites = sites(&machine, &[(1, 4)], 13);
    let shares = parts::by_node([(node(1), 0..10), (node(3), 10..20)]);
    let demands: Vec<_> = shares.iter().map(|share| sites.demand(share, 1)).collect();
    let caller = sites.caller(&shares, &demands);
    assert_eq!((caller.site, caller.serves), (None, vec![false, true]));
}

#[test]
fn a_caller_on_a_cpu_that_no_node_names_is_nowhere() {
    let machine = four_nodes();
    let sites = sites(&machine, &[(0, 4), (1, 4)], 4000);
    assert_eq!(sites.caller_node(), None);
    let shares = parts::by_node([(node(0), 0..10), (node(1), 10..20)]);
    let demands: Vec<_> = shares.iter().map(|share| sites.demand(share, 1)).collect();
    let caller = sites.caller(&shares, &demands);
    assert_eq!((caller.site, caller.serves), (None, vec![false, false]));
    let nowhere = sites.demand(&parts::anywhere(0..10)[0], 3);
    assert_eq!(nowhere.serving, [0, 1]);
}

#[test]
fn the_nearest_sites_begin_with_the_callers_own() {
    let machine = four_nodes();
    let sites = sites(&machine, &[(0, 1), (1, 2), (2, 3), (3, 4)], 9);
    assert_eq!(sites.nearest_to_caller(1), [(node(2), 3)]);
    assert_eq!(sites.nearest_to_caller(3), [(node(1), 2), (node(2), 3), (node(3), 4)]);
    assert_eq!(sites.nearest_to_caller(99).len(), 4);
}
