//! The group `idle`: CPU time that is used when there is nothing to do.

use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{Request, Sample};
use crate::runtime::{Fib, Runtime};
use crate::suite::IDLE_SECONDS;

pub(super) fn measure(request: &Request, runtime: &mut dyn Runtime) -> anyhow::Result<Vec<Sample>> {
    // All of its threads have been at work, so none is still on its way to its first sleep.
    for _ in 0..100 {
        runtime.broadcast(&|_| ());
        runtime.for_each(request.threads.get(), &|_| ());
        runtime.fib(Fib(10));
    }
    let before = process_seconds();
    thread::sleep(Duration::from_secs(IDLE_SECONDS));
    let value = (process_seconds() - before).max(0.0);
    Ok(request.cases.iter().map(|case| Sample::new(case, "s", value)).collect())
}

/// CPU time of all threads of this process, in seconds.
fn process_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_what_this_process_computes() {
        let before = process_seconds();
        super::super::latency::work_for(Duration::from_millis(20));
        assert!(process_seconds() > before);
    }
}
