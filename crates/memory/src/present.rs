//! Which pages are present, and which of them are huge: what a residency query need ask about.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::mapping::Extent;
use crate::sys::{self, OptionalCall, PageRun};
use crate::{MemoryError, PageSize};

/// What maps the pages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapped {
    /// Base pages.
    Base,
    /// Pages of the region's granted size.
    Huge,
    /// Either, page by page: the kernel is too old to tell.
    Unknown,
}

/// Calls `visit` with each run of pages that may be present, ascending, by offset in the region.
///
/// Every page that is not in a run is not present. `pages` are whole base
/// pages. An old kernel gives all of `pages` as one run.
pub(crate) fn for_each_run(
    extent: &Extent,
    pages: &Range<usize>,
    mut visit: impl FnMut(Range<usize>, Mapped) -> Result<(), MemoryError>,
) -> Result<(), MemoryError> {
    let mut next = pages.start;
    if OptionalCall::PagemapScan.may_work() {
        match File::open("/proc/self/pagemap") {
            Ok(pagemap) => match scan(&pagemap, extent, pages, &mut next, &mut visit)? {
                Ok(()) => return Ok(()),
                Err(error) if is_missing(&error) => {
                    OptionalCall::PagemapScan.remember_missing(&error);
                }
                Err(error) => tracing::debug!(%error, "the kernel stops telling present pages"),
            },
            Err(error) => tracing::debug!(%error, "/proc/self/pagemap cannot be read"),
        }
    }
    let mapped = match extent.page_size {
        PageSize::Base => Mapped::Base,
        PageSize::Transparent => Mapped::Unknown,
        PageSize::Huge(_) => Mapped::Huge,
    };
    if next < pages.end { visit(next..pages.end, mapped) } else { Ok(()) }
}

/// Returns whether the answer is that of a kernel without the call.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL | libc::ENOSYS | libc::EPERM))
}

/// Visits the runs that the kernel finds, and moves `next` to where it stopped.
///
/// The inner result is the kernel's refusal to look any further.
fn scan(
    pagemap: &File,
    extent: &Extent,
    pages: &Range<usize>,
    next: &mut usize,
    visit: &mut impl FnMut(Range<usize>, Mapped) -> Result<(), MemoryError>,
) -> Result<io::Result<()>, MemoryError> {
    const RUNS: usize = 1024;
    let mut runs = vec![PageRun::default(); RUNS];
    let address = |offset: usize| extent.at(offset).addr().get() as u64;
    let region = address(0);
    while *next < pages.end {
        let rest = address(*next)..address(pages.end);
        let (filled, stopped) = match sys::scan_present(pagemap, rest.clone(), &mut runs) {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        let before = *next;
        // The kernel keeps to the range, and this keeps an odd one from leading astray.
        let offset = |address: u64| (address.clamp(rest.start, rest.end) - region) as usize;
        for run in runs.iter().take(filled) {
            let found = offset(run.addresses().start).max(*next)..offset(run.addresses().end);
            if !found.is_empty() {
                *next = found.end;
                visit(found, if run.is_huge() { Mapped::Huge } else { Mapped::Base })?;
            }
        }
        // Where the runs just fit, the kernel can say that it stopped before the last of them.
        *next = offset(stopped).max(*next);
        if *next == before {
            return Ok(Err(io::Error::other("the scan does not move on")));
        }
    }
    Ok(Ok(()))
}

/// The share of transparent huge pages in the mappings that a range lies in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HugeShare {
    huge: u64,
    resident: u64,
}

impl HugeShare {
    /// Returns the share as `/proc/self/smaps` gives it; none where that cannot be read.
    ///
    /// The kernel looks at all that the process has mapped whenever that file
    /// is read. So that many small parts of a region do not pay for the whole
    /// of it each, they share what was read a moment ago.
    pub(crate) fn of_range(extent: &Extent, pages: &Range<usize>) -> Self {
        static LATEST: Mutex<Option<Smaps>> = Mutex::new(None);
        let address = |offset: usize| extent.at(offset).addr().get() as u64;
        let addresses = address(pages.start)..address(pages.end);
        let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        let is_small = pages.len() < extent.mapped / Smaps::REUSE as usize;
        if let Some(smaps) = latest.as_ref().filter(|smaps| is_small && smaps.is_believed()) {
            let share = smaps.share(&addresses);
            // The region may be younger than what was read.
            if share.resident != 0 {
                return share;
            }
        }
        match Smaps::read() {
            Ok(smaps) => latest.insert(smaps).share(&addresses),
            Err(error) => {
                tracing::debug!(%error, "/proc/self/smaps cannot be read; huge pages count as base");
                Self::default()
            }
        }
    }

