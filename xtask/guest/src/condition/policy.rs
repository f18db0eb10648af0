//! Affinity and memory policy, set with the bare calls and not with the library that is tested.

use std::collections::BTreeSet;
use std::io;

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_setaffinity};

const MPOL_INTERLEAVE: i32 = 3;

/// Keeps this thread to these CPUs, as its children will be.
pub(super) fn keep_to(cpus: &BTreeSet<u32>) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu as usize);
    }
    sched_setaffinity(None, &set).context("sched_setaffinity is refused")
}

/// Interleaves what this thread and its children take over these nodes.
pub(super) fn interleave(nodes: &BTreeSet<usize>) -> anyhow::Result<()> {
    let mask: u64 = nodes.iter().map(|&node| 1 << node).sum();
    // SAFETY: the mask is read, for one bit less than the call is told, and not kept.
    let answer = unsafe {
        libc::syscall(libc::SYS_set_mempolicy, MPOL_INTERLEAVE, &raw const mask, u64::BITS + 1)
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("set_mempolicy is refused"),
    }
}

/// Returns the nodes that this thread's interleave policy names; none, where it has another policy.
pub(crate) fn interleaved_over() -> anyhow::Result<BTreeSet<usize>> {
    let (mode, nodes) = current()?;
    Ok(if mode == MPOL_INTERLEAVE { nodes } else { BTreeSet::new() })
}

/// Returns this thread's policy: the kernel's number of its mode, and the nodes it names.
pub(crate) fn current() -> anyhow::Result<(i32, BTreeSet<usize>)> {
    let mut mode = 0_i32;
    // The kernel wants room for every node it could ever have.
    let mut words = [0_u64; 16];
    // SAFETY: both places are written, each within its size, and not kept.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut mode,
            words.as_mut_ptr(),
            words.len() * 64,
            0,
            0,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error()).context("get_mempolicy is refused");
    }
    Ok((mode, (0..64).filter(|node| words[0] >> node & 1 == 1).collect()))
}
