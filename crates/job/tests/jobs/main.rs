//! Jobs as their users see them, on this machine and on synthetic ones of several nodes.

mod cancel;
mod handle;
mod limits;
mod pieces;
mod priority;
mod progress;
mod threads;
mod undo;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Barrier, Mutex, mpsc};

use firsttouch_job::{Chunk, Location};
use firsttouch_pool::Pool;
use firsttouch_topology::{NodeId, Topology};

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

fn n(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("a number of threads")
}

fn node(number: u32) -> NodeId {
    NodeId::new(number)
}

/// A pool of so many helpers on each of so many nodes, which need not be those of this machine.
fn pool(nodes: u32, helpers: usize) -> Arc<Pool> {
    let description = format!("node:{nodes} core:{helpers} pu:1");
    let topology = Topology::synthetic(&description).expect("it is in the grammar");
    let builder = Pool::builder().topology(Arc::new(topology)).helpers_per_node(n(helpers));
    Arc::new(builder.build().expect("threads for a test"))
}

/// Equal parts on so many nodes.
fn parts(size: usize, nodes: usize) -> Location {
    let part = |number: usize| size * number / nodes..size * (number + 1) / nodes;
    Location::PerNode((0..nodes).map(|number| (node(number as u32), part(number))).collect())
}

/// The ranges that were run or undone, in any order.
#[derive(Debug, Default)]
struct Ranges(Mutex<Vec<Range<usize>>>);

impl Ranges {
    fn add(&self, chunk: &Chunk) {
        self.0.lock().expect("no panic").push(chunk.range());
    }

    fn sorted(&self) -> Vec<Range<usize>> {
        let mut ranges = self.0.lock().expect("no panic").clone();
        ranges.sort_by_key(|range| range.start);
        ranges
    }

    fn in_order(&self) -> Vec<Range<usize>> {
        self.0.lock().expect("no panic").clone()
    }
}

/// Keeps all of a pool's helpers busy until the senders are dropped.
fn keep_busy(pool: &Pool) -> Vec<mpsc::Sender<()>> {
    let begun = Arc::new(Barrier::new(pool.helpers().len() + 1));
    let busy = pool.helpers().iter().map(|_| {
        let (busy, ended) = mpsc::channel();
        let begun = Arc::clone(&begun);
        pool.spawn(move || {
            begun.wait();
            let _ = ended.recv();
        });
        busy
    });
    let busy = busy.collect();
    begun.wait();
    busy
}
