//! What the kernel sees of the machine: the ground the other cases stand on.

use anyhow::ensure;
use firsttouch_guest::machine::Machine;

use crate::case::{Case, as_booted, skip};
use crate::sysfs;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "the_kernel_sees_the_declared_nodes",
        given: |machine| match machine.numa {
            true => as_booted(machine),
            false => skip("the kernel is told to see one node"),
        },
        check: declared_nodes,
    },
    Case {
        name: "the_kernel_sees_the_declared_cores_and_packages",
        given: as_booted,
        check: cores_and_packages,
    },
    Case {
        name: "the_kernel_sees_one_node",
        given: |machine| match machine.numa {
            true => skip("the kernel sees the nodes"),
            false => as_booted(machine),
        },
        check: one_node,
    },
    Case {
        name: "the_kernel_sees_how_memory_performs",
        given: |machine| match machine.performance {
            Some(_) => as_booted(machine),
            None => skip("its firmware does not say how memory performs"),
        },
        check: performance,
    },
];

fn declared_nodes(machine: &Machine) -> anyhow::Result<()> {
    let last = machine.nodes.len() - 1;
    let online = sysfs::read("/sys/devices/system/node/online")?;
    let expected = if last == 0 { "0".to_owned() } else { format!("0-{last}") };
    ensure!(online == expected, "nodes {online} are online; {expected} were declared");
    for (id, node) in machine.nodes.iter().enumerate() {
        let cpus = sysfs::read(format!("{}/cpulist", sysfs::node(id)))?;
        let expected = list(machine.online_cpus_of(id));
        ensure!(cpus == expected, "node {id} has CPUs {cpus:?}; {expected:?} were declared");
        let (total, declared) = (sysfs::node_memory(id, "MemTotal")?, node.memory.bytes());
        // The kernel keeps its own image and its page descriptors out of what it counts.
        let right = total <= declared && total >= declared - declared.min(96 << 20);
        ensure!(right, "node {id} has {total} bytes; {declared} were declared");
        let distances = sysfs::read(format!("{}/distance", sysfs::node(id)))?;
        let expected = match &machine.distances {
            Some(rows) => words(rows[id].iter().copied()),
            None => words((0..=last).map(|to| if to == id { 10 } else { 20 })),
        };
        ensure!(distances == expected, "node {id}: distances {distances}; declared {expected}");
    }
    Ok(())
}

fn cores_and_packages(machine: &Machine) -> anyhow::Result<()> {
    let per_package = machine.cpu_count() / machine.packages;
    for cpu in 0..machine.online_cpus {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        for (file, group) in [
            ("thread_siblings_list", machine.threads_per_core),
            ("core_siblings_list", per_package),
        ] {
            let first = cpu - cpu % group;
            let expected = list(first..(first + group).min(machine.online_cpus));
            let siblings = sysfs::read(format!("{folder}/{file}"))?;
            ensure!(
                siblings == expected,
                "CPU {cpu}: {file} is {siblings:?}; {expected:?} were declared"
            );
        }
    }
    Ok(())
}

fn one_node(machine: &Machine) -> anyhow::Result<()> {
    let online = sysfs::read("/sys/devices/system/node/online")?;
    ensure!(online == "0", "nodes {online} are online");
    let cpus = sysfs::read(format!("{}/cpulist", sysfs::node(0)))?;
    let expected = list(0..machine.online_cpus);
    ensure!(cpus == expected, "node 0 has CPUs {cpus:?}; {expected:?} were declared");
    Ok(())
}

fn performance(machine: &Machine) -> anyhow::Result<()> {
    let Some(figures) = &machine.performance else { return Ok(()) };
    for (id, node) in machine.nodes.iter().enumerate() {
        let folder = format!("{}/access0/initiators", sysfs::node(id));
        let initiator = node.initiator.unwrap_or(id);
        let row = machine.nodes_with_cpus().position(|n| n == initiator);
        let row = row.unwrap_or_default();
        let latency: u32 = sysfs::parse(format!("{folder}/read_latency"))?;
        let declared = figures.latency_ns[row][id];
        ensure!(latency == declared, "node {id}: latency {latency} ns; declared {declared}");
        let bandwidth: u32 = sysfs::parse(format!("{folder}/read_bandwidth"))?;
        let declared = figures.bandwidth_mib[row][id];
        ensure!(bandwidth == declared, "node {id}: {bandwidth} MiB/s; declared {declared}");
        let link = format!("{folder}/node{initiator}");
        ensure!(std::path::Path::new(&link).exists(), "{link} is not there");
    }
    Ok(())
}

/// Writes ascending numbers in the kernel's list syntax.
fn list(numbers: impl Iterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let write = |&(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(write).collect::<Vec<_>>().join(",")
}

fn words(numbers: impl Iterator<Item = u32>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}
