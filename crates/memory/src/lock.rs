//! Pages that the kernel keeps in memory.

use std::fs;
use std::io;

use crate::{MemoryError, PageSize, Region, sys};

/// How much memory this process may lock, and how much it has locked.
///
/// # Examples
///
/// ```
/// let limit = firsttouch_memory::LockLimit::current();
/// match limit.bytes {
///     Some(bytes) => println!("{} of {bytes} bytes may still be locked", limit.left()),
///     None => println!("{} bytes are locked, and any number more may be", limit.locked),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockLimit {
    /// Bytes that it may lock in all (`RLIMIT_MEMLOCK`); `None` for no limit.
    ///
    /// A process with CAP_IPC_LOCK may lock more all the same.
    pub bytes: Option<u64>,
    /// Bytes that it has locked, by whatever means (`VmLck` in `/proc/self/status`); 0 where that cannot be read.
    pub locked: u64,
}

impl LockLimit {
    /// Asks the kernel.
    #[must_use]
    pub fn current() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { bytes: sys::lock_limit(), locked: locked(&status).unwrap_or(0) }
    }

    /// Returns the bytes that may still be locked.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.bytes.unwrap_or(u64::MAX).saturating_sub(self.locked)
    }

    /// Gives the kernel's refusal to lock so many bytes its meaning.
    fn error(self, needed: u64, source: io::Error) -> MemoryError {
        match (self.bytes, source.raw_os_error()) {
            // A limit of 0 is told by another answer than one that is reached.
            (Some(limit), Some(libc::ENOMEM | libc::EPERM))
                if self.left() < needed || limit == 0 =>
            {
                MemoryError::LockLimit { needed, locked: self.locked, limit }
            }
            _ => MemoryError::from_call("mlock2", None, source),
        }
    }
}

/// Reads the line `VmLck:  8192 kB`, in bytes.
fn locked(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

impl Region {
    /// Keeps the region's pages in memory: those that are there now, and each other one once it is touched.
    ///
    /// Touches no page, so that several threads can
    /// [populate](crate::Part::populate) the region afterwards; the pages are
    /// locked as they come. (`mlock` itself would touch them all, on one
    /// thread.) The kernel does not page a locked page out. It may still move
    /// it to another place in memory, to another node too. A child process
    /// does not inherit the locks; dropping the region ends them.
    ///
    /// Hugetlb pages are never paged out and count against no limit: for a
    /// region of them this does nothing.
    ///
    /// Locks do not nest: one [`unlock`](Self::unlock) ends any number.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::LockLimit`] where the process may not lock so much.
    /// - [`MemoryError::Refused`] where the call is not to be had.
    /// - [`MemoryError::Call`] where the kernel has no room for another mapping.
    ///
    /// Nothing is locked then.
    ///
    /// # Examples
    ///
    /// ```
    /// use firsttouch_memory::{MemoryError, Region};
    ///
    /// let mut region = Region::builder(64 << 10).build()?;
    /// match region.lock() {
    ///     Ok(()) => {
    ///         region.populate(0..region.len())?;
    ///         region.unlock()?;
    ///     }
    ///     Err(MemoryError::LockLimit { limit, .. }) => println!("no more than {limit} bytes"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), MemoryError>(())
    /// ```
    pub fn lock(&mut self) -> Result<(), MemoryError> {
        if matches!(self.page_size(), PageSize::Huge(_)) {
            return Ok(());
        }
        let (base, mapped) = (self.extent().base, self.extent().mapped);
        sys::lock_on_fault(base, mapped).map_err(|source| {
            let error = LockLimit::current().error(mapped as u64, source);
            // Of several mappings, those before the one that failed are locked.
            if let Err(error) = sys::unlock(base, mapped) {
                tracing::debug!(%error, "nothing is unlocked after a failure to lock");
            }
            error
        })?;
        tracing::debug!(?base, mapped, "locked a region");
        Ok(())
    }

    /// Lets the kernel page the region's pages out again.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Refused`] where the call is not to be had.
    /// - [`MemoryError::Call`] where the kernel has no room for another mapping.
    pub fn unlock(&mut self) -> Result<(), MemoryError> {
        if matches!(self.page_size(), PageSize::Huge(_)) {
            return Ok(());
        }
        let (base, mapped) = (self.extent().base, self.extent().mapped);
        sys::unlock(base, mapped)
            .map_err(|source| MemoryError::from_call("munlock", None, source))?;
        tracing::debug!(?base, mapped, "unlocked a region");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: Option<u64>, locked: u64, errno: i32) -> MemoryError {
        LockLimit { bytes, locked }.error(4096, io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn locked_bytes_are_read_from_the_kernels_line() {
        let status = "VmPeak:\t   10 kB\nVmLck:\t      64 kB\nVmPin:\t 1 kB\n";
        assert_eq!(locked(status), Some(65536));
        assert_eq!(locked("VmLck: much kB"), None);
        assert_eq!(locked(""), None);
    }

    #[test]
    fn a_limit_that_is_reached_is_told_from_other_refusals() {
        let reached = refused(Some(8192), 8192, libc::ENOMEM);
        assert!(matches!(
            reached,
            MemoryError::LockLimit { needed: 4096, locked: 8192, limit: 8192 }
        ));
        assert!(reached.to_string().contains("to 12288 bytes or more"), "{reached}");
        let none = refused(Some(0), 0, libc::EPERM);
        assert!(matches!(none, MemoryError::LockLimit { limit: 0, .. }), "{none}");
        let mappings = refused(Some(1 << 20), 0, libc::ENOMEM);
        assert!(mappings.to_string().contains("vm.max_map_count"), "{mappings}");
        assert!(refused(Some(1 << 20), 0, libc::EPERM).is_refused());
        assert!(refused(None, 0, libc::ENOSYS).is_refused());
    }

    #[test]
    fn what_is_left_is_never_less_than_nothing() {
        assert_eq!(LockLimit { bytes: Some(10), locked: 4 }.left(), 6);
        assert_eq!(LockLimit { bytes: Some(4), locked: 10 }.left(), 0);
        assert_eq!(LockLimit { bytes: None, locked: 10 }.left(), u64::MAX - 10);
    }
}
