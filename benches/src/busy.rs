//! How much of the machine other programs used while a benchmark ran.

use procfs::process::Process;
use procfs::{CpuTime, CurrentSI, KernelStats};

/// A point in time from which the CPUs' use is counted.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    start: Ticks,
}

/// CPU time since boot, in the kernel's ticks, and that of this process and the children it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    used: u64,
    idle: u64,
    own: u64,
}

impl Busy {
    /// Starts to count; `None` where the kernel does not tell.
    #[must_use]
    pub fn start() -> Option<Self> {
        Ticks::now().map(|start| Self { start })
    }

    /// Returns the share of all CPU time since the start that other programs used, from 0 to 1.
    ///
    /// Time that a hypervisor took away counts as theirs. `None` where the
    /// kernel does not tell, or no time has passed.
    #[must_use]
    pub fn others(&self) -> Option<f64> {
        Ticks::now()?.others_since(self.start)
    }
}

impl Ticks {
    fn now() -> Option<Self> {
        let total = KernelStats::current().ok()?.total;
        let own = Process::myself().and_then(|process| process.stat()).ok()?;
        let children = u64::try_from(own.cutime + own.cstime).ok()?;
        let CpuTime { user, nice, system, idle, .. } = total;
        let [iowait, irq, softirq, steal] =
            [total.iowait, total.irq, total.softirq, total.steal].map(|ticks| ticks.unwrap_or(0));
        Some(Self {
            used: user + nice + system + irq + softirq + steal,
            idle: idle + iowait,
            own: own.utime + own.stime + children,
        })
    }

    fn others_since(self, start: Self) -> Option<f64> {
        let used = self.used.checked_sub(start.used)?;
        // A CPU that goes offline takes its idle time with it.
        let idle = self.idle.saturating_sub(start.idle);
        let others = used.saturating_sub(self.own.saturating_sub(start.own));
        (used + idle > 0).then(|| others as f64 / (used + idle) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_and_not_idle_is_others() {
        let start = Ticks { used: 1000, idle: 5000, own: 100 };
        let end = Ticks { used: 1100, idle: 5100, own: 150 };
        assert_eq!(end.others_since(start), Some(0.25));
        assert_eq!(start.others_since(start), None);
        let all_ours = Ticks { used: 1100, idle: 5000, own: 201 };
        assert_eq!(all_ours.others_since(start), Some(0.0), "ticks are rounded");
    }

    #[test]
    fn this_machine_tells() {
        let busy = Busy::start().expect("every Linux has these files");
        assert!(busy.others().is_none_or(|share| (0.0..=1.0).contains(&share)));
    }
}
