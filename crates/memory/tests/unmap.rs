//! Regions leave nothing mapped behind.
//!
//! A binary of one test, so that nothing else maps meanwhile.

mod common;

use std::fs;

use common::transparent;
use firsttouch_memory::{MemoryError, Region};

/// The bytes of address space in use, from `/proc/self/statm`.
fn address_space() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("proc is mounted");
    let pages = statm.split(' ').next().and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the first number is the size in pages") * common::base_page()
}

#[test]
fn dropped_regions_leave_no_address_space_in_use() -> Result<(), MemoryError> {
    const LEN: usize = 32 << 20;
    let before = address_space();
    let region = Region::builder(LEN).build()?;
    assert!(address_space() >= before + LEN, "the count sees regions at all");
    drop(region);
    for len in [1, LEN] {
        for _ in 0..8 {
            drop(Region::builder(len).build()?);
            drop(transparent("edges of transparent regions", len));
        }
    }
    let left = address_space().saturating_sub(before);
    assert!(left < 1 << 20, "{left} bytes are still mapped");
    Ok(())
}
