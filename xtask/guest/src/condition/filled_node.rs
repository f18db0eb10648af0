//! A node with little memory left.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::Held;
use crate::stage::PROGRAM;
use crate::sysfs;

const MPOL_BIND: i32 = 2;
const STEP: usize = 2 << 20;

/// Starts a process that takes the node's memory and keeps it.
pub(super) fn prepare(node: usize, left: u64) -> anyhow::Result<Held> {
    let mut filler = Command::new(PROGRAM)
        .args(["fill", &node.to_string(), &left.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a process that fills a node")?;
    let output = filler.stdout.take();
    let held = Held::until(move || {
        filler.kill()?;
        filler.wait()?;
        Ok(())
    });
    let mut line = String::new();
    BufReader::new(output.context("it has no output")?).read_line(&mut line)?;
    let full = line.trim() == "full";
    ensure!(full, "the process that fills node {node} ended before {left} bytes were left");
    Ok(held)
}

/// Takes the node's memory but for so many bytes, says so, and keeps it until killed.
pub(crate) fn fill(node: usize, left: u64) -> anyhow::Result<()> {
    while sysfs::node_memory(node, "MemFree")? > left + STEP as u64 {
        take(node)?;
    }
    writeln!(std::io::stdout(), "full")?;
    loop {
        std::thread::park();
    }
}

fn take(node: usize) -> anyhow::Result<()> {
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: without MAP_FIXED the kernel picks addresses that nothing else uses.
    let base = unsafe { mmap_anonymous(std::ptr::null_mut(), STEP, protection, flags) };
    let base: *mut u8 = base.context("mmap is refused")?.cast();
    let mask = 1_u64 << node;
    // SAFETY: the range is the mapping just made; the mask is read, for one bit less than told, and not kept.
    let answer = unsafe {
        libc::syscall(libc::SYS_mbind, base, STEP, MPOL_BIND, &raw const mask, u64::BITS + 1, 0)
    };
    ensure!(answer == 0, "mbind is refused: {}", std::io::Error::last_os_error());
    for page in (0..STEP).step_by(4096) {
        let byte = base.wrapping_add(page);
        // SAFETY: the byte lies in the mapping, which nothing else refers to.
        unsafe { byte.write(1) };
    }
    Ok(())
}
