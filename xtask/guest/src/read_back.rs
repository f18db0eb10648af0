//! Where pages lie, asked with the bare call and not with the library that is tested.

use std::collections::BTreeMap;
use std::io;

use anyhow::Context as _;

const PAGE: usize = 4096;

/// Returns the node that each base page of a range lies on; `None` where it lies on none.
pub(crate) fn page_nodes(bytes: &[u8]) -> anyhow::Result<Vec<Option<usize>>> {
    let first = bytes.as_ptr() as usize;
    let pages: Vec<usize> = (first..first + bytes.len()).step_by(PAGE).collect();
    nodes_of(&pages)
}

/// Returns the node that the base page of an address lies on; `None` where it lies on none.
pub(crate) fn node_of_address(address: usize) -> anyhow::Result<Option<usize>> {
    Ok(nodes_of(&[address & !(PAGE - 1)])?.first().copied().flatten())
}

/// Returns the node that each of these pages lies on.
fn nodes_of(pages: &[usize]) -> anyhow::Result<Vec<Option<usize>>> {
    let mut status = vec![0_i32; pages.len()];
    let none = std::ptr::null::<i32>();
    // SAFETY: both arrays have an entry for each page, and without target nodes nothing is moved.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            0,
            pages.len(),
            pages.as_ptr(),
            none,
            status.as_mut_ptr(),
            0,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error()).context("move_pages is refused");
    }
    Ok(status.iter().map(|&node| usize::try_from(node).ok()).collect())
}

/// Returns how many base pages of a range lie on each node; those that lie on none are left out.
pub(crate) fn pages_by_node(bytes: &[u8]) -> anyhow::Result<BTreeMap<usize, u64>> {
    let mut counts = BTreeMap::new();
    for node in page_nodes(bytes)?.into_iter().flatten() {
        *counts.entry(node).or_default() += 1;
    }
    Ok(counts)
}
