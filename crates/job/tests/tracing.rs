//! What a job tells a subscriber.
//!
//! Alone in its process: whether an event is listened to is remembered for the
//! whole process, so a subscriber of one thread among others misses events.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use firsttouch_job::{Job, Location};
use firsttouch_pool::Pool;
use firsttouch_topology::Topology;

/// Collects what is traced.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_job_is_a_span_and_each_chunk_an_event_with_node_cpu_and_range() -> Result<(), Box<dyn Error>> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber)?;

    let topology = Topology::discover()?;
    let node = topology.nodes().first().ok_or("a machine without nodes")?.id();
    let pool = Pool::builder().topology(Arc::new(topology)).build()?;
    let location = Location::PerNode(vec![(node, 100..164)]);
    let one = NonZeroUsize::MIN;
    Job::new(100, 64).location(location).max_threads(one).run(&pool, |_| ())?;

    let log = String::from_utf8(log.0.lock().expect("no panic").clone())?;
    let chunk = log.lines().find(|line| line.contains(": chunk")).ok_or("no chunk is traced")?;
    let node = format!("node={}", node);
    let words = ["TRACE", "job{start=100 size=64", "threads=1}", &node, "cpu=", "end=164"];
    for word in words {
        assert!(chunk.contains(word), "{word} is not in {chunk}");
    }
    Ok(())
}
