//! Shared mappings: memory of the kernel's own, and files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::mm::{Advice, MapFlags};

use super::{Extent, Mapping, huge_map_error, map_error, reject_huge_size, whole_pages};
use crate::backing::{Backing, FileBacking, FileKind};
use crate::page_size::{shared_transparent_huge_page_bytes, transparent_huge_pages_come_unasked};
use crate::{HugePageSize, MemoryError, OptionalCall, PageSize, sys};

impl Mapping {
    /// Maps `len` bytes of shared memory, rounded up to whole pages of the page size.
    pub(crate) fn shared(
        len: usize,
        page_size: PageSize,
        reserve: bool,
    ) -> Result<Self, MemoryError> {
        let page_bytes = match page_size {
            PageSize::Base => sys::page_bytes(),
            PageSize::Transparent => shared_transparent_huge_page_bytes()?,
            PageSize::Huge(size) => {
                reject_huge_size(size)?;
                size.bytes()
            }
        };
        let mapped = whole_pages(len, page_bytes)?;
        let is_huge = matches!(page_size, PageSize::Huge(_));
        if reserve && !is_huge {
            reject_what_never_fits(mapped)?;
        }
        let huge = is_huge.then(|| page_bytes.trailing_zeros());
        let file = memory_file(huge, mapped)?;
        let backing = file.as_ref().map_or(Backing::Shared, |file| {
            let kind = if huge.is_some() { FileKind::Hugetlb } else { FileKind::SharedMemory };
            Backing::File(FileBacking { fd: file.as_raw_fd(), offset: 0, kind, is_own: true })
        });
        let flags = match (huge, &file) {
            (Some(log2), None) => sys::huge_page_flags(log2),
            // What is reserved of hugetlb pages keeps an access from being killed.
            (Some(_), Some(_)) => MapFlags::empty(),
            (None, _) if reserve => MapFlags::empty(),
            (None, _) => MapFlags::NORESERVE,
        };
        let map_failed = |source| match page_size {
            PageSize::Huge(size) => huge_map_error(size, mapped, source),
            _ => map_error(source),
        };
        let shared_file = file.as_ref().map(|file| (file.as_fd(), 0));
        // SAFETY: [file] nobody else has this one, and it is sealed.
        let base = unsafe { sys::map_shared(mapped, shared_file, true, flags) };
        let base = base.map_err(map_failed)?;
        let extent = Extent { base, len, mapped, page_size, page_bytes, backing };
        let mut mapping = Self { extent, file };
        if base.addr().get() % page_bytes != 0 {
            mapping.move_to_aligned(flags)?;
        }
        mapping.advise_page_size()?;
        Ok(mapping)
    }

    /// Maps a file in memory anew, at a multiple of its page size; nobody has the address yet.
    ///
    /// A huge page maps where file and addresses are both at a multiple of it.
    /// The file begins at its first byte, so it is the addresses that are
    /// chosen. The kernel does so by itself where it can.
    fn move_to_aligned(&mut self, flags: MapFlags) -> Result<(), MemoryError> {
        let Extent { len, mapped, page_bytes, .. } = self.extent;
        let base = super::aligned(len, mapped, page_bytes, sys::set_aside)?;
        let file = self.file.as_ref().map(AsFd::as_fd);
        // SAFETY: [owned] and [unused] they were set aside just now; [file]
        // nobody else has this one, and it is sealed.
        if let Err(source) = unsafe { sys::map_shared_over(base, mapped, file, flags) } {
            // The kernel may have given the addresses up, and somebody else
            // have them; so they are left as they are.
            tracing::warn!(error = %source, mapped, "addresses stay set aside");
            return Err(map_error(source));
        }
        let extent = Extent { base, ..self.extent };
        // The former mapping is dropped, and unmapped.
        *self = Self { extent, file: self.file.take() };
        Ok(())
    }

    /// Asks for the pages of a shared mapping to be huge, or not to be.
    fn advise_page_size(&self) -> Result<(), MemoryError> {
        match self.extent.page_size {
            PageSize::Transparent => self.advise(Advice::LinuxHugepage).map_err(|error| {
                MemoryError::NoTransparentHugePages {
                    reason: format!("the kernel rejects MADV_HUGEPAGE ({error})"),
                }
            }),
            PageSize::Base => match self.advise(Advice::LinuxNoHugepage) {
                Err(error) if transparent_huge_pages_come_unasked() => {
                    Err(MemoryError::from_call("madvise(MADV_NOHUGEPAGE)", None, error))
                }
                // A kernel without transparent huge pages does not know the advice.
                _ => Ok(()),
            },
            PageSize::Huge(_) => Ok(()),
        }
    }

