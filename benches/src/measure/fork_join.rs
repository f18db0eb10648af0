//! The groups `broadcast`, `for-each` and `enter`.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use crossbeam_utils::CachePadded;

use super::latency::{cold, hot};
use super::tally::Tally;
use super::{Request, Sample};
use crate::runtime::Runtime;
use crate::suite::Group;

pub(super) fn measure(request: &Request, runtime: &mut dyn Runtime) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for case in request.group.cases(request.effort).iter().filter(|case| request.wants(case)) {
        let sample = if case.ends_with("/inside") {
            let mut sample = Ok(None);
            let entered = runtime.inside(&mut |inner| sample = one(request, case, inner));
            if entered.is_some() { sample? } else { None }
        } else {
            one(request, case, runtime)?
        };
        samples.extend(sample);
    }
    Ok(samples)
}

/// Measures one case from where it is called; `None` where the runtime has no counterpart.
fn one(request: &Request, case: &str, runtime: &mut dyn Runtime) -> anyhow::Result<Option<Sample>> {
    let threads = request.threads.get();
    let indices = match request.group {
        Group::Broadcast => threads,
        Group::ForEach => threads.max(2),
        _ => 1,
    };
    // In lines of their own: helpers would wait for that of the tally where each call writes to it.
    let tally = CachePadded::new(Tally::new(indices));
    let calls = CachePadded::new(AtomicU64::new(0));
    let mut call = || {
        calls.fetch_add(1, Ordering::Relaxed);
        match request.group {
            Group::Broadcast => runtime.broadcast(&|index| tally.mark(index)),
            Group::ForEach => runtime.for_each(indices, &|index| tally.mark(index)),
            _ => runtime.enter(&|| tally.mark(0)),
        }
    };
    if call().is_none() {
        return Ok(None);
    }
    let mut refused = 0_u64;
    let count = || refused += u64::from(call().is_none());
    let sample = match case.contains("/cold") {
        true => cold(case, request.effort, count),
        false => hot(case, request.effort, count),
    };
    ensure!(refused == 0, "{case}: {refused} calls were refused after one was not");
    tally.check(case, calls.load(Ordering::Relaxed))?;
    Ok(Some(sample))
}
