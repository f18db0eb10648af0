//! Where the current thread runs and may run.

use std::io;

use crate::cpu_list::MAX_OS_INDEX;
use crate::sys::{self, MaskWord};
use crate::{CpuId, CpuSet, TopologyError};

/// The words of the first mask that is tried: 1,024 CPUs.
const FIRST_WORDS: usize = 1024 / MaskWord::BITS as usize;

/// The words of the longest mask that is tried.
const MAX_WORDS: usize = (MAX_OS_INDEX as usize + 1) / MaskWord::BITS as usize;

/// Returns the CPUs the current thread may run on (`sched_getaffinity`).
///
/// # Errors
///
/// [`TopologyError::Call`] where the kernel refuses.
///
/// # Examples
///
/// ```
/// use firsttouch_topology::affinity;
///
/// let cpus = affinity::current()?;
/// println!("this thread may run on CPUs {cpus}");
/// # Ok::<(), firsttouch_topology::TopologyError>(())
/// ```
pub fn current() -> Result<CpuSet, TopologyError> {
    let mut words = FIRST_WORDS;
    loop {
        let mut mask = vec![0; words];
        match sys::sched_getaffinity(&mut mask) {
            Ok(bytes) => {
                mask.truncate(bytes.div_ceil(size_of::<MaskWord>()));
                return Ok(set_of(&mask));
            }
            // The kernel wants room for every CPU it could ever have.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && words < MAX_WORDS => {
                words *= 2;
            }
            Err(source) => return Err(refused("sched_getaffinity", source)),
        }
    }
}

/// Keeps the current thread to these CPUs (`sched_setaffinity`).
///
/// CPUs that are offline, or that the process's cpuset excludes, are left out
/// silently as long as one remains: read the result back with [`current`].
///
/// # Errors
///
/// [`TopologyError::Call`] where none of the CPUs is allowed, or the call is filtered.
pub fn set_current(cpus: &CpuSet) -> Result<(), TopologyError> {
    sys::sched_setaffinity(&mask_of(cpus)).map_err(|source| refused("sched_setaffinity", source))
}

/// Returns the CPU the current thread is on at this moment (`getcpu`); it may have moved by the time the caller looks.
#[must_use]
pub fn current_cpu() -> CpuId {
    // The kernel's own type of it is a 32-bit unsigned integer.
    CpuId::new(rustix::thread::sched_getcpu() as u32)
}

fn refused(call: &'static str, source: io::Error) -> TopologyError {
    TopologyError::Call { call, source }
}

fn set_of(mask: &[MaskWord]) -> CpuSet {
    let mut set = CpuSet::new();
    for (&word, base) in mask.iter().zip((0..).step_by(MaskWord::BITS as usize)) {
        let bits = (0..MaskWord::BITS).filter(|bit| word >> bit & 1 == 1);
        set.extend(bits.map(|bit| CpuId::new(base + bit)));
    }
    set
}

/// Makes the mask of a set, without CPUs beyond what any kernel could have.
fn mask_of(cpus: &CpuSet) -> Vec<MaskWord> {
    let mut mask = vec![0; FIRST_WORDS];
    for cpu in cpus.iter().map(CpuId::os_index).take_while(|&cpu| cpu <= MAX_OS_INDEX) {
        let word = (cpu / MaskWord::BITS) as usize;
        if word >= mask.len() {
            mask.resize(word + 1, 0);
        }
        mask[word] |= 1 << (cpu % MaskWord::BITS);
    }
    mask
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn masks_and_sets_convert_both_ways(ids in proptest::collection::vec(0u32..5000, 0..50)) {
            let set: CpuSet = ids.into_iter().map(CpuId::new).collect();
            prop_assert_eq!(set_of(&mask_of(&set)), set);
        }
    }

    #[test]
    fn cpus_beyond_every_kernel_take_no_memory() {
        let set = CpuSet::from_iter([CpuId::new(3), CpuId::new(MAX_OS_INDEX + 1)]);
        assert_eq!(set_of(&mask_of(&set)), CpuSet::from_iter([CpuId::new(3)]));
    }

    #[test]
    fn a_thread_can_be_kept_to_one_cpu_and_reads_it_back() -> Result<(), TopologyError> {
        // A thread of its own, so that the test's thread keeps its mask.
        let checked = std::thread::spawn(|| -> Result<(), TopologyError> {
            let before = current()?;
            let Some(one) = before.last() else { return Ok(()) };
            let one = CpuSet::from_iter([one]);
            set_current(&one)?;
            assert_eq!(current()?, one);
            assert_eq!(Some(current_cpu()), one.first());
            Ok(())
        });
        checked.join().expect("the thread's assertions hold")
    }

    #[test]
    fn an_empty_set_is_refused_with_the_calls_name() {
        let refusal = set_current(&CpuSet::new());
        assert!(matches!(refusal, Err(TopologyError::Call { call: "sched_setaffinity", .. })));
    }
}
