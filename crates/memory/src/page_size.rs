//! Page sizes that can be asked for, and what the kernel has of them.

use std::fmt;
use std::fs;
use std::path::Path;

use firsttouch_topology::NodeId;

use crate::{MemoryError, sys};

/// The page size asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PageSize {
    /// Base pages and nothing else, whatever the machine's transparent huge page mode.
    Base,
    /// Transparent huge pages, for each page that the kernel finds one for.
    ///
    /// Where memory is fragmented the kernel may use base pages instead,
    /// page by page; [`Residency::page_sizes`](crate::Residency::page_sizes)
    /// tells.
    Transparent,
    /// Hugetlb pages of one size, all reserved when the region is mapped.
    Huge(HugePageSize),
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("base pages"),
            Self::Transparent => f.write_str("transparent huge pages"),
            Self::Huge(size) => write!(f, "huge pages of {size}"),
        }
    }
}

/// A hugetlb page size: a power of two, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HugePageSize(
    /// Invariant: a power of two.
    usize,
);

impl HugePageSize {
    /// 2 MiB, the usual size where base pages have 4 KiB.
    pub const MIB_2: Self = Self(2 << 20);

    /// 1 GiB.
    pub const GIB_1: Self = Self(1 << 30);

    /// Makes a huge page size of a number of bytes.
    ///
    /// Whether the kernel has pages of this size shows when a region is built.
    ///
    /// # Errors
    ///
    /// [`MemoryError::InvalidHugePageSize`] where `bytes` is not a power of two.
    pub fn new(bytes: usize) -> Result<Self, MemoryError> {
        if bytes.is_power_of_two() {
            Ok(Self(bytes))
        } else {
            Err(MemoryError::InvalidHugePageSize { bytes })
        }
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0
    }
}

impl fmt::Display for HugePageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let bytes = self.0 as u64;
        match UNITS.iter().find(|(shift, _)| bytes >> shift != 0) {
            Some((shift, unit)) => write!(f, "{} {unit}", bytes >> shift),
            None => write!(f, "{bytes} B"),
        }
    }
}

const HUGETLB: &str = "/sys/kernel/mm/hugepages";
const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage";

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn read_number(path: impl AsRef<Path>) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// Returns the kernel's hugetlb page sizes, smallest first; `None` where sysfs does not tell.
pub(crate) fn huge_page_sizes() -> Option<Vec<HugePageSize>> {
    let mut sizes: Vec<_> = fs::read_dir(HUGETLB)
        .ok()?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let kib = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?;
            HugePageSize::new(kib.parse::<usize>().ok()?.checked_mul(1024)?).ok()
        })
        .collect();
    sizes.sort_unstable();
    Some(sizes)
}

/// Returns the pages of a size that are free and unreserved, then those free on each node.
pub(crate) fn huge_page_pools(size: HugePageSize) -> (u64, Vec<(NodeId, u64)>) {
    let pool = format!("hugepages-{}kB", size.bytes() >> 10);
    let count = |file: &str| read_number(Path::new(HUGETLB).join(&pool).join(file)).unwrap_or(0);
    let unreserved = count("free_hugepages").saturating_sub(count("resv_hugepages"));
    let mut on_nodes: Vec<_> = fs::read_dir("/sys/devices/system/node")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let node = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
            let free = entry.path().join("hugepages").join(&pool).join("free_hugepages");
            Some((NodeId::new(node), read_number(free)?))
        })
        .collect();
    on_nodes.sort_unstable();
    (unreserved, on_nodes)
}

/// Returns the size in bytes of a transparent huge page, where this process can have any.
pub(crate) fn transparent_huge_page_bytes() -> Result<usize, MemoryError> {
    let unavailable = |reason: String| MemoryError::NoTransparentHugePages { reason };
    let bytes = read_number(format!("{TRANSPARENT}/hpage_pmd_size"))
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| bytes.is_power_of_two() && *bytes > sys::page_bytes())
        .ok_or_else(|| {
            unavailable(format!(
                "{TRANSPARENT}/hpage_pmd_size gives no size: the kernel is built without them, or \
                 sysfs is not mounted"
            ))
        })?;
    let (file, modes) = transparent_modes(bytes);
    if chosen(&modes) == Some("never") {
        return Err(unavailable(format!("{file} says never; madvise or always would give them")));
    }
    if sys::transparent_huge_pages_disabled() {
        return Err(unavailable(
            "this process was started with them disabled (PR_SET_THP_DISABLE)".to_owned(),
        ));
    }
    Ok(bytes)
}

/// Returns the size in bytes of a transparent huge page of shared memory, where this process can have any.
pub(crate) fn shared_transparent_huge_page_bytes() -> Result<usize, MemoryError> {
    let bytes = transparent_huge_page_bytes()?;
    let file = format!("{TRANSPARENT}/shmem_enabled");
    let modes = read(&file).unwrap_or_default();
    match chosen(&modes) {
        Some("always" | "within_size" | "advise" | "force") => Ok(bytes),
        mode => Err(MemoryError::NoTransparentHugePages {
            reason: format!(
                "{file} says {}; advise would give them to shared memory",
                mode.unwrap_or("nothing")
            ),
        }),
    }
}

/// Returns the file that says when huge pages of a size are used, and what it says.
fn transparent_modes(bytes: usize) -> (String, String) {
    // Since Linux 6.8 each size has a mode of its own, `inherit` by default.
    let own_mode = format!("{TRANSPARENT}/hugepages-{}kB/enabled", bytes >> 10);
    let general_mode = format!("{TRANSPARENT}/enabled");
    match read(&own_mode) {
        Some(modes) if chosen(&modes) != Some("inherit") => (own_mode, modes),
        _ => {
            let modes = read(&general_mode).unwrap_or_default();
            (general_mode, modes)
        }
    }
}

/// Returns whether the kernel may use transparent huge pages where nothing advises it to.
pub(crate) fn transparent_huge_pages_come_unasked() -> bool {
    transparent_huge_page_bytes()
        .is_ok_and(|bytes| chosen(&transparent_modes(bytes).1) == Some("always"))
}

/// Returns the word in brackets of a sysfs file such as `always [madvise] never`.
fn chosen(modes: &str) -> Option<&str> {
    modes.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_page_size_is_a_power_of_two() {
        assert_eq!(HugePageSize::new(64 << 10).map(HugePageSize::bytes).ok(), Some(64 << 10));
        for bytes in [0, 3, (2 << 20) + 1, usize::MAX] {
            let refused = HugePageSize::new(bytes);
            assert!(
                matches!(refused, Err(MemoryError::InvalidHugePageSize { bytes: b }) if b == bytes)
            );
        }
    }

    #[test]
    fn sizes_are_written_in_their_largest_unit() {
        assert_eq!(HugePageSize::MIB_2.to_string(), "2 MiB");
        assert_eq!(HugePageSize::GIB_1.to_string(), "1 GiB");
        assert_eq!(HugePageSize(64 << 10).to_string(), "64 KiB");
        assert_eq!(HugePageSize(512).to_string(), "512 B");
        assert_eq!(PageSize::Huge(HugePageSize::MIB_2).to_string(), "huge pages of 2 MiB");
    }

    #[test]
    fn the_chosen_mode_is_the_one_in_brackets() {
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen("always inherit madvise [never]"), Some("never"));
        assert_eq!(chosen("always madvise"), None);
        assert_eq!(chosen(""), None);
    }
}
