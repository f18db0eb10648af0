//! How threads are scheduled: policy and nice value, read and set.

use std::fmt;
use std::io;

use crate::TopologyError;
use crate::sys::{self, SchedAttr};

/// A thread of this process, as the kernel numbers it.
///
/// The number is good while the thread lives; the kernel gives it to another
/// one later.
///
/// # Examples
///
/// ```
/// use firsttouch_topology::scheduling::ThreadId;
///
/// let own = ThreadId::current();
/// let other = std::thread::spawn(ThreadId::current).join().unwrap();
/// assert_ne!(own, other);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadId(u32);

impl ThreadId {
    /// Returns the calling thread's (`gettid`).
    #[must_use]
    pub fn current() -> Self {
        Self(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs())
    }

    /// Returns the kernel's number.
    #[must_use]
    pub fn os_id(self) -> u32 {
        self.0
    }
}

/// The kernel's scheduling policies; see `sched(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchedPolicy {
    /// The default time-sharing (`SCHED_OTHER`).
    Other,
    /// Time-sharing for work that nobody waits for at a screen (`SCHED_BATCH`): it preempts less.
    Batch,
    /// Only where nothing else wants the CPU, or nearly so (`SCHED_IDLE`): less than nice 19.
    Idle,
    /// A policy that this crate reads and never sets: real-time, deadline, or one of a later kernel.
    Unmanaged(u32),
}

impl SchedPolicy {
    fn from_kernel(policy: u32) -> Self {
        match policy as i32 {
            libc::SCHED_OTHER => Self::Other,
            libc::SCHED_BATCH => Self::Batch,
            libc::SCHED_IDLE => Self::Idle,
            _ => Self::Unmanaged(policy),
        }
    }

    fn to_kernel(self) -> u32 {
        match self {
            Self::Other => libc::SCHED_OTHER as u32,
            Self::Batch => libc::SCHED_BATCH as u32,
            Self::Idle => libc::SCHED_IDLE as u32,
            Self::Unmanaged(policy) => policy,
        }
    }
}

/// A nice value: from -20, which the scheduler favours most, to 19.
///
/// # Examples
///
/// ```
/// use firsttouch_topology::scheduling::Nice;
///
/// assert_eq!(Nice::new(19), Some(Nice::MAX));
/// assert_eq!(Nice::new(20), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nice(i8);

impl Nice {
    /// The value that the scheduler favours least.
    pub const MAX: Self = Self(19);

    /// Returns the value; `None` where it is not in -20..=19.
    #[must_use]
    pub const fn new(value: i8) -> Option<Self> {
        if value >= -20 && value <= 19 { Some(Self(value)) } else { None }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> i8 {
        self.0
    }
}

impl fmt::Display for Nice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How one thread is scheduled.
///
/// # Examples
///
/// ```
/// use firsttouch_topology::scheduling::{self, SchedPolicy, Scheduling};
///
/// let before = scheduling::current()?;
/// if before.policy == SchedPolicy::Other {
///     // Between these two the kernel lets every thread go both ways.
///     scheduling::set_current(&Scheduling { policy: SchedPolicy::Batch, ..before })?;
///     scheduling::set_current(&before)?;
/// }
/// assert_eq!(scheduling::current()?, before);
/// # Ok::<(), firsttouch_topology::TopologyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scheduling {
    /// The policy.
    pub policy: SchedPolicy,
    /// The nice value. It has no effect under [`SchedPolicy::Idle`], but is kept.
    pub nice: Nice,
}

/// Returns how the calling thread is scheduled (`sched_getattr`).
///
/// # Errors
///
/// [`TopologyError::Call`] where the kernel refuses.
pub fn current() -> Result<Scheduling, TopologyError> {
    read(0)
}

/// Returns how a thread is scheduled (`sched_getattr`).
///
/// # Errors
///
/// [`TopologyError::Call`] where there is no such thread any more, or the call is filtered.
pub fn of(thread: ThreadId) -> Result<Scheduling, TopologyError> {
    read(thread.0)
}

