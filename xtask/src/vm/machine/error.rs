//! What can be wrong with a machine file.

/// Why a machine file is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum MachineError {
    /// It is no TOML, or has fields that mean nothing here.
    #[error("it is no machine file")]
    Syntax(#[source] toml::de::Error),
    /// The distances have a name that means nothing.
    #[error("distances = {shape:?} means nothing: write \"ring\" or a matrix, row by row")]
    Shape {
        /// The name.
        shape: String,
    },
    /// No node has memory.
    #[error("no node has memory: give one `memory`")]
    NoMemory,
    /// No node has CPUs.
    #[error("no node has CPUs: give one `cpus`")]
    NoCpus,
    /// The machine is larger than the emulator can be.
    #[error("{what} is more than the {limit} that can be emulated")]
    TooLarge {
        /// What there is too much of.
        what: String,
        /// How much there may be.
        limit: u32,
    },
    /// A node has neither CPUs nor memory.
    #[error("node {node} has neither `cpus` nor `memory`: leave it out, or give it one")]
    Empty {
        /// The node.
        node: usize,
    },
    /// The CPUs cannot be divided as asked.
    #[error(
        "{cpus} CPUs cannot be divided into {packages} packages of cores of {threads} threads: choose `packages` and `threads_per_core` so that they divide evenly"
    )]
    Division {
        /// All CPUs.
        cpus: u32,
        /// The packages asked for.
        packages: u32,
        /// The threads of each core.
        threads: u32,
    },
    /// A core's threads would be in two nodes.
    #[error(
        "node {node} has {cpus} CPUs, which is no multiple of the {threads} threads of a core: a core cannot be in two nodes"
    )]
    SplitCore {
        /// The node.
        node: usize,
        /// Its CPUs.
        cpus: usize,
        /// The threads of each core.
        threads: u32,
    },
    /// A matrix has the wrong number of rows or columns.
    #[error("{matrix} has {found}, but needs {rows} rows of {columns}")]
    MatrixShape {
        /// Which matrix.
        matrix: &'static str,
        /// What it has.
        found: String,
        /// The rows it needs.
        rows: usize,
        /// The columns it needs.
        columns: usize,
    },
    /// A distance no firmware may give.
    #[error(
        "the distance from node {from} to node {to} is {value}: a node is 10 from itself, and 11 to 254 from others"
    )]
    Distance {
        /// The row.
        from: usize,
        /// The column.
        to: usize,
        /// The distance given.
        value: u32,
    },
    /// A latency or bandwidth of zero.
    #[error("{matrix} has a zero: every pair needs a figure")]
    Zero {
        /// Which matrix.
        matrix: &'static str,
    },
    /// An initiator is missing, not wanted, or has no CPUs.
    #[error(
        "node {node}: a memory-only node of a machine with `performance` names as `initiator` the node whose CPUs are closest, and no other node does"
    )]
    Initiator {
        /// The node.
        node: usize,
    },
    /// The number of CPUs online at boot is impossible.
    #[error("online_cpus = {online}: between 1 and all {cpus} CPUs can be online")]
    Online {
        /// The number given.
        online: u32,
        /// All CPUs.
        cpus: u32,
    },
}
