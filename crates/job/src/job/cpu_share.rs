//! A share of a node's CPUs, as an operation's default.

/// A share of a node's CPUs, in percent: how many threads an operation uses there by default.
///
/// Work that is bound by memory or by the kernel's locks gains little from the last
/// of a node's CPUs. The kernel's authors found a quarter of them nearly as
/// fast as all for clearing pages, and less noisy.
///
/// # Examples
///
/// ```
/// use firsttouch_job::CpuShare;
///
/// assert_eq!(CpuShare::QUARTER.of(52), 13);
/// assert_eq!(CpuShare::QUARTER.of(2), 1);
/// assert_eq!(CpuShare::percent(0), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuShare(u8);

impl CpuShare {
    /// All CPUs.
    pub const ALL: Self = Self(100);
    /// A quarter of the CPUs.
    pub const QUARTER: Self = Self(25);

    /// Returns a share of 1 to 100 percent; `None` for other numbers.
    #[must_use]
    pub const fn percent(percent: u8) -> Option<Self> {
        if percent >= 1 && percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// Returns the share of so many CPUs, rounded up; at least one.
    #[must_use]
    pub const fn of(self, cpus: usize) -> usize {
        let share = (cpus as u128 * self.0 as u128).div_ceil(100) as usize;
        if share == 0 { 1 } else { share }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_share_of_every_u8_is_the_quotient_rounded_up() {
        for percent in 0..=u8::MAX {
            let Some(share) = CpuShare::percent(percent) else {
                assert!(percent == 0 || percent > 100);
                continue;
            };
            for cpus in 0..=usize::from(u8::MAX) {
                let threads = share.of(cpus);
                let exact = cpus * usize::from(percent);
                assert!(threads >= 1 && threads * 100 >= exact);
                assert!(threads == 1 || (threads - 1) * 100 < exact, "{cpus} {percent}");
            }
        }
        assert_eq!(CpuShare::ALL.of(usize::MAX), usize::MAX);
    }
}
