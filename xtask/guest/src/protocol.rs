//! What goes into a boot, and what comes out of it, one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// Where the guest finds its [`Request`].
pub const REQUEST_PATH: &str = "/request.json";

/// The guest's end of the line its [`Message`]s go out by; its console is the first line.
pub const MESSAGES_PATH: &str = "/dev/ttyS1";

/// Where the guest finds the project's commands, as `cargo xtask` runs them.
pub const COMMANDS_PATH: &str = "/bin/xtask";

/// The guest's folder of hwloc: [`LSTOPO`], the libraries it needs, and the [`LOADER`] that brings them together.
pub const HWLOC_PATH: &str = "/hwloc";

/// hwloc's program that describes a machine, in [`HWLOC_PATH`].
pub const LSTOPO: &str = "lstopo-no-graphics";

/// The loader of programs that are not static, in [`HWLOC_PATH`].
pub const LOADER: &str = "ld-linux-x86-64.so.2";

/// What a guest is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The machine it was declared to be.
    pub machine: Machine,
    /// What is to be done there.
    pub task: Task,
}

/// What is to be done in a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Run the cases whose name contains one of these texts; all, where there is none.
    Cases(Vec<String>),
    /// Give a person a shell on the console.
    Shell,
}

/// What a guest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum Message {
    /// The kernel is up and the guest's own program runs.
    Booted {
        /// The kernel's release, as `uname -r` prints it.
        kernel: String,
    },
    /// A case begins.
    Started {
        /// Its name.
        case: String,
    },
    /// A case is over.
    Finished {
        /// Its name.
        case: String,
        /// How it ended.
        outcome: Outcome,
        /// How long it took in milliseconds of the guest's clock.
        ms: u64,
    },
    /// Every case is over; nothing follows.
    Done,
    /// The guest itself could not go on.
    Broken {
        /// Why.
        reason: String,
    },
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// What it claims is so.
    Passed,
    /// What it claims is not so, or could not be found out.
    Failed {
        /// What was found, and what was expected.
        reason: String,
    },
    /// It has nothing to say about this machine or this kernel.
    Skipped {
        /// What is missing here.
        reason: String,
    },
}
