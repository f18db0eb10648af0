//! What can be wrong with a machine's description.

use std::io;
use std::path::PathBuf;

/// Why a topology could not be read at all.
///
/// A machine that is merely odd is no error: see [`Oddity`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The root has no readable description of CPUs.
    #[error(
        "{path} does not describe a machine: neither sys/devices/system/cpu nor proc/stat nor \
         proc/cpuinfo below it names an online CPU"
    )]
    NoCpus {
        /// The root that was read.
        path: PathBuf,
    },
    /// A system call about this process was refused.
    #[error("{call} was refused")]
    Call {
        /// The call's name.
        call: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A thread was to get a scheduling policy that is only read here.
    #[error("scheduling policy {policy} is not set; 0 (other), 3 (batch) and 5 (idle) can be")]
    Unmanaged {
        /// The kernel's number of the policy.
        policy: u32,
    },
    /// A synthetic description is not in hwloc's grammar.
    #[error("synthetic description: {reason}, at {token:?}")]
    Synthetic {
        /// The part that could not be read.
        token: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// hwloc could not describe the machine.
    #[error("hwloc cannot describe this machine: {reason}")]
    Hwloc {
        /// What hwloc said.
        reason: String,
    },
}

/// Something odd about a machine, and what was assumed instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {assumed}")]
#[non_exhaustive]
pub struct Oddity {
    /// What is odd, with the file that says so.
    pub what: String,
    /// What was assumed instead.
    pub assumed: String,
}

impl Oddity {
    /// Notes something odd, and says so to whoever traces.
    pub(crate) fn note(
        oddities: &mut Vec<Self>,
        what: impl Into<String>,
        assumed: impl Into<String>,
    ) {
        let oddity = Self { what: what.into(), assumed: assumed.into() };
        tracing::debug!(what = oddity.what, assumed = oddity.assumed, "odd machine");
        oddities.push(oddity);
    }
}
