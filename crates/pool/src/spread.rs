//! How many helpers each node gets, and which CPU each of them.

use std::collections::BTreeSet;

use firsttouch_topology::{CpuId, CpuSet, Topology};

/// Spreads helpers over nodes in proportion to their CPUs.
///
/// The largest remainders are rounded up, the earlier node first where two are
/// equal; while there are enough, every node with CPUs gets at least one.
pub(crate) fn spread(helpers: usize, cpus: &[usize]) -> Vec<usize> {
    let with_cpus = cpus.iter().filter(|&&cpus| cpus > 0).count();
    let total: usize = cpus.iter().sum();
    if total == 0 {
        return vec![0; cpus.len()];
    }
    let at_least = usize::from(helpers >= with_cpus);
    let share = |cpus: usize| helpers as u128 * cpus as u128;
    let mut counts: Vec<usize> = cpus
        .iter()
        .map(|&cpus| match cpus {
            0 => 0,
            _ => ((share(cpus) / total as u128) as usize).max(at_least),
        })
        .collect();
    let mut order: Vec<usize> = (0..cpus.len()).filter(|&node| cpus[node] > 0).collect();
    order.sort_by_key(|&node| std::cmp::Reverse(share(cpus[node]) % total as u128));
    let given: usize = counts.iter().sum();
    // The shares rounded down miss less than one helper per node.
    for &node in order.iter().take(helpers.saturating_sub(given)) {
        counts[node] += 1;
    }
    // A node raised to one helper takes it from the one with most per CPU.
    for _ in helpers..given {
        let most = order.iter().copied().filter(|&node| counts[node] > 1);
        let Some(node) = most.max_by(|&a, &b| {
            (counts[a] as u128 * cpus[b] as u128).cmp(&(counts[b] as u128 * cpus[a] as u128))
        }) else {
            break;
        };
        counts[node] -= 1;
    }
    counts
}

/// Returns how many cores these CPUs belong to.
pub(crate) fn cores(topology: &Topology, cpus: &CpuSet) -> usize {
    // A CPU that the machine does not describe is a core of its own.
    let core = |cpu: CpuId| topology.cpu(cpu).map(|cpu| cpu.core).ok_or(cpu);
    cpus.iter().map(core).collect::<BTreeSet<_>>().len()
}

/// Returns the CPUs in the order in which single helpers are pinned to them: one of each core before the second of any.
pub(crate) fn one_per_core_first(topology: &Topology, cpus: &CpuSet) -> Vec<CpuId> {
    let rank_in_core = |cpu: CpuId| {
        let core = topology.cpu(cpu).and_then(|cpu| topology.cores().get(cpu.core));
        core.map_or(0, |core| core.cpus.intersection(cpus).iter().take_while(|&c| c < cpu).count())
    };
    let mut order: Vec<CpuId> = cpus.iter().collect();
    order.sort_by_cached_key(|&cpu| (rank_in_core(cpu), cpu));
    order
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_spread_in_proportion_with_the_largest_remainders_rounded_up() {
        assert_eq!(spread(8, &[4, 4]), [4, 4]);
        assert_eq!(spread(3, &[4, 4]), [2, 1]);
        assert_eq!(spread(7, &[6, 2]), [5, 2]);
        assert_eq!(spread(5, &[1, 1, 1]), [2, 2, 1]);
        assert_eq!(spread(4, &[10, 0, 5]), [3, 0, 1]);
    }

    #[test]
    fn every_node_with_cpus_gets_a_helper_while_there_are_enough() {
        assert_eq!(spread(3, &[100, 1, 1]), [1, 1, 1]);
        assert_eq!(spread(4, &[100, 1, 1]), [2, 1, 1]);
        assert_eq!(spread(2, &[100, 1, 1]), [2, 0, 0]);
        assert_eq!(spread(1, &[1, 1]), [1, 0]);
        assert_eq!(spread(0, &[1, 1]), [0, 0]);
        assert_eq!(spread(5, &[0, 0]), [0, 0]);
    }

    #[test]
    fn cores_are_counted_whichever_of_their_cpus_there_are() {
        let topology = Topology::synthetic("node:1 core:3 pu:2").expect("it is in the grammar");
        let cores = |list: &str| cores(&topology, &list.parse().expect("a list of CPUs"));
        assert_eq!((cores("0-5"), cores("0-1"), cores("1,3,5"), cores("0-2")), (3, 1, 3, 2));
        assert_eq!(cores("70-71"), 2);
    }

    #[test]
    fn a_spread_gives_out_exactly_the_helpers_there_are() {
        for helpers in 0..20 {
            for a in 0..5 {
                for b in 0..5 {
                    for c in 0..5 {
                        let cpus = [a, b, c];
                        let counts = spread(helpers, &cpus);
                        let expected = if a + b + c == 0 { 0 } else { helpers };
                        assert_eq!(counts.iter().sum::<usize>(), expected, "{helpers} {cpus:?}");
                        let with_cpus = cpus.iter().filter(|&&cpus| cpus > 0).count();
                        for (count, cpus) in counts.into_iter().zip(cpus) {
                            assert!(cpus > 0 || count == 0);
                            assert!(cpus == 0 || helpers < with_cpus || count > 0);
                        }
                    }
                }
            }
        }
    }
}
