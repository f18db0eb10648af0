//! firsttouch.

use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::{Context, ensure};
use firsttouch::{CpuSet, PageInit, Pool, Region, Topology};

use super::Here;

/// A pool with a helper for each thread; with all CPUs, exactly what a program gets by default.
pub(super) struct Firsttouch {
    pool: Pool,
}

impl Firsttouch {
    pub(super) fn start(threads: NonZeroUsize) -> anyhow::Result<Self> {
        let topology = Arc::new(Topology::discover().context("cannot read this machine")?);
        let allowed = topology.allowed().cpus();
        let cpus: CpuSet = allowed.iter().take(threads.get()).collect();
        ensure!(cpus.len() == threads.get(), "firsttouch runs one helper per CPU, of {cpus}");
        let mut builder = Pool::builder();
        if cpus.len() < allowed.len() {
            builder = builder.cpus(cpus);
        }
        let pool = builder.topology(topology).build().context("firsttouch starts no pool")?;
        Ok(Self { pool })
    }
}

impl Here for Firsttouch {
    fn init(&mut self, region: &mut Region, value: u8) -> anyhow::Result<()> {
        // Reading back is left out: rivals do not, and it is done for all alike afterwards.
        let init = PageInit::new(region).read_back(false);
        match value {
            0 => init.zero(&self.pool)?,
            value => init.fill(&self.pool, value)?,
        };
        Ok(())
    }
}
