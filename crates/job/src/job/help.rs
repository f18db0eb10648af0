//! Asking for help: the one place where jobs and loops wake helpers.
//!
//! Helpers that look for work come to a call by themselves. To wake one that
//! sleeps costs the caller some microseconds, and the helper some tens of them
//! until it comes: a loop that is over sooner is better left to its caller. A
//! caller cannot know that beforehand, and cannot wake anybody while a chunk
//! runs. So it goes by what the same loop took the last time: one that was short
//! is begun alone, and helpers are woken after the first chunk that ends when
//! the time of a wake-up has passed; any other wakes them first.

mod short;

use std::time::{Duration, Instant};

use firsttouch_pool::{Helper, Member, Pool, Team};

use self::short::Short;

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
    /// How long the caller works alone first; `None` asks at once, and wakes helpers when the last time says.
    pub(crate) after: Option<Duration>,
}

impl Help {
    /// Asks, and wakes helpers, at once.
    pub(crate) const AT_ONCE: Self = Self { after: Some(Duration::ZERO) };

    /// Calls `own` on the caller, and `helper` on each helper of the team that comes.
    ///
    /// `own` may be called twice: before helpers are asked or woken, and after.
    /// `units` is the size of the work.
    #[inline]
    pub(crate) fn run<W: Way, O: Fn(&mut W) + Sync>(
        self,
        pool: &Pool,
        mut caller: W,
        units: usize,
        team: impl FnOnce() -> Team,
        own: O,
        helper: impl Fn(&Helper) + Sync,
    ) {
        if let Some(after) = self.after.filter(|after| !after.is_zero()) {
            // A time past the clock's end is never reached: the caller does it all.
            caller.pause_at(Instant::now().checked_add(after));
            own(&mut caller);
            if caller.is_used_up() {
                return;
            }
            caller.pause_at(None);
        }
        let team = team();
        let team = if self.after.is_none() { team.wake_late() } else { team };
        pool.run(&team, |member| match member.helper() {
            Some(one) if !member.is_caller() => helper(one),
            _ if !member.lacks_helpers() => own(&mut caller.clone()),
            _ => run_and_wake(member, &mut caller.clone(), Short::of::<O>(units), &own),
        });
    }
}

/// Runs the caller's part where helpers sleep, and wakes them first or when it takes longer than expected.
#[inline(never)]
fn run_and_wake<W: Way>(member: &Member<'_>, way: &mut W, short: Short, own: &impl Fn(&mut W)) {
    let begins_alone = short.is_expected();
    if !begins_alone {
        member.wake();
    }
    let began = Instant::now();
    if begins_alone {
        way.pause_at(began.checked_add(short::LIMIT));
    }
    own(way);
    if begins_alone && !way.is_used_up() {
        member.wake();
        way.pause_at(None);
        own(way);
    }
    short.note(began.elapsed());
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
