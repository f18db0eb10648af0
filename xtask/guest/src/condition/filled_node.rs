//! A node with little memory left.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::Held;
use crate::stage::PROGRAM;
use crate::sysfs;

const MPOL_BIND: i32 = 2;
/// What is taken between two looks at what is left: a huge page.
const STEP: usize = 2 << 20;
/// What is mapped at once.
const MAPPED: usize = 64 * STEP;

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
    let mut steps = Vec::new();
    while sysfs::node_memory(node, "MemFree")? > left + STEP as u64 {
        if steps.is_empty() {
            steps = mapped(node)?;
        }
        if let Some(step) = steps.pop() {
            touch(step);
        }
    }
    writeln!(std::io::stdout(), "full")?;
    loop {
        std::thread::park();
    }
}

/// Maps memory of the node, none of which is there yet; returns where its steps begin.
fn mapped(node: usize) -> anyhow::Result<Vec<*mut u8>> {
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: without MAP_FIXED the kernel picks addresses that nothing else uses.
    let base = unsafe { mmap_anonymous(std::ptr::null_mut(), MAPPED, protection, flags) };
    let base: *mut u8 = base.context("mmap is refused")?.cast();
    let mask = 1_u64 << node;
    // SAFETY: the range is the mapping just made; the mask is read, for one bit less than told, and not kept.
    let answer = unsafe {
        libc::syscall(libc::SYS_mbind, base, MAPPED, MPOL_BIND, &raw const mask, u64::BITS + 1, 0)
    };
    ensure!(answer == 0, "mbind is refused: {}", std::io::Error::last_os_error());
    // Huge pages are there sooner than as many base pages. Where they are refused, base pages do.
    // SAFETY: the range is the mapping just made, and the advice changes no contents.
    let _ = unsafe { libc::madvise(base.cast(), MAPPED, libc::MADV_HUGEPAGE) };
    let first = base.align_offset(STEP);
    Ok((first..=MAPPED - STEP).step_by(STEP).map(|offset| base.wrapping_add(offset)).collect())
}

/// Has each page of a step be there.
fn touch(step: *mut u8) {
    for page in (0..STEP).step_by(4096) {
        // SAFETY: the byte lies in a mapping that nothing else refers to.
        unsafe { step.wrapping_add(page).write(1) };
    }
}
