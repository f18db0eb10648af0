//! Threads by hand, in C: `benches/rivals/pthreads.c`.

use std::num::NonZeroUsize;

use firsttouch::Region;

use super::{Here, way};

pub(super) const NEEDS: Option<&str> =
    if cfg!(has_pthreads) { None } else { Some(env!("FIRSTTOUCH_NEEDS_PTHREADS")) };

pub(super) struct Pthreads {
    pub(super) threads: NonZeroUsize,
}

#[cfg(has_pthreads)]
unsafe extern "C" {
    fn firsttouch_pthreads_populate(
        start: *mut u8,
        size: usize,
        threads: usize,
        piece: usize,
        step: usize,
        value: std::ffi::c_int,
    ) -> std::ffi::c_int;
}

impl Here for Pthreads {
    #[cfg(has_pthreads)]
    fn init(&mut self, region: &mut Region, value: u8) -> anyhow::Result<()> {
        let (piece, step) = (way::piece(region, self.threads), way::step(region));
        let bytes = region.as_mut_slice();
        let (start, size, threads) = (bytes.as_mut_ptr(), bytes.len(), self.threads.get());
        // SAFETY: it writes to these bytes only, which are ours alone, from threads that have
        // ended when it returns; any value is a byte.
        let error = unsafe {
            firsttouch_pthreads_populate(start, size, threads, piece, step, value.into())
        };
        match error {
            0 => Ok(()),
            error => Err(std::io::Error::from_raw_os_error(error).into()),
        }
    }

    #[cfg(not(has_pthreads))]
    fn init(&mut self, region: &mut Region, _: u8) -> anyhow::Result<()> {
        let _ = (way::piece(region, self.threads), way::step(region));
        anyhow::bail!("it is not in this build: it needs {}", env!("FIRSTTOUCH_NEEDS_PTHREADS"))
    }
}
