//! Whether a machine can be.

use firsttouch_guest::machine::{Machine, Performance};

use super::MachineError;

/// QEMU numbers its nodes below this.
const MAX_NODES: u32 = 128;

/// What QEMU's PC takes without an interrupt remapper.
const MAX_CPUS: u32 = 255;

/// Checks what the parts of a machine say of each other.
pub(super) fn check(machine: &Machine) -> Result<(), MachineError> {
    nodes(machine)?;
    cpus(machine)?;
    distances(machine)?;
    initiators(machine)?;
    machine.performance.as_ref().map_or(Ok(()), |figures| performance(machine, figures))
}

fn nodes(machine: &Machine) -> Result<(), MachineError> {
    let count = machine.nodes.len() as u32;
    if count > MAX_NODES {
        return Err(MachineError::TooLarge { what: format!("{count} nodes"), limit: MAX_NODES });
    }
    for (node, parts) in machine.nodes.iter().enumerate() {
        if parts.cpus.is_empty() && parts.memory.bytes() == 0 {
            return Err(MachineError::Empty { node });
        }
    }
    match machine.memory().bytes() {
        0 => Err(MachineError::NoMemory),
        _ => Ok(()),
    }
}

fn cpus(machine: &Machine) -> Result<(), MachineError> {
    let cpus = machine.cpu_count();
    let (packages, threads) = (machine.packages, machine.threads_per_core);
    match cpus {
        0 => return Err(MachineError::NoCpus),
        1..=MAX_CPUS => {}
        _ => {
            return Err(MachineError::TooLarge { what: format!("{cpus} CPUs"), limit: MAX_CPUS });
        }
    }
    if packages == 0 || threads == 0 || cpus % (packages * threads) != 0 {
        return Err(MachineError::Division { cpus, packages, threads });
    }
    for (node, parts) in machine.nodes.iter().enumerate() {
        let cpus = parts.cpus.len();
        if cpus % threads as usize != 0 {
            return Err(MachineError::SplitCore { node, cpus, threads });
        }
    }
    match machine.online_cpus {
        online if online == 0 || online > cpus => Err(MachineError::Online { online, cpus }),
        _ => Ok(()),
    }
}

fn distances(machine: &Machine) -> Result<(), MachineError> {
    let Some(rows) = &machine.distances else { return Ok(()) };
    let nodes = machine.nodes.len();
    shape("distances", rows, nodes, nodes)?;
    for (from, row) in rows.iter().enumerate() {
        for (to, &value) in row.iter().enumerate() {
            let possible = if from == to { value == 10 } else { (11..=254).contains(&value) };
            if !possible {
                return Err(MachineError::Distance { from, to, value });
            }
        }
    }
    Ok(())
}

fn initiators(machine: &Machine) -> Result<(), MachineError> {
    for (node, parts) in machine.nodes.iter().enumerate() {
        let wanted = machine.performance.is_some() && parts.cpus.is_empty();
        let right = match parts.initiator {
            Some(initiator) => wanted && machine.nodes_with_cpus().any(|n| n == initiator),
            None => !wanted,
        };
        if !right {
            return Err(MachineError::Initiator { node });
        }
    }
    Ok(())
}

fn performance(machine: &Machine, figures: &Performance) -> Result<(), MachineError> {
    let (rows, columns) = (machine.nodes_with_cpus().count(), machine.nodes.len());
    let matrices = [
        ("performance.latency_ns", &figures.latency_ns),
        ("performance.bandwidth_mib", &figures.bandwidth_mib),
    ];
    for (name, matrix) in matrices {
        shape(name, matrix, rows, columns)?;
        if matrix.iter().flatten().any(|&figure| figure == 0) {
            return Err(MachineError::Zero { matrix: name });
        }
    }
    Ok(())
}

fn shape(
    matrix: &'static str,
    found: &[Vec<u32>],
    rows: usize,
    columns: usize,
) -> Result<(), MachineError> {
    if found.len() == rows && found.iter().all(|row| row.len() == columns) {
        return Ok(());
    }
    let lengths: Vec<_> = found.iter().map(|row| row.len().to_string()).collect();
    let found = match lengths.len() {
        0 => "no rows".to_owned(),
        count => format!("{count} rows of {}", lengths.join(", ")),
    };
    Err(MachineError::MatrixShape { matrix, found, rows, columns })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "about = 'two'\nnodes = [{ count = 2, cpus = 2, memory = '256M' }]\n";

    fn parse(text: &str) -> Result<Machine, MachineError> {
        super::super::parse("test", text)
    }

    #[test]
    fn a_ten_line_file_is_a_machine() {
        let machine = parse(TWO).expect("a machine");
        assert_eq!(machine.nodes[1].cpus, [2, 3]);
        assert_eq!((machine.packages, machine.online_cpus, machine.numa), (2, 4, true));
        assert_eq!(machine.command_line(), Vec::<String>::new());
    }

    #[test]
    fn a_ring_is_near_to_both_neighbours() {
        let text =
            "about = ''\ndistances = 'ring'\nnodes = [{ count = 4, cpus = 1, memory = '256M' }]";
        let distances = parse(text).expect("a machine").distances.expect("distances");
        assert_eq!(distances[0], [10, 20, 30, 20]);
        assert_eq!(distances[3], [20, 30, 20, 10]);
    }

    #[test]
    fn packages_stay_within_a_node_by_default() {
        let text =
            "about = ''\nnodes = [{ cpus = 6, memory = '1G' }, { cpus = 2, memory = '256M' }]";
        assert_eq!(parse(text).expect("a machine").packages, 4);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let refused = |more: &str| parse(&format!("{TWO}{more}")).expect_err("no such machine");
        assert!(matches!(refused("cores = 2"), MachineError::Syntax(_)));
        assert!(matches!(refused("distances = 'star'"), MachineError::Shape { .. }));
        assert!(matches!(refused("distances = [[10]]"), MachineError::MatrixShape { .. }));
        assert_eq!(
            refused("distances = [[10, 20], [10, 10]]"),
            MachineError::Distance { from: 1, to: 0, value: 10 }
        );
        assert_eq!(
            refused("packages = 3"),
            MachineError::Division { cpus: 4, packages: 3, threads: 1 }
        );
        assert_eq!(refused("online_cpus = 5"), MachineError::Online { online: 5, cpus: 4 });
        assert_eq!(
            refused("threads_per_core = 4"),
            MachineError::Division { cpus: 4, packages: 2, threads: 4 }
        );
        let empty = parse("about = ''\nnodes = [{ cpus = 1, memory = '1G' }, {}]");
        assert_eq!(empty, Err(MachineError::Empty { node: 1 }));
    }

    #[test]
    fn a_memory_only_node_with_figures_needs_an_initiator_with_cpus() {
        let text = |initiator| {
            format!(
                "about = ''\nnodes = [{{ cpus = 2, memory = '256M' }}, {{ memory = '256M'{initiator} }}]\n\
                 performance = {{ latency_ns = [[10, 20]], bandwidth_mib = [[100, 50]] }}"
            )
        };
        assert!(parse(&text(", initiator = 0")).is_ok());
        for wrong in ["", ", initiator = 1", ", initiator = 7"] {
            assert_eq!(parse(&text(wrong)), Err(MachineError::Initiator { node: 1 }));
        }
    }
}
