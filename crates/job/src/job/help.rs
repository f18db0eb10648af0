//! Asking for help: the one place where jobs and loops wake helpers.
//!
//! Helpers that look for work come to a call by themselves. To wake one that
//! sleeps costs the caller some microseconds, and the helper some tens of them
//! until it comes: a loop that is over sooner is better left to its caller. A
//! caller cannot know that beforehand, and cannot wake anybody while a chunk
//! runs. So it goes by what the same loop took the last time: one that was short
//! is begun alone, and helpers are woken after the first chunk that ends when
//! the time of a wake-up has passed; any other wakes them first. One that was
//! [brief](expected::BRIEF) asks nobody in the same way, awake or not.

pub(crate) mod expected;
pub(crate) mod ticks;

use std::time::{Duration, Instant};

use firsttouch_pool::{Helper, Member, Pool, Team};

use self::expected::{Entry, Expected, SHORT, is_timed};

/// A thread's way through chunks, which can be told to stop for a while.
pub(crate) trait Way: Clone + Sync {
    /// Gives no chunk from this time on, but at least one before; `None` lifts that.
    fn pause_at(&mut self, time: Option<Instant>);

    /// Whether no thread can take a chunk any more.
    fn is_used_up(&self) -> bool;

    /// The units that it has taken, and all that there were; `None` where it does not count.
    fn taken(&self) -> Option<(usize, usize)>;
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
    /// `entry` is the work's.
    #[inline]
    pub(crate) fn run<W: Way>(
        self,
        pool: &Pool,
        mut caller: W,
        entry: Entry,
        team: impl FnOnce() -> Team,
        own: impl Fn(&mut W) + Sync,
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
        // With a time to be alone, what comes after it is not the whole.
        let entry = if self.after.is_some() { entry.of_rest() } else { entry };
        let team = team();
        let team = if self.after.is_none() { team.wake_late() } else { team };
        pool.run(&team, |member| match member.helper() {
            Some(one) if !member.is_caller() => helper(one),
            _ if member.lacks_helpers() => run_and_wake(member, &mut caller.clone(), entry, &own),
            _ if self.after.is_none() && is_timed() => run_timed(&mut caller.clone(), entry, &own),
            _ => own(&mut caller.clone()),
        });
    }
}

/// Runs the caller's part, and notes what to expect the next time.
#[inline(never)]
fn run_timed<W: Way>(way: &mut W, entry: Entry, own: &impl Fn(&mut W)) {
    let began = Instant::now();
    own(way);
    let took = began.elapsed();
    // Where others took more than half, theirs may have been the long ones.
    let most = way.taken().filter(|&(taken, all)| taken > 0 && taken >= all.div_ceil(2));
    match most.map(|(taken, all)| took.mul_f64(all as f64 / taken as f64)) {
        Some(alone) => entry.note(Expected::of_alone(alone)),
        None if took >= SHORT => entry.note(Expected::Long),
        None => {}
    }
}

/// Runs the caller's part where helpers sleep, and wakes them first or when it takes longer than expected.
#[inline(never)]
fn run_and_wake<W: Way>(member: &Member<'_>, way: &mut W, entry: Entry, own: &impl Fn(&mut W)) {
    let begins_alone = entry.expected() <= Expected::Short;
    if !begins_alone {
        member.wake();
    }
    let began = Instant::now();
    if begins_alone {
        way.pause_at(began.checked_add(SHORT));
    }
    own(way);
    if begins_alone && !way.is_used_up() {
        member.wake();
        way.pause_at(None);
        own(way);
    }
    let took = began.elapsed();
    let is_alone = way.taken().is_some_and(|(taken, all)| taken == all);
    entry.note(if is_alone { Expected::of_alone(took) } else { Expected::of(took) });
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
