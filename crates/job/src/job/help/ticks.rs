//! A clock that is read in a few nanoseconds where the processor has one, for times that need not be exact.

/// One to four microseconds, by clocks of 4 to 1 GHz.
#[cfg(target_arch = "x86_64")]
pub(crate) const MICROSECOND: u64 = 4096;

/// Returns the time stamp counter, which the kernel's own clock reads too, more carefully.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn now() -> u64 {
    // SAFETY: every processor of this architecture has the instruction. In a
    // process that forbids it to itself (`PR_SET_TSC`) it is a SIGSEGV, as the
    // clocks of std are there.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// A microsecond.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const MICROSECOND: u64 = 1000;

/// Returns the nanoseconds since the first call.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn now() -> u64 {
    static FIRST: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    FIRST.elapsed().as_nanos() as u64
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn time_goes_on() {
        let (first, began) = (now(), Instant::now());
        while began.elapsed() < Duration::from_millis(2) {}
        let about = now().wrapping_sub(first) / MICROSECOND;
        assert!(about > 250, "{about}");
    }
}
