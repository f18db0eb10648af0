//! Asking for help: the one place where jobs and loops wake helpers.

use std::time::{Duration, Instant};

use firsttouch_pool::{Helper, Pool, Team};

/// A thread's way through chunks, which can be told to stop for a while.
pub(crate) trait Way: Clone + Sync {
    /// Gives no chunk from this time on, but at least one before; `None` lifts that.
    fn pause_at(&mut self, time: Option<Instant>);

    /// Whether no thread can take a chunk any more.
    fn is_used_up(&self) -> bool;
}

/// When a caller asks for help.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Help {
    /// How long the caller works alone first; zero is not at all, and no look at the clock.
    pub(crate) after: Duration,
}

impl Help {
    /// Calls `own` on the caller, and `helper` on each helper of the team that comes.
    ///
    /// A caller that is to work alone first looks at the clock between chunks;
    /// where it is done before the time is over, nobody is asked.
    #[inline]
    pub(crate) fn run<W: Way>(
        self,
        pool: &Pool,
        mut caller: W,
        team: impl FnOnce() -> Team,
        own: impl Fn(&mut W) + Sync,
        helper: impl Fn(&Helper) + Sync,
    ) {
        // A time past the clock's end is never reached: the caller does it all.
        if !self.after.is_zero() {
            caller.pause_at(Instant::now().checked_add(self.after));
            own(&mut caller);
            if caller.is_used_up() {
                return;
            }
            caller.pause_at(None);
        }
        pool.run(&team(), |member| match member.helper() {
            Some(one) if !member.is_caller() => helper(one),
            _ => own(&mut caller.clone()),
        });
    }
}

/// When a thread stops taking chunks for a while.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pause {
    time: Option<Instant>,
    /// Whether it has taken a chunk since the time was set.
    has_begun: bool,
}

impl Pause {
    #[inline]
    pub(crate) fn at(time: Option<Instant>) -> Self {
        Self { time, has_begun: false }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.time.is_some()
    }

    /// Asked before each chunk: whether to stop here.
    #[inline]
    pub(crate) fn is_now(&mut self) -> bool {
        let Some(time) = self.time else { return false };
        std::mem::replace(&mut self.has_begun, true) && Instant::now() >= time
    }
}
