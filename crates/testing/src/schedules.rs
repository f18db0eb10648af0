//! Models under random schedules, and the machines that they run on.
//!
//! `FIRSTTOUCH_SHUTTLE_ITERATIONS` sets how many schedules each model is run
//! under. One that fails names the file that it keeps the schedule in;
//! `FIRSTTOUCH_SHUTTLE_REPLAY=FILE` runs that one schedule again.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use firsttouch_topology::Topology;
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Preemptions that the scheduler places which bounds them.
const PREEMPTIONS: usize = 3;

/// Runs a model under so many schedules where the environment does not say; failing ones go to the folder.
///
/// Half choose among all threads at each step, half keep to priorities that
/// change a few times.
///
/// # Panics
///
/// Where the model does, or the environment's values cannot be read.
pub fn check(model: fn(), iterations: usize, folder: &str) {
    let config = || {
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        // Beyond these, threads go round without getting on.
        config.max_steps = MaxSteps::FailAfter(2_000_000);
        config.silence_warnings = true;
        config.failure_persistence = FailurePersistence::File(Some(PathBuf::from(folder)));
        config
    };
    fn run(scheduler: impl Scheduler + 'static, config: Config, model: fn()) {
        Runner::new(scheduler, config).run(model);
    }
    if let Some(file) = std::env::var_os("FIRSTTOUCH_SHUTTLE_REPLAY") {
        let schedule = ReplayScheduler::new_from_file(file).expect("a schedule can be read");
        return run(schedule, config(), model);
    }
    let told = std::env::var("FIRSTTOUCH_SHUTTLE_ITERATIONS").ok();
    let iterations = told.map_or(iterations, |iterations| {
        iterations.parse().expect("the number of iterations is a number")
    });
    run(RandomScheduler::new(iterations.div_ceil(2)), config(), model);
    run(PctScheduler::new(PREEMPTIONS, iterations / 2), config(), model);
}

/// Every CPU number that a thread of a test may see is on the first node, so that replays agree.
static TOPOLOGIES: LazyLock<[Arc<Topology>; 2]> = LazyLock::new(|| {
    ["node:1 core:1024 pu:1", "node:2 core:1024 pu:1"]
        .map(|machine| Arc::new(Topology::synthetic(machine).expect("it is in the grammar")))
});

/// Returns a machine of one or two nodes.
///
/// # Panics
///
/// For another number.
#[must_use]
pub fn topology(nodes: usize) -> Arc<Topology> {
    Arc::clone(&TOPOLOGIES[nodes - 1])
}