    /// Returns how many of so many present bytes are huge, in whole huge pages.
    pub(crate) fn of_present(self, present: u64, huge_page: u64) -> u64 {
        if self.resident == 0 {
            return 0;
        }
        let huge = u128::from(present) * u128::from(self.huge.min(self.resident))
            / u128::from(self.resident);
        // At most `present`, so it fits.
        let huge = huge as u64;
        huge - huge % huge_page
    }
}

/// What `/proc/self/smaps` said of the process's mappings.
#[derive(Debug)]
struct Smaps {
    mappings: Vec<(Range<u64>, HugeShare)>,
    read_at: Instant,
    took: Duration,
}

impl Smaps {
    /// How many times as long as it took to read it is believed: reading is then a small part of all work.
    const REUSE: u32 = 16;

    fn read() -> io::Result<Self> {
        let start = Instant::now();
        let mappings = Self::parse(&fs::read_to_string("/proc/self/smaps")?);
        let read_at = Instant::now();
        Ok(Self { mappings, read_at, took: read_at - start })
    }

    fn is_believed(&self) -> bool {
        self.read_at.elapsed() < self.took.saturating_mul(Self::REUSE)
    }

    fn parse(smaps: &str) -> Vec<(Range<u64>, HugeShare)> {
        let mut mappings: Vec<(Range<u64>, HugeShare)> = Vec::new();
        for line in smaps.lines() {
            if let Some(addresses) = mapping_header(line) {
                mappings.push((addresses, HugeShare::default()));
            } else if let Some((_, share)) = mappings.last_mut() {
                if let Some(bytes) = field(line, "Rss:") {
                    share.resident = bytes;
                } else if let Some(bytes) = HUGE_FIELDS.iter().find_map(|name| field(line, name)) {
                    share.huge = share.huge.saturating_add(bytes);
                }
            }
        }
        mappings
    }

    /// Returns the share in the mappings that the addresses meet.
    fn share(&self, addresses: &Range<u64>) -> HugeShare {
        let met =
            |mapping: &Range<u64>| mapping.start < addresses.end && addresses.start < mapping.end;
        let met = self.mappings.iter().filter(|(mapping, _)| met(mapping));
        met.fold(HugeShare::default(), |sum, (_, share)| HugeShare {
            huge: sum.huge.saturating_add(share.huge),
            resident: sum.resident.saturating_add(share.resident),
        })
    }
}

/// What of a mapping transparent huge pages map: of private memory, of shared memory, of a file.
const HUGE_FIELDS: [&str; 3] = ["AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"];

/// Reads the addresses of a mapping's first line: `7f0000000000-7f0000200000 rw-p ...`.
fn mapping_header(line: &str) -> Option<Range<u64>> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// Reads the bytes of a line such as `Rss:   12 kB`.
fn field(line: &str, name: &str) -> Option<u64> {
    let kib: u64 = line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
7f0000000000-7f0000400000 rw-p 00000000 00:00 0
Size:               4096 kB
Rss:                4096 kB
AnonHugePages:      2048 kB
VmFlags: rd wr mr mw me ac hg
7f0000400000-7f0000500000 rw-p 00000000 00:00 0          [anon: x]
Rss:                1024 kB
AnonHugePages:         0 kB
";

    fn smaps(took: Duration) -> Smaps {
        Smaps { mappings: Smaps::parse(SMAPS), read_at: Instant::now(), took }
    }

    #[test]
    fn what_was_read_is_believed_for_as_long_as_reading_was_dear() {
        assert!(!smaps(Duration::ZERO).is_believed());
        assert!(smaps(Duration::from_secs(1 << 20)).is_believed());
    }

    #[test]
    fn the_share_is_of_the_mappings_that_the_range_meets() {
        let smaps = smaps(Duration::ZERO);
        let first = smaps.share(&(0x7f00_0000_0000..0x7f00_0000_1000));
        assert_eq!(first, HugeShare { huge: 2 << 20, resident: 4 << 20 });
        assert_eq!(first.of_present(4 << 20, 2 << 20), 2 << 20);
        let both = smaps.share(&(0x7f00_003f_f000..0x7f00_0050_0000));
        assert_eq!(both, HugeShare { huge: 2 << 20, resident: 5 << 20 });
        let neither = smaps.share(&(0x1000..0x2000));
        assert_eq!(neither.of_present(4096, 2 << 20), 0);
    }

    #[test]
    fn the_share_is_at_most_the_present_bytes() {
        let garbled = HugeShare { huge: u64::MAX, resident: 1 };
        assert_eq!(garbled.of_present(u64::MAX, 1), u64::MAX);
    }
}
