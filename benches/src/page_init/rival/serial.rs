//! What a program does today: one thread writes through fresh memory.

use firsttouch::Region;

use super::Here;
use crate::page_init::measure::write_all;

pub(super) struct Serial;

impl Here for Serial {
    fn init(&mut self, region: &mut Region, value: u8) -> anyhow::Result<()> {
        write_all(region.as_mut_slice(), value);
        Ok(())
    }
}
