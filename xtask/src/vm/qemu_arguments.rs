//! A machine in QEMU's words.

use std::fmt::Display;

use firsttouch_guest::machine::Machine;

/// What the emulated processor is not to have, as each makes software emulation slower and none has to do with nodes.
const LEFT_OUT: &[&str] = &[
    // Where the kernel hears that string instructions are fast, it clears and copies pages by the
    // byte with them, and each byte is emulated by itself.
    "erms=off",
    "fsrm=off",
    "fzrm=off",
    "fsrs=off",
    // The kernel's every access to memory of a process would switch between two ways of translating addresses.
    "smap=off",
    "smep=off",
    "umip=off",
    // Every switch between threads saves and loads all registers there are, each emulated by itself.
    "xsave=off",
    "avx=off",
    "mpx=off",
    "pku=off",
];

/// Returns the arguments that make QEMU this machine, apart from what it boots and where its lines go.
pub(crate) fn qemu_arguments(machine: &Machine) -> Vec<String> {
    let hmat = if machine.performance.is_some() { ",hmat=on" } else { "" };
    let mut words = Words(Vec::new());
    words.flag("-nodefaults").flag("-no-user-config").flag("-no-reboot");
    words.option("-display", "none").option("-accel", "tcg,thread=multi");
    // The emulated processor is AMD's otherwise, whose hardware threads Linux 6.1 does not see there.
    // Four levels of page tables: a fifth makes every walk longer, a tenth of the time in all.
    words.option("-cpu", format!("max,vendor=GenuineIntel,la57=off,{}", LEFT_OUT.join(",")));
    words.option("-machine", format!("q35{hmat}")).option("-m", machine.memory());
    words.option("-smp", processors(machine));
    nodes(machine, &mut words);
    distances(machine, &mut words);
    performance(machine, &mut words);
    words.0
}

#[derive(Debug)]
struct Words(Vec<String>);

impl Words {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.to_owned());
        self
    }

    fn option(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.0.extend([name.to_owned(), value.to_string()]);
        self
    }
}

fn processors(machine: &Machine) -> String {
    let (cpus, packages) = (machine.cpu_count(), machine.packages);
    let threads = machine.threads_per_core;
    let cores = cpus / packages / threads;
    format!("cpus={cpus},sockets={packages},cores={cores},threads={threads},maxcpus={cpus}")
}

fn nodes(machine: &Machine, words: &mut Words) {
    for (id, node) in machine.nodes.iter().enumerate() {
        let mut numa = format!("node,nodeid={id}");
        if let (Some(first), Some(last)) = (node.cpus.first(), node.cpus.last()) {
            numa += &format!(",cpus={first}-{last}");
        }
        if node.memory.bytes() > 0 {
            let memory = node.memory;
            words.option("-object", format!("memory-backend-ram,id=memory{id},size={memory}"));
            numa += &format!(",memdev=memory{id}");
        }
        if let Some(initiator) = node.initiator {
            numa += &format!(",initiator={initiator}");
        }
        words.option("-numa", numa);
    }
}

fn distances(machine: &Machine, words: &mut Words) {
    for (from, row) in machine.distances.iter().flatten().enumerate() {
        for (to, value) in row.iter().enumerate() {
            words.option("-numa", format!("dist,src={from},dst={to},val={value}"));
        }
    }
}

fn performance(machine: &Machine, words: &mut Words) {
    let Some(figures) = &machine.performance else { return };
    for (row, initiator) in machine.nodes_with_cpus().enumerate() {
        for target in machine.nodes_with_memory() {
            let pair = format!("hmat-lb,initiator={initiator},target={target},hierarchy=memory");
            let latency = figures.latency_ns[row][target];
            words.option("-numa", format!("{pair},data-type=access-latency,latency={latency}"));
            let bandwidth = figures.bandwidth_mib[row][target];
            words.option(
                "-numa",
                format!("{pair},data-type=access-bandwidth,bandwidth={bandwidth}M"),
            );
        }
    }
}