/// Sets how the calling thread is scheduled (`sched_setattr`).
///
/// A thread may always be lowered. To raise it again, be it to where it was,
/// needs `CAP_SYS_NICE` or an `RLIMIT_NICE` that allows the nice value; see
/// [`can_restore`].
///
/// The thread keeps its time slice, which since Linux 6.12 it may have asked
/// for (`sched_runtime`). The kernel does not tell whether it has, so from then
/// on the slice is the thread's own, and does not follow a later change of the
/// system's default.
///
/// # Errors
///
/// [`TopologyError::Call`] where the process may not, or the call is filtered;
/// [`TopologyError::Unmanaged`] for a policy that this crate only reads.
pub fn set_current(scheduling: &Scheduling) -> Result<(), TopologyError> {
    write(0, scheduling)
}

/// Sets how a thread is scheduled (`sched_setattr`), as [`set_current`] does for the calling one.
///
/// # Errors
///
/// As for [`set_current`], and where there is no such thread any more.
pub fn set(thread: ThreadId, scheduling: &Scheduling) -> Result<(), TopologyError> {
    write(thread.0, scheduling)
}

/// Finds out whether a thread that is scheduled as `high` could be lowered to `low` and raised back.
///
/// It is tried on a thread made for the purpose, since what a process may do
/// follows from its limits, its capabilities and where these are valid. `false`
/// where that thread cannot be made.
///
/// # Examples
///
/// ```
/// use firsttouch_topology::scheduling::{self, Nice, SchedPolicy, Scheduling};
///
/// let high = scheduling::current()?;
/// let low = Scheduling { policy: SchedPolicy::Idle, nice: Nice::MAX };
/// println!("idle and back: {}", scheduling::can_restore(&high, &low));
/// assert!(scheduling::can_restore(&high, &high));
/// # Ok::<(), firsttouch_topology::TopologyError>(())
/// ```
#[must_use]
pub fn can_restore(high: &Scheduling, low: &Scheduling) -> bool {
    if high == low {
        return true;
    }
    let (high, low) = (*high, *low);
    // A new thread begins as its maker is scheduled, which need not be as `high`.
    let tried = move || {
        let ready = current().is_ok_and(|own| own == high) || set_current(&high).is_ok();
        ready && set_current(&low).is_ok() && set_current(&high).is_ok()
    };
    let thread = std::thread::Builder::new().name("firsttouch-probe".to_owned()).spawn(tried);
    thread.is_ok_and(|thread| thread.join().unwrap_or(false))
}

fn read(thread: u32) -> Result<Scheduling, TopologyError> {
    let attr = sys::sched_getattr(thread).map_err(|source| refused("sched_getattr", source))?;
    // The kernel's values are in -20..=19.
    let nice = Nice(attr.nice.clamp(-20, 19) as i8);
    Ok(Scheduling { policy: SchedPolicy::from_kernel(attr.policy), nice })
}

fn write(thread: u32, scheduling: &Scheduling) -> Result<(), TopologyError> {
    if let SchedPolicy::Unmanaged(policy) = scheduling.policy {
        return Err(TopologyError::Unmanaged { policy });
    }
    let before = sys::sched_getattr(thread).map_err(|source| refused("sched_getattr", source))?;
    let attr = changed(&before, scheduling);
    sys::sched_setattr(thread, &attr).map_err(|source| refused("sched_setattr", source))
}

/// What a thread is given so that its policy and nice value change, and nothing else of it.
fn changed(before: &SchedAttr, scheduling: &Scheduling) -> SchedAttr {
    let shares_time = !matches!(SchedPolicy::from_kernel(before.policy), SchedPolicy::Unmanaged(_));
    SchedAttr {
        policy: scheduling.policy.to_kernel(),
        // Whether its children start as it was (SCHED_FLAG_RESET_ON_FORK) is its own business.
        flags: before.flags & u64::from(SCHED_FLAG_RESET_ON_FORK),
        nice: scheduling.nice.get().into(),
        // The time that the thread asks for at once: 0 would take the one
        // that it asked for from it. Of a deadline it means something else.
        runtime: if shares_time { before.runtime } else { 0 },
        ..SchedAttr::default()
    }
}

/// `SCHED_FLAG_RESET_ON_FORK` of `include/uapi/linux/sched.h`.
const SCHED_FLAG_RESET_ON_FORK: u32 = 1;

