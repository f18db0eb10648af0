//! What a job tells a subscriber.
//!
//! Alone in its process: whether an event is listened to is remembered for the
//! whole process, so a subscriber of one thread among others misses events.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    let events = Log::default();
    let writer = events.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber)?;

    let topology = Topology::discover()?;
    let node = topology.nodes().first().ok_or("a machine without nodes")?.id();
    let pool = Pool::builder().topology(Arc::new(topology)).build()?;
    let location = Location::PerNode(vec![(node, 100..164)]);
    let one = NonZeroUsize::MIN;
    Job::new(100, 64).location(location).max_threads(one).run(&pool, |_| ())?;

    let log = String::from_utf8(events.0.lock().expect("no panic").clone())?;
    let chunk = log.lines().find(|line| line.contains(": chunk")).ok_or("no chunk is traced")?;
    let node = format!("node={}", node);
    let words = ["TRACE", "job{start=100 size=64", "threads=1}", &node, "cpu=", "end=164"];
    for word in words {
        assert!(chunk.contains(word), "{word} is not in {chunk}");
    }
    a_stalled_chunk_is_told_of_once(&pool, &events)
}

/// A chunk that does not end is a warning with helper, CPU and range: by the caller, who waits for it.
fn a_stalled_chunk_is_told_of_once(pool: &Pool, events: &Log) -> Result<(), Box<dyn Error>> {
    const WORDS: &str = "a chunk has not ended";
    let begun = AtomicBool::new(false);
    let told = || String::from_utf8_lossy(&events.0.lock().expect("no panic")).contains(WORDS);
    let two = NonZeroUsize::MIN.saturating_add(1);
    let job = Job::new(0, 2).max_chunk(1).max_threads(two).stall_after(Duration::from_millis(5));
    job.run(pool, |_| match pool.current_helper() {
        // Both chunks are begun by different threads.
        None => {
            while !begun.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        }
        Some(_) => {
            begun.store(true, Ordering::Relaxed);
            while !told() {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Nor is it told of again.
            std::thread::sleep(Duration::from_millis(20));
        }
    })?;
    let log = String::from_utf8(events.0.lock().expect("no panic").clone())?;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(WORDS)).collect();
    let of_helper: Vec<&&str> = lines.iter().filter(|line| line.contains("helper=")).collect();
    assert_eq!(of_helper.len(), 1, "{lines:?}");
    for word in ["WARN", "cpu=", "start=", "end=", "seconds="] {
        assert!(of_helper[0].contains(word), "{word} is not in {}", of_helper[0]);
    }
    Ok(())
}
