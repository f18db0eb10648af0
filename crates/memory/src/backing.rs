//! What a mapping's pages are pages of: private memory, shared memory, or a file.

use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, RawFd};

use crate::mapping::Extent;
use crate::{MemoryError, Policy, ThreadPolicy, policy, sys};

/// What a mapping's pages are pages of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// Private anonymous memory.
    Private,
    /// Memory without a file, which child processes share.
    Shared,
    /// A file, mapped shared.
    File(FileBacking),
}

/// Where a mapping lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileBacking {
    /// Invariant: open for as long as the mapping is there, as its owner keeps the file.
    pub(crate) fd: RawFd,
    /// Bytes of the file before the mapping.
    pub(crate) offset: u64,
    pub(crate) kind: FileKind,
    /// Whether the file was made for the mapping: in memory, and of its whole pages.
    pub(crate) is_own: bool,
}

/// What kind of pages a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// The kernel's shared memory: a memfd, or a file of a tmpfs.
    SharedMemory,
    /// Hugetlb pages.
    Hugetlb,
    /// The page cache of any other file system.
    PageCache,
}

impl FileKind {
    /// Tells by a file system's magic number.
    pub(crate) fn of_file_system(magic: u64) -> Self {
        const TMPFS: u64 = 0x0102_1994;
        const HUGETLBFS: u64 = 0x9584_58F6;
        match magic {
            TMPFS => Self::SharedMemory,
            HUGETLBFS => Self::Hugetlb,
            _ => Self::PageCache,
        }
    }
}

impl Backing {
    /// Whether a policy of the range places the pages; the page cache follows the thread's alone.
    pub(crate) fn honours_policies(self) -> bool {
        !matches!(self, Self::File(FileBacking { kind: FileKind::PageCache, .. }))
    }

    /// Whether another mapping, or a child process, can see what is written here.
    pub(crate) fn is_shared(self) -> bool {
        self != Self::Private
    }

    /// Whether no page has come to be but through the mapping itself, as far as can be told.
    ///
    /// The file of a shared mapping tells of the pages of all who map it. What
    /// others do to memory without a file, or to a file of theirs, cannot be
    /// told, so nothing is said for these.
    pub(crate) fn is_untouched_by_others(self) -> bool {
        match self {
            Self::Private => true,
            Self::File(file) if file.is_own => sys::is_all_hole(file.file()).unwrap_or(false),
            Self::Shared | Self::File(_) => false,
        }
    }
}

impl FileBacking {
    /// The file.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open, by its invariant: an extent is used
        // by the owner of the mapping, or by what borrows it.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    /// Has the file system provide whole pages of a mapping, so that touching them cannot fail for want of them.
    ///
    /// A file system without such a call is left to provide pages as they are
    /// touched.
    pub(crate) fn provide(&self, extent: &Extent, pages: &Range<usize>) -> Result<(), MemoryError> {
        // The mapping's last page can reach past the file's end.
        let pages = pages.start..pages.end.min(extent.len);
        if self.kind != FileKind::Hugetlb {
            return self.allocate(&pages);
        }
        // These follow the policy of the thread that allocates them, and not
        // the range's. They are large, so one call for each costs nothing.
        let mut start = pages.start;
        while start < pages.end {
            let end = (start + 1).next_multiple_of(extent.page_bytes).min(pages.end);
            let _guard = thread_policy_for(extent, start);
            self.allocate(&(start..end))?;
            start = end;
        }
        Ok(())
    }

    /// Makes bytes of a mapping read as zero, and takes those of whole pages from the file.
    pub(crate) fn punch(&self, bytes: &Range<usize>) -> io::Result<()> {
        sys::punch(self.file(), self.offset + bytes.start as u64, bytes.len() as u64)
    }

    fn allocate(&self, bytes: &Range<usize>) -> Result<(), MemoryError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let offset = self.offset + bytes.start as u64;
        match sys::allocate(self.file(), offset, bytes.len() as u64) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
                tracing::trace!(%error, "the file system provides pages as they are touched");
                Ok(())
            }
            answer => answer
                .map_err(|error| MemoryError::from_call(FALLOCATE, Some(bytes.clone()), error)),
        }
    }
}

pub(crate) const FALLOCATE: &str = "fallocate";

/// Gives the thread the policy of the page at an offset; `None` where there is none, or it cannot be had.
fn thread_policy_for(extent: &Extent, offset: usize) -> Option<ThreadPolicy> {
    let policy = policy::at(extent, offset).ok().filter(|policy| *policy != Policy::Default)?;
    match ThreadPolicy::set(&policy) {
        Ok(guard) => Some(guard),
        Err(error) => {
            tracing::debug!(%error, "a huge page is allocated without the range's policy");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_told_by_their_magic_numbers() {
        let kind = FileKind::of_file_system;
        assert_eq!(kind(libc::TMPFS_MAGIC as u64), FileKind::SharedMemory);
        assert_eq!(kind(libc::HUGETLBFS_MAGIC as u64), FileKind::Hugetlb);
        assert_eq!(kind(libc::EXT4_SUPER_MAGIC as u64), FileKind::PageCache);
        assert_eq!(kind(0), FileKind::PageCache);
    }

    #[test]
    fn only_the_page_cache_ignores_the_policy_of_a_range() {
        let file = |kind| Backing::File(FileBacking { fd: -1, offset: 0, kind, is_own: false });
        assert!(Backing::Private.honours_policies() && Backing::Shared.honours_policies());
        assert!(file(FileKind::SharedMemory).honours_policies());
        assert!(file(FileKind::Hugetlb).honours_policies());
        assert!(!file(FileKind::PageCache).honours_policies());
        assert!(file(FileKind::PageCache).is_shared() && !Backing::Private.is_shared());
    }
}
