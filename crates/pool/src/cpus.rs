//! The CPUs that a pool's threads are on: how a helper leaves one that another of them needs.
//!
//! The kernel is to find a CPU for each thread that it wakes. It does not always:
//! it seeks an idle CPU only when it wakes a thread, and in a virtual machine idle CPUs
//! look busy to it (`available_idle_cpu` asks `vcpu_is_preempted`), so that it wakes
//! helpers on the CPU of their caller, or of each other, and leaves them there for
//! milliseconds while others are idle. Where a job takes as long, that is half of its speed.
//!
//! - Who wakes up notes its CPU ([`CpuNote`]), as does a caller that is about to wake
//!   others and goes on itself. A helper that wakes up where another has noted to be moves to a
//!   CPU where none has.
//! - A helper that spins where another thread wants to run finds that when it offers
//!   the CPU: [`CpuSharing`].
//! - Who has woken another offers its CPU once, so that a helper that was put there
//!   gets to see it, and moves.

mod busy;
mod note;
mod sharing;

pub(crate) use busy::BusyCpus;
pub(crate) use note::{CpuNote, Moved, Noted};
pub(crate) use sharing::CpuSharing;
