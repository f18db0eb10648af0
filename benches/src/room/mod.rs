//! How much memory a benchmark may take.
//!
//! Too much and the machine swaps, or the kernel kills something; so a suite
//! asks here first, and refuses a size that does not fit.

mod cgroup;
mod hypervisor;

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use firsttouch::Topology;
use procfs::FromRead;

use crate::size;

/// The most a benchmark takes unless told.
const DEFAULT_SIZE: u64 = 8 << 30;

/// The same where free memory goes back to a hypervisor: more would not stay warm between two uses.
const DEFAULT_SIZE_TAKEN_BACK: u64 = 1 << 30;

/// Memory left to the rest of the machine: an eighth of what there is, and no less than this.
const LEAST_SPARE: u64 = 256 << 20;

/// Memory that can be had, and what bounds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Room {
    /// Bytes that can be had without pushing anything else out.
    pub available: u64,
    /// What sets the limit: `the machine's available memory`.
    pub bound_by: String,
    /// Whether free memory is known to go back to a hypervisor, and comes from it cold.
    pub taken_back: bool,
}

/// Bytes that can be had, and what sets that limit.
type Bound = (u64, String);

impl Room {
    /// Reads how much this process can have now.
    ///
    /// The least counts of: the memory the kernel calls available, the free
    /// memory of the nodes this process may use where those are not all, and
    /// what each of its control groups (version 1 and 2) has left.
    ///
    /// # Errors
    ///
    /// Where the kernel does not tell how much memory is available.
    pub fn read(topology: &Topology) -> anyhow::Result<Self> {
        let root = Path::new("/");
        let mut bounds = vec![available(root)?];
        bounds.extend(free_on_allowed_nodes(topology));
        bounds.extend(cgroup::left(root).into_iter().map(|(group, left)| {
            (left, format!("the memory limit of control group {}", group.display()))
        }));
        let least = bounds.into_iter().min_by_key(|&(bytes, _)| bytes);
        let (available, bound_by) = least.context("there is one bound at least")?;
        let taken_back = hypervisor::takes_back_free_memory(root);
        Ok(Self { available, bound_by, taken_back })
    }

    /// Returns the largest size that may be asked for: what is available, less what is left to others.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.available.saturating_sub(LEAST_SPARE.max(self.available / 8))
    }

    /// Returns the size to take unless told: 8 GiB, or the largest power of two that fits; where
    /// free memory goes back to a hypervisor, no more than 1 GiB.
    ///
    /// # Errors
    ///
    /// Where not even one MiB fits.
    pub fn default_size(&self) -> Result<u64, DoesNotFit> {
        let largest = self.largest();
        let fits = 1 << largest.checked_ilog2().unwrap_or(0);
        let most = if self.taken_back { DEFAULT_SIZE_TAKEN_BACK } else { DEFAULT_SIZE };
        match fits.min(most) {
            size if size >= 1 << 20 => Ok(size),
            _ => Err(self.refuse(1 << 20)),
        }
    }

    /// Checks a size that was asked for.
    ///
    /// # Errors
    ///
    /// [`DoesNotFit`], which says what would.
    pub fn check(&self, bytes: u64) -> Result<(), DoesNotFit> {
        if bytes <= self.largest() { Ok(()) } else { Err(self.refuse(bytes)) }
    }

    fn refuse(&self, asked: u64) -> DoesNotFit {
        // Whole MiB, so that the answer can be given back as a size.
        let largest = self.largest() >> 20 << 20;
        DoesNotFit { asked, largest, room: self.clone() }
    }
}

fn available(root: &Path) -> anyhow::Result<Bound> {
    let file = File::open(root.join("proc/meminfo")).context("cannot open /proc/meminfo")?;
    let meminfo = procfs::Meminfo::from_read(file).context("cannot read /proc/meminfo")?;
    // Kernels before 3.14 lack MemAvailable; some containers hide it.
    let available = meminfo.mem_available.unwrap_or(meminfo.mem_free);
    Ok((available, "the machine's available memory".to_owned()))
}

/// `None` where all memory may be used: free memory leaves out what the kernel could reclaim.
fn free_on_allowed_nodes(topology: &Topology) -> Option<Bound> {
    let allowed = topology.allowed().nodes();
    let (inside, outside): (Vec<_>, Vec<_>) = topology
        .nodes()
        .iter()
        .filter(|node| node.memory_total() != Some(0))
        .partition(|node| allowed.contains(node.id()));
    if outside.is_empty() {
        return None;
    }
    let free = inside.iter().map(|node| node.memory_free()).sum::<Option<u64>>()?;
    Some((free, format!("the free memory of the allowed nodes {allowed}")))
}

/// A size that would push something else out of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} does not fit: {} can be had ({}); the largest size that fits is {}",
    size::exact(*asked),
    size::rounded(room.available),
    room.bound_by,
    size::exact(*largest)
)]
pub struct DoesNotFit {
    asked: u64,
    largest: u64,
    room: Room,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(available: u64) -> Room {
        let bound_by = "the machine's available memory".to_owned();
        Room { available, bound_by, taken_back: false }
    }

    #[test]
    fn the_default_is_eight_gib_where_that_fits() {
        assert_eq!(room(1 << 40).default_size(), Ok(8 << 30));
        assert_eq!(room(10 << 30).default_size(), Ok(8 << 30));
    }

    #[test]
    fn the_default_stays_small_where_free_memory_goes_back_to_a_hypervisor() {
        let room = |available| Room { taken_back: true, ..room(available) };
        assert_eq!(room(1 << 40).default_size(), Ok(1 << 30));
        assert_eq!(room(1 << 30).default_size(), Ok(512 << 20));
        assert_eq!(room(1 << 40).check(8 << 30), Ok(()));
    }

    #[test]
    fn the_default_is_a_power_of_two_that_leaves_memory_to_others() {
        assert_eq!(room(8 << 30).default_size(), Ok(4 << 30));
        assert_eq!(room(1 << 30).default_size(), Ok(512 << 20));
        for gib in 1..64 {
            let room = room(gib << 30);
            let size = room.default_size().expect("a GiB is enough");
            assert!(size.is_power_of_two() && room.check(size).is_ok(), "{gib} GiB: {size}");
        }
    }

    #[test]
    fn a_machine_without_room_is_refused_and_not_a_panic() {
        for available in [0, 1, 255 << 20, 256 << 20] {
            assert!(room(available).default_size().is_err(), "{available}");
        }
    }

    #[test]
    fn a_refusal_says_what_would_fit_and_that_fits() {
        let room = room(4 << 30);
        let refusal = room.check(4 << 30).expect_err("nothing would be left");
        assert_eq!(
            refusal.to_string(),
            "4GiB does not fit: 4.0 GiB can be had (the machine's available memory); \
             the largest size that fits is 3584MiB"
        );
        assert_eq!(room.check(3584 << 20), Ok(()));
    }
}
