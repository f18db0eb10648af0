//! Kinds of core on hybrid machines.

use super::{Reader, parse};
use crate::{CoreKind, CpuId, CpuSet};

/// Reads the kinds of core; none where nothing tells CPUs apart.
///
/// Intel's hybrid machines name their kinds by a performance counter's folder
/// each. Elsewhere, CPUs of one capacity are of one kind: what the scheduler
/// works with where the kernel shows it, else the highest frequency.
pub(super) fn read(reader: &mut Reader, online: &CpuSet) -> Vec<CoreKind> {
    let ranks = ranks(reader, online);
    let named = named(reader, online);
    if named.is_empty() {
        return by_rank(ranks);
    }
    let rank_of = |cpus: &CpuSet| {
        let own = ranks.iter().filter(|(cpu, _)| cpus.contains(*cpu));
        own.map(|&(_, rank)| rank).max()
    };
    named
        .into_iter()
        .map(|(name, cpus)| CoreKind { capacity: rank_of(&cpus), cpus, name: Some(name) })
        .collect()
}

fn named(reader: &mut Reader, online: &CpuSet) -> Vec<(String, CpuSet)> {
    let mut kinds = Vec::new();
    for name in ["cpu_lowpower", "cpu_atom", "cpu_core"] {
        let cpus: Option<CpuSet> = reader.value(&format!("sys/devices/{name}/cpus"), parse::list);
        let cpus = cpus.unwrap_or_default().intersection(online);
        if !cpus.is_empty() {
            kinds.push((name.to_owned(), cpus));
        }
    }
    kinds
}

/// Returns each CPU's rank, by the first measure that every online CPU has; none where there is no such measure.
fn ranks(reader: &mut Reader, online: &CpuSet) -> Vec<(CpuId, u64)> {
    for measure in ["cpu_capacity", "cpufreq/cpuinfo_max_freq"] {
        let ranks: Option<Vec<_>> = online
            .iter()
            .map(|cpu| {
                let file = format!("sys/devices/system/cpu/cpu{cpu}/{measure}");
                Some((cpu, reader.value(&file, parse::unsigned)?))
            })
            .collect();
        if let Some(ranks) = ranks {
            return ranks;
        }
    }
    Vec::new()
}

/// Groups CPUs whose ranks are within a tenth of each other.
///
/// Cores of one kind may differ a little: the firmware lets its best ones run faster.
fn by_rank(mut ranks: Vec<(CpuId, u64)>) -> Vec<CoreKind> {
    ranks.sort_by_key(|&(_, rank)| rank);
    let mut kinds: Vec<(u64, CoreKind)> = Vec::new();
    for (cpu, rank) in ranks {
        match kinds.last_mut() {
            Some((lowest, kind)) if rank - *lowest <= *lowest / 10 => {
                kind.cpus.insert(cpu);
                kind.capacity = Some(rank);
            }
            _ => {
                let cpus = CpuSet::from_iter([cpu]);
                kinds.push((rank, CoreKind { cpus, capacity: Some(rank), name: None }));
            }
        }
    }
    kinds.into_iter().map(|(_, kind)| kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(ranks: &[u64]) -> Vec<(String, u64)> {
        let ranks = ranks.iter().zip(0..).map(|(&rank, cpu)| (CpuId::new(cpu), rank)).collect();
        let kinds = by_rank(ranks);
        kinds.iter().map(|k| (k.cpus.to_string(), k.capacity.unwrap_or(0))).collect()
    }

    #[test]
    fn favoured_cores_are_of_one_kind_and_small_cores_of_another() {
        let found = kinds(&[5_000_000, 4_900_000, 3_900_000, 3_900_000]);
        assert_eq!(found, [("2-3".to_owned(), 3_900_000), ("0-1".to_owned(), 5_000_000)]);
    }

    #[test]
    fn ranks_of_zero_and_of_the_maximum_are_two_kinds() {
        assert_eq!(kinds(&[u64::MAX, 0]), [("1".to_owned(), 0), ("0".to_owned(), u64::MAX)]);
    }
}
