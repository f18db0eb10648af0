//! What the tests of this crate share.

// Each test binary uses its own share of this.
#![allow(dead_code)]

use std::fs;

use firsttouch_memory::{MemoryError, PageSize, Region};
pub(crate) use firsttouch_testing::skipped;
use firsttouch_topology::NodeSet;

/// Returns the value, or says that the environment refuses the call and returns `None`.
pub(crate) fn unless_refused<T, E>(what: &str, result: Result<T, E>) -> Option<T>
where
    MemoryError: From<E>,
{
    match result.map_err(MemoryError::from) {
        Ok(value) => Some(value),
        Err(error) if error.is_refused() => {
            skipped(what, &error);
            None
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Returns a region of transparent huge pages, or says why there is none.
pub(crate) fn transparent(what: &str, len: usize) -> Option<Region> {
    match Region::builder(len).page_size(PageSize::Transparent).build() {
        Ok(region) => Some(region),
        Err(error) if error.is_page_size_unavailable() => {
            skipped(what, &error);
            None
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Returns the nodes that this process may have memory on.
pub(crate) fn allowed_nodes() -> NodeSet {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let list = status.lines().find_map(|line| line.strip_prefix("Mems_allowed_list:"));
    list.map_or("0", str::trim).parse().expect("the kernel writes its own list syntax")
}

/// Returns the bytes of a base page.
pub(crate) fn base_page() -> usize {
    Region::builder(1).build().expect("one page can be mapped").page_bytes()
}