fn refused(call: &'static str, source: io::Error) -> TopologyError {
    TopologyError::Call { call, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a thread of its own, so that the test's thread keeps its scheduling.
    fn aside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| scope.spawn(f).join().expect("the thread's assertions hold"))
    }

    #[test]
    fn nice_values_are_those_of_the_kernel() {
        for value in i8::MIN..=i8::MAX {
            let nice = Nice::new(value).map(Nice::get);
            assert_eq!(nice, (-20..=19).contains(&value).then_some(value));
        }
    }

    #[test]
    fn policies_convert_both_ways() {
        for policy in 0..10 {
            assert_eq!(SchedPolicy::from_kernel(policy).to_kernel(), policy);
        }
        assert_eq!(SchedPolicy::from_kernel(1), SchedPolicy::Unmanaged(1), "SCHED_FIFO");
    }

    #[test]
    fn a_thread_can_be_lowered_and_reads_it_back() {
        aside(|| {
            let before = current().expect("a thread can read its own");
            let (SchedPolicy::Other | SchedPolicy::Batch) = before.policy else { return };
            let batch = Scheduling { policy: SchedPolicy::Batch, ..before };
            set_current(&batch).expect("any thread may");
            assert_eq!(current().ok(), Some(batch));
            set_current(&before).expect("and back");
            let nice = Scheduling { policy: SchedPolicy::Other, nice: Nice::MAX };
            set_current(&nice).expect("any thread may be lowered");
            assert_eq!(current().ok(), Some(nice));
            let idle = Scheduling { policy: SchedPolicy::Idle, nice: Nice::MAX };
            set_current(&idle).expect("any thread may be lowered");
            assert_eq!(current().ok().map(|now| now.policy), Some(SchedPolicy::Idle));
            // Whether it can come back is what the probe says.
            let back = set_current(&before).is_ok();
            assert_eq!(back, can_restore(&before, &idle));
        });
    }

    #[test]
    fn a_thread_keeps_its_slice_and_no_deadline_becomes_one() {
        let lower = Scheduling { policy: SchedPolicy::Batch, nice: Nice::MAX };
        let attr = |policy: i32| SchedAttr {
            policy: policy as u32,
            runtime: 5_000_000,
            ..SchedAttr::default()
        };
        for time_sharing in [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE] {
            assert_eq!(changed(&attr(time_sharing), &lower).runtime, 5_000_000);
        }
        assert_eq!(changed(&attr(libc::SCHED_DEADLINE), &lower).runtime, 0);

        aside(|| {
            let before = current().expect("a thread can read its own");
            let (SchedPolicy::Other | SchedPolicy::Batch) = before.policy else { return };
            let slice = || sys::sched_getattr(0).expect("a thread can read its own").runtime;
            let own = sys::sched_getattr(0).expect("a thread can read its own");
            let asked = SchedAttr { runtime: 7_000_000, ..own };
            // An older kernel has no slices to ask for, and keeps none.
            if sys::sched_setattr(0, &asked).is_err() || slice() != 7_000_000 {
                return;
            }
            set_current(&Scheduling { policy: SchedPolicy::Batch, ..before }).expect("any may");
            assert_eq!(slice(), 7_000_000);
            set_current(&before).expect("and back");
            assert_eq!(slice(), 7_000_000);
        });
    }

    #[test]
    fn another_thread_is_read_and_set_by_its_number() {
        let (send, number) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                send.send(ThreadId::current()).expect("it is waited for");
                let _ = ended.recv();
            });
            let other = number.recv().expect("it is sent");
            let before = of(other).expect("the thread lives");
            assert_eq!(before, current().expect("a thread can read its own"));
            let lower = Scheduling { policy: SchedPolicy::Batch, nice: Nice::MAX };
            set(other, &lower).expect("any thread may be lowered");
            assert_eq!(of(other).ok(), Some(lower));
            assert_eq!(current().ok(), Some(before), "the calling thread is as it was");
            drop(end);
        });
    }

    #[test]
    fn a_thread_that_is_not_there_is_an_error_with_the_calls_name() {
        // No kernel numbers a thread so high.
        let nobody = ThreadId(i32::MAX as u32);
        assert!(matches!(of(nobody), Err(TopologyError::Call { call: "sched_getattr", .. })));
        let normal = Scheduling { policy: SchedPolicy::Other, nice: Nice::default() };
        assert!(matches!(set(nobody, &normal), Err(TopologyError::Call { .. })));
    }

    #[test]
    fn policies_that_are_only_read_are_not_set() {
        let real_time = Scheduling { policy: SchedPolicy::Unmanaged(1), nice: Nice::default() };
        assert!(matches!(set_current(&real_time), Err(TopologyError::Unmanaged { policy: 1 })));
    }
}