    /// Maps a range of a file's bytes.
    ///
    /// # Safety
    ///
    /// - `[unchanged]` While references to the mapping's bytes are made, nobody else writes to the file's range.
    /// - `[long]` The file does not become shorter than the range while the mapping's bytes are used.
    pub(crate) unsafe fn of_file(
        file: &File,
        range: &Range<u64>,
        is_writable: bool,
    ) -> Result<Self, MemoryError> {
        let len = range.end.checked_sub(range.start).filter(|&len| len != 0);
        let len = usize::try_from(len.ok_or(MemoryError::ZeroLength)?)
            .map_err(|_| MemoryError::TooLong { len: usize::MAX })?;
        let facts = sys::file_facts(file.as_fd())
            .map_err(|source| MemoryError::from_call("fstat", None, source))?;
        if !facts.is_regular {
            return Err(MemoryError::NotARegularFile);
        }
        if range.end > facts.len {
            return Err(MemoryError::FileTooShort { range: range.clone(), len: facts.len });
        }
        let kind = FileKind::of_file_system(facts.magic);
        let base_page = (sys::page_bytes(), PageSize::Base);
        let (page_bytes, page_size) = match kind {
            FileKind::Hugetlb => usize::try_from(facts.block)
                .ok()
                .and_then(|bytes| Some((bytes, PageSize::Huge(HugePageSize::new(bytes).ok()?))))
                .unwrap_or(base_page),
            FileKind::SharedMemory | FileKind::PageCache => base_page,
        };
        // A page that the range has only a part of would be written, and given
        // back, as a whole.
        let on_page = |offset: u64| offset % page_bytes as u64 == 0;
        let ends_well = !is_writable || on_page(range.end) || range.end == facts.len;
        for (offset, is_well) in [(range.start, on_page(range.start)), (range.end, ends_well)] {
            if !is_well {
                return Err(MemoryError::MisalignedInFile { offset, page_bytes });
            }
        }
        let mapped = whole_pages(len, page_bytes)?;
        let file = file.as_fd().try_clone_to_owned();
        let file = file.map_err(|source| MemoryError::from_call("dup", None, source))?;
        let from = Some((file.as_fd(), range.start));
        // SAFETY: [file] by [unchanged] and [long], which are the caller's.
        let came = unsafe { sys::map_shared(mapped, from, is_writable, MapFlags::empty()) };
        let base = came.map_err(|source| match page_size {
            PageSize::Huge(size) => huge_map_error(size, mapped, source),
            _ => map_error(source),
        })?;
        let fd = file.as_raw_fd();
        let backing = Backing::File(FileBacking { fd, offset: range.start, kind, is_own: false });
        let extent = Extent { base, len, mapped, page_size, page_bytes, backing };
        Ok(Self { extent, file: Some(file) })
    }
}

/// Refuses what the kernel would not promise as private memory.
///
/// It counts a file in memory page by page, as pages are touched, so that one
/// of any length can be mapped. Private memory of the length is mapped for a
/// moment in its place.
fn reject_what_never_fits(mapped: usize) -> Result<(), MemoryError> {
    let base = sys::map_anonymous(mapped, MapFlags::empty()).map_err(map_error)?;
    // SAFETY: [owned] it was mapped just now; [unused] nobody has the address.
    if let Err(error) = unsafe { sys::unmap(base, mapped) } {
        tracing::warn!(%error, mapped, "a mapping that was only tried stays");
    }
    Ok(())
}

/// Makes a file in memory that cannot become shorter or longer; `None` where no such file can be had.
fn memory_file(huge: Option<u32>, len: usize) -> Result<Option<OwnedFd>, MemoryError> {
    if !OptionalCall::Memfd.may_work() {
        return Ok(None);
    }
    let file = match sys::memory_file(huge) {
        Ok(file) => file,
        Err(error) if is_refused(&error) => {
            OptionalCall::Memfd.remember_missing(&error);
            return Ok(None);
        }
        Err(source) => return Err(MemoryError::from_call("memfd_create", None, source)),
    };
    match sys::fix_length(file.as_fd(), len as u64) {
        Ok(()) => Ok(Some(file)),
        Err(source) => Err(MemoryError::from_call("ftruncate", None, source)),
    }
}

/// Whether the answer is that of a kernel or a filter that does not have the call.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EACCES))
}
