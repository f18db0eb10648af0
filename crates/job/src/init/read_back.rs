//! Where an initialised region's pages lie, as the kernel tells it.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use firsttouch_memory::{MemoryError, Parts, Residency};
use firsttouch_pool::Pool;
use firsttouch_topology::{NodeId, Topology};

use crate::init::placement::Layout;
use crate::init::report::InitPages;
use crate::init::touch::Record;
use crate::job::Job;
use crate::job::body::{Body, NoUndo, Whole};
use crate::job::sites::is_cpu_local;
use crate::{Chunk, RunError};

/// The most bytes that one thread asks about at a time, so that long records are shared.
const PIECE: usize = 64 << 20;

/// Counts of one thread.
#[derive(Debug, Default)]
struct Counts {
    residency: Residency,
    placed: u64,
    local: u64,
}

impl Counts {
    fn count(&mut self, record: &Record, residency: &Residency, topology: &Topology) {
        self.placed += match record.node {
            Some(node) => residency.pages_on(node),
            None => residency.present(),
        };
        let local_to =
            |node: NodeId| record.cpus.iter().all(|&cpu| is_cpu_local(topology, cpu, node));
        let local = residency.nodes().filter(|&(node, _)| local_to(node));
        self.local += local.map(|(_, pages)| pages).sum::<u64>();
        self.residency.merge(residency);
    }

    fn add(&mut self, other: &Self) {
        self.residency.merge(&other.residency);
        self.placed += other.placed;
        self.local += other.local;
    }
}

/// Returns how much of a region lies on a node, or on any, in bytes; `None`, and an event, where the kernel does not tell.
pub(crate) fn bytes_on(parts: Parts<'_>, node: Option<NodeId>, len: usize) -> Option<u64> {
    match parts.residency(0..len) {
        Ok(residency) => {
            let pages = node.map_or(residency.present(), |node| residency.pages_on(node));
            Some(pages * residency.page_bytes() as u64)
        }
        Err(error) => {
            tracing::debug!(%error, "how much was placed cannot be read back");
            None
        }
    }
}

/// Reads back where the recorded bytes lie; `None`, and an event, where the kernel does not tell.
pub(crate) fn read_back(
    pool: &Pool,
    parts: Parts<'_>,
    topology: &Topology,
    layout: &Layout,
    records: &[Record],
    max_threads: Option<NonZeroUsize>,
) -> Option<InitPages> {
    let pieces: Vec<Record> = records
        .iter()
        .flat_map(|record| {
            record.range.clone().step_by(PIECE).map(|start| Record {
                range: start..record.range.end.min(start.saturating_add(PIECE)),
                ..record.clone()
            })
        })
        .collect();
    let total = Mutex::new(Counts::default());
    let mut job = Job::new(0, pieces.len());
    if let Some(threads) = max_threads {
        job = job.max_threads(threads);
    }
    let body = Body {
        state: Counts::default,
        chunk: |counts: &mut Counts, chunk: &Chunk| {
            for record in &pieces[chunk.range()] {
                let residency = parts.residency(record.range.clone())?;
                counts.count(record, &residency, topology);
            }
            Ok::<(), MemoryError>(())
        },
        done: |counts| total.lock().unwrap_or_else(PoisonError::into_inner).add(&counts),
        undo: NoUndo,
        calls: Whole,
    };
    match job.run_body(pool, &body) {
        Ok(_) => {}
        Err(RunError::Chunk(failed)) if failed.error.is_refused() => {
            tracing::debug!(error = %failed.error, "where the pages lie cannot be read back");
            return None;
        }
        Err(RunError::Chunk(failed)) => {
            tracing::warn!(error = %failed.error, "where the pages lie cannot be read back");
            return None;
        }
        Err(RunError::Job(error)) => {
            tracing::warn!(%error, "where the pages lie cannot be read back");
            return None;
        }
    }
    let Counts { residency, mut placed, local } =
        total.into_inner().unwrap_or_else(PoisonError::into_inner);
    if residency.not_present() > 0 {
        let pages = residency.not_present();
        tracing::debug!(pages, "the kernel names no node for some pages that were initialised");
    }
    if let Some(even) = &layout.even {
        let most = even.most_per_node().div_ceil(residency.page_bytes()) as u64;
        let nodes = even.nodes().iter();
        placed = nodes.map(|&node| residency.pages_on(node).min(most)).sum();
    }
    Some(InitPages { residency, placed, local })
}
