//! Every system call of this crate, each a thin function over one call.
//!
//! Calls that an old kernel lacks are [`OptionalCall`]s: once the kernel says
//! that it lacks one, the process does not ask again.

pub(crate) mod userfault;

use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, FileType, MemfdFlags, SealFlags};
use rustix::ioctl;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A kernel call that newer kernels have and this crate can do without.
///
/// For tests of the ways around them; see [`simulate_missing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionalCall {
    /// `madvise(MADV_POPULATE_WRITE)`, since Linux 5.14.
    PopulateWrite,
    /// The ioctl `PAGEMAP_SCAN`, since Linux 6.7.
    PagemapScan,
    /// `madvise(MADV_POPULATE_READ)`, since Linux 5.14.
    PopulateRead,
    /// `madvise(MADV_COLLAPSE)`, since Linux 6.1.
    Collapse,
    /// `memfd_create`, which some filters refuse.
    Memfd,
    /// `userfaultfd` without privileges, since Linux 5.11; which some filters refuse.
    Userfault,
}

/// What a process knows of an optional call.
struct Known {
    /// The kernel said that it lacks the call.
    missing: AtomicBool,
    /// A test wants it to be missing.
    simulated: AtomicBool,
}

impl Known {
    const fn new() -> Self {
        Self { missing: AtomicBool::new(false), simulated: AtomicBool::new(false) }
    }
}

static POPULATE_WRITE: Known = Known::new();
static PAGEMAP_SCAN: Known = Known::new();
static POPULATE_READ: Known = Known::new();
static COLLAPSE: Known = Known::new();
static MEMFD: Known = Known::new();
static USERFAULT: Known = Known::new();

impl OptionalCall {
    fn known(self) -> &'static Known {
        match self {
            Self::PopulateWrite => &POPULATE_WRITE,
            Self::PagemapScan => &PAGEMAP_SCAN,
            Self::PopulateRead => &POPULATE_READ,
            Self::Collapse => &COLLAPSE,
            Self::Memfd => &MEMFD,
            Self::Userfault => &USERFAULT,
        }
    }

    /// Returns whether the call is worth trying.
    pub(crate) fn may_work(self) -> bool {
        // Relaxed: each flag stands for itself alone, and a stale one costs one more try.
        let known = self.known();
        !known.missing.load(Ordering::Relaxed) && !known.simulated.load(Ordering::Relaxed)
    }

    /// Remembers that the kernel lacks the call.
    pub(crate) fn remember_missing(self, error: &io::Error) {
        if !self.known().missing.swap(true, Ordering::Relaxed) {
            tracing::debug!(call = ?self, %error, "the kernel lacks a call; going without it");
        }
    }
}

/// Makes this process behave as if the kernel lacked a call, until told otherwise.
///
/// For tests that prove that both ways give the same result.
pub fn simulate_missing(call: OptionalCall, missing: bool) {
    call.known().simulated.store(missing, Ordering::Relaxed);
}

/// Returns the size of a base page in bytes.
pub(crate) fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// Maps zeroed private memory, readable and writable; `len` is not zero.
pub(crate) fn map_anonymous(len: usize, flags: MapFlags) -> io::Result<NonNull<u8>> {
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | flags);
    // SAFETY: without MAP_FIXED, which no caller passes, the kernel picks
    // addresses that nothing else uses.
    let base = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, protection, flags)? };
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap gave address 0"))
}

/// Returns the flags that ask for hugetlb pages of `1 << log2` bytes.
pub(crate) fn huge_page_flags(log2: u32) -> MapFlags {
    const MAP_HUGE_SHIFT: u32 = 26;
    MapFlags::HUGETLB | MapFlags::from_bits_retain(log2 << MAP_HUGE_SHIFT)
}

/// Unmaps whole pages.
///
/// # Safety
///
/// - `[owned]` The range is of a mapping that the caller owns.
/// - `[unused]` Nothing uses the range any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: [owned] and [unused] are the caller's.
    unsafe { rustix::mm::munmap(base.as_ptr().cast(), len) }.map_err(io::Error::from)
}

/// Advises the kernel about whole pages.
///
/// # Safety
///
/// - `[owned]` The range is of a mapping that the caller owns.
/// - `[content]` Where the advice changes what the range holds, nothing refers to it.
pub(crate) unsafe fn advise(base: NonNull<u8>, len: usize, advice: Advice) -> io::Result<()> {
    // SAFETY: [owned] and [content] are the caller's.
    unsafe { rustix::mm::madvise(base.as_ptr().cast(), len, advice) }.map_err(io::Error::from)
}

/// Returns whether the process has transparent huge pages disabled even where it advises them.
pub(crate) fn transparent_huge_pages_disabled() -> bool {
    const DISABLED_EXCEPT_ADVISED: c_int = 1 << 1;
    let zero: c_ulong = 0;
    // rustix has this call but not the flag that it returns since Linux 6.18.
    // SAFETY: this command reads a flag and touches no memory.
    let answer = unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, zero, zero, zero, zero) };
    answer > 0 && answer & DISABLED_EXCEPT_ADVISED == 0
}

/// A memory policy as the kernel takes and gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawPolicy {
    /// The mode, with its flags.
    pub(crate) mode: c_int,
    /// The node mask, empty for modes without nodes.
    pub(crate) nodes: Vec<c_ulong>,
}

impl RawPolicy {
    /// Returns the mask and its length as the calls take them.
    fn mask(&self) -> (*const c_ulong, c_ulong) {
        if self.nodes.is_empty() {
            return (ptr::null(), 0);
        }
        (self.nodes.as_ptr(), max_node(self.nodes.len()))
    }
}

/// Returns the `maxnode` argument for a mask of this many words.
fn max_node(words: usize) -> c_ulong {
    // The kernel takes one off before it reads the mask.
    words as c_ulong * c_ulong::BITS as c_ulong + 1
}

fn result(returned: c_long) -> io::Result<c_long> {
    if returned == -1 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// Sets the policy of whole pages; pages already there stay where they are.
pub(crate) fn mbind(base: NonNull<u8>, len: usize, policy: &RawPolicy) -> io::Result<()> {
    let (mask, max_node) = policy.mask();
    let (mode, flags) = (c_long::from(policy.mode), 0 as c_long);
    // SAFETY: the kernel reads `max_node - 1` bits of the mask, which is that
    // long; a policy changes where later pages come from, never what they hold.
    let returned =
        unsafe { libc::syscall(libc::SYS_mbind, base.as_ptr(), len, mode, mask, max_node, flags) };
    result(returned).map(drop)
}

/// Sets the calling thread's policy.
pub(crate) fn set_mempolicy(policy: &RawPolicy) -> io::Result<()> {
    let (mask, max_node) = policy.mask();
    let mode = c_long::from(policy.mode);
    // SAFETY: the kernel reads `max_node - 1` bits of the mask, which is that long.
    let returned = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, max_node) };
    result(returned).map(drop)
}

/// Returns the calling thread's policy.
pub(crate) fn thread_policy() -> io::Result<RawPolicy> {
    get_mempolicy(ptr::null(), 0)
}

/// Returns the policy of the page at an address; `MPOL_DEFAULT` where it has none of its own.
pub(crate) fn policy_of(address: NonNull<u8>) -> io::Result<RawPolicy> {
    const MPOL_F_ADDR: c_long = 1 << 1;
    get_mempolicy(address.as_ptr(), MPOL_F_ADDR)
}

/// Returns the nodes that the calling thread may have memory on, as a mask.
pub(crate) fn allowed_nodes() -> io::Result<Vec<c_ulong>> {
    const MPOL_F_MEMS_ALLOWED: c_long = 1 << 2;
    get_mempolicy(ptr::null(), MPOL_F_MEMS_ALLOWED).map(|policy| policy.nodes)
}

/// Asks with a mask that grows until it is as long as the kernel wants.
fn get_mempolicy(address: *const u8, flags: c_long) -> io::Result<RawPolicy> {
    // Kernels are built for at most 1,024 nodes today, and copy at most a page of mask.
    let mut words = 1024 / c_ulong::BITS as usize;
    let most_words = page_bytes() / size_of::<c_ulong>();
    loop {
        let mut policy = RawPolicy { mode: 0, nodes: vec![0; words] };
        let (mode, mask): (*mut c_int, *mut c_ulong) =
            (&raw mut policy.mode, policy.nodes.as_mut_ptr());
        let max_node = max_node(words);
        // SAFETY: the kernel writes one int and `max_node - 1` bits of mask, and
        // both are there; it only looks the address up.
        let returned =
            unsafe { libc::syscall(libc::SYS_get_mempolicy, mode, mask, max_node, address, flags) };
        match result(returned) {
            Ok(_) => return Ok(policy),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && words < most_words => {
                words *= 2;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Writes into `status` the node of the page at each address, or a negative errno.
///
/// # Panics
///
/// Where the slices differ in length.
pub(crate) fn page_nodes(addresses: &[*const c_void], status: &mut [c_int]) -> io::Result<()> {
    assert_eq!(addresses.len(), status.len(), "one status per address");
    let (this_process, no_nodes, flags) = (0 as c_long, ptr::null::<c_int>(), 0 as c_long);
    // SAFETY: the kernel reads `len` addresses and writes `len` statuses, and
    // both slices are that long; without nodes it moves nothing.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            this_process,
            addresses.len(),
            addresses.as_ptr(),
            no_nodes,
            status.as_mut_ptr(),
            flags,
        )
    };
    result(returned).map(drop)
}

/// A run of pages with the same categories, as `PAGEMAP_SCAN` gives it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PageRun {
    start: u64,
    end: u64,
    categories: u64,
}

impl PageRun {
    /// Returns the run's addresses.
    pub(crate) fn addresses(&self) -> Range<u64> {
        self.start..self.end
    }

    /// Returns whether a huge page maps each page of the run.
    pub(crate) fn is_huge(&self) -> bool {
        self.categories & PAGE_IS_HUGE != 0
    }
}

const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_HUGE: u64 = 1 << 6;

/// The kernel's `struct pm_scan_arg`.
#[repr(C)]
#[derive(Debug, Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// One `PAGEMAP_SCAN`, and the runs that it fills.
struct PagemapScan<'a> {
    arguments: ScanArguments,
    runs: &'a mut [PageRun],
}

// SAFETY: the number and the layout are those of linux/fs.h; the kernel writes
// `walk_end` and at most `vec_len` runs, which `runs` has exclusively.
unsafe impl ioctl::Ioctl for PagemapScan<'_> {
    /// The runs filled, and the address up to which the kernel looked.
    type Output = (usize, u64);

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> ioctl::Opcode {
        ioctl::opcode::read_write::<ScanArguments>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.arguments.vec = self.runs.as_mut_ptr() as u64;
        (&raw mut self.arguments).cast()
    }

    unsafe fn output_from_ptr(
        filled: ioctl::IoctlOutput,
        arguments: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        let arguments = arguments.cast::<ScanArguments>();
        // SAFETY: this is the pointer that `as_ptr` gave, to arguments that live on.
        let walk_end = unsafe { (*arguments).walk_end };
        Ok((filled as usize, walk_end))
    }
}

/// Fills `runs` with this process's present pages; returns how many, and where it stopped.
///
/// `pagemap` is an open `/proc/self/pagemap`.
pub(crate) fn scan_present(
    pagemap: &File,
    addresses: Range<u64>,
    runs: &mut [PageRun],
) -> io::Result<(usize, u64)> {
    let arguments = ScanArguments {
        size: size_of::<ScanArguments>() as u64,
        start: addresses.start,
        end: addresses.end,
        vec_len: runs.len() as u64,
        category_mask: PAGE_IS_PRESENT,
        return_mask: PAGE_IS_PRESENT | PAGE_IS_HUGE,
        ..ScanArguments::default()
    };
    // SAFETY: the call only reads page tables, and writes what PagemapScan says.
    unsafe { ioctl::ioctl(pagemap, PagemapScan { arguments, runs }) }.map_err(io::Error::from)
}

// Shared memory, files and huge pages.

/// Makes a file in memory, without a name in any directory, that can be sealed.
///
/// `huge` is the binary logarithm of a hugetlb page size; `None` is a file of
/// the kernel's shared memory.
pub(crate) fn memory_file(huge: Option<u32>) -> io::Result<OwnedFd> {
    const MFD_HUGE_SHIFT: u32 = 26;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let flags = huge.map_or(flags, |log2| {
        flags | MemfdFlags::HUGETLB | MemfdFlags::from_bits_retain(log2 << MFD_HUGE_SHIFT)
    });
    rustix::fs::memfd_create("firsttouch", flags).map_err(io::Error::from)
}

/// Gives a file in memory its length, for ever.
pub(crate) fn fix_length(file: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    rustix::fs::ftruncate(file, len)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(file, seals).map_err(io::Error::from)
}

/// What a file is, for mapping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileFacts {
    /// Bytes.
    pub(crate) len: u64,
    /// Whether it is a regular file, and not a device, a pipe or a directory.
    pub(crate) is_regular: bool,
    /// The file system's magic number.
    pub(crate) magic: u64,
    /// The file system's block size, which on hugetlbfs is the page size.
    pub(crate) block: u64,
}

/// Says what a file is.
pub(crate) fn file_facts(file: BorrowedFd<'_>) -> io::Result<FileFacts> {
    let stat = rustix::fs::fstat(file)?;
    let system = rustix::fs::fstatfs(file)?;
    Ok(FileFacts {
        len: u64::try_from(stat.st_size).unwrap_or(0),
        is_regular: FileType::from_raw_mode(stat.st_mode).is_file(),
        // 32 bits are all that a magic number has; some fields that hold it are signed.
        magic: system.f_type as u64 & 0xFFFF_FFFF,
        block: u64::try_from(system.f_bsize).unwrap_or(0),
    })
}

/// Says whether a file in memory has no page at all: none that is there, and none paged out.
pub(crate) fn is_all_hole(file: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_blocks == 0)
}

/// Maps shared memory at addresses that the kernel picks; `len` is not zero.
///
/// It is a file's, from an offset, or without a file the child processes' alone.
///
/// # Safety
///
/// - `[file]` The file's bytes change under no reference that is made to them, and it does not become shorter than what is mapped while any is used.
pub(crate) unsafe fn map_shared(
    len: usize,
    file: Option<(BorrowedFd<'_>, u64)>,
    is_writable: bool,
    flags: MapFlags,
) -> io::Result<NonNull<u8>> {
    let (flags, anywhere) = (MapFlags::SHARED | flags, ptr::null_mut());
    let protection = if is_writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
    let base = match file {
        // SAFETY: without MAP_FIXED, which no caller passes, the kernel picks
        // addresses that nothing else uses; [file] is the caller's.
        Some((file, offset)) => unsafe {
            rustix::mm::mmap(anywhere, len, protection, flags, file, offset)
        },
        // SAFETY: as above, without a file.
        None => unsafe { rustix::mm::mmap_anonymous(anywhere, len, protection, flags) },
    };
    NonNull::new(base?.cast()).ok_or_else(|| io::Error::other("mmap gave address 0"))
}

/// Sets addresses aside that hold nothing and cannot be accessed; `len` is not zero.
pub(crate) fn set_aside(len: usize) -> io::Result<NonNull<u8>> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: without MAP_FIXED the kernel picks addresses that nothing else uses.
    let base =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags)? };
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap gave address 0"))
}

/// Maps shared memory, readable and writable, over whole pages that were set aside.
///
/// Without a file it is shared with child processes alone.
///
/// # Safety
///
/// - `[owned]` The range is of a mapping that the caller owns.
/// - `[unused]` Nothing uses the range any more.
/// - `[file]` As for [`map_shared`].
pub(crate) unsafe fn map_shared_over(
    base: NonNull<u8>,
    len: usize,
    file: Option<BorrowedFd<'_>>,
    flags: MapFlags,
) -> io::Result<()> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::SHARED | MapFlags::FIXED | flags;
    let at = base.as_ptr().cast();
    match file {
        // SAFETY: it replaces what is [owned] and [unused]; [file] is the caller's.
        Some(file) => unsafe { rustix::mm::mmap(at, len, protection, flags, file, 0) },
        // SAFETY: it replaces what is [owned] and [unused].
        None => unsafe { rustix::mm::mmap_anonymous(at, len, protection, flags) },
    }
    .map(drop)
    .map_err(io::Error::from)
}

/// Has a file's system provide the bytes of a range, as zeros where it had none.
pub(crate) fn allocate(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    fallocate(file, FallocateFlags::empty(), offset, len)
}

/// Makes exactly a range of a file's bytes read as zero, which takes its whole pages from the file.
pub(crate) fn punch(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)
}

fn fallocate(file: BorrowedFd<'_>, flags: FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
    loop {
        match rustix::fs::fallocate(file, flags, offset, len) {
            Err(rustix::io::Errno::INTR) => {}
            answer => return answer.map_err(io::Error::from),
        }
    }
}

/// Puts the pages of one huge page's range into a huge page, copying them.
pub(crate) fn collapse(base: NonNull<u8>, len: usize) -> io::Result<()> {
    const MADV_COLLAPSE: c_int = 25;
    // SAFETY: the advice keeps what the range holds, whoever uses it meanwhile.
    let answer = unsafe { libc::madvise(base.as_ptr().cast(), len, MADV_COLLAPSE) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// Locked pages, pages that move, and pages of memory that this crate did not map.

/// Locks whole pages in memory: those that are there, and each other one from when it is touched.
pub(crate) fn lock_on_fault(base: NonNull<u8>, len: usize) -> io::Result<()> {
    let flags = rustix::mm::MlockFlags::ONFAULT;
    // SAFETY: locking changes neither what pages hold nor who may access them.
    unsafe { rustix::mm::mlock_with(base.as_ptr().cast(), len, flags) }.map_err(io::Error::from)
}

/// Lets the kernel page out again what [`lock_on_fault`] locked.
pub(crate) fn unlock(base: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: as for locking.
    unsafe { rustix::mm::munlock(base.as_ptr().cast(), len) }.map_err(io::Error::from)
}

/// Returns the bytes that the process may lock; `None` for no limit.
pub(crate) fn lock_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Memlock).current
}

/// Moves the page at each address to a node, and writes into `status` where it is then, or a negative errno.
///
/// A page that several processes share stays. The kernel stops at the first
/// pages that it cannot move for now, and returns how many it left; it leaves
/// the status of those as it was.
///
/// # Panics
///
/// Where the slices differ in length.
pub(crate) fn move_pages(
    addresses: &[*const c_void],
    node: c_int,
    status: &mut [c_int],
) -> io::Result<u64> {
    const MPOL_MF_MOVE: c_long = 1 << 1;
    assert_eq!(addresses.len(), status.len(), "one status per address");
    let nodes = vec![node; addresses.len()];
    let this_process = 0 as c_long;
    // SAFETY: the kernel reads `len` addresses and nodes and writes `len`
    // statuses, and all have so many; a page that moves keeps its address and
    // what it holds.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            this_process,
            addresses.len(),
            addresses.as_ptr(),
            nodes.as_ptr(),
            status.as_mut_ptr(),
            MPOL_MF_MOVE,
        )
    };
    result(returned).map(|left| left as u64)
}

/// Returns which of some base pages in a row are in memory, whether the process has touched them or not.
pub(crate) fn resident(base: NonNull<u8>, pages: usize) -> io::Result<Vec<bool>> {
    let mut there = vec![0_u8; pages];
    let len = pages * page_bytes();
    // SAFETY: the kernel writes a byte for each page, and `there` has so many.
    let returned = unsafe { libc::mincore(base.as_ptr().cast(), len, there.as_mut_ptr()) };
    result(returned.into())?;
    Ok(there.into_iter().map(|flags| flags & 1 != 0).collect())
}

/// Acts as if a byte of a base page were read; since Linux 5.14.
pub(crate) fn read_page(base: NonNull<u8>) -> io::Result<()> {
    let advice = Advice::LinuxPopulateRead;
    // SAFETY: the advice changes nothing that the page holds.
    unsafe { rustix::mm::madvise(base.as_ptr().cast(), page_bytes(), advice) }
        .map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_the_scan_have_the_kernels_size() {
        assert_eq!(size_of::<ScanArguments>(), 96);
        assert_eq!(size_of::<PageRun>(), 24);
    }

    #[test]
    fn a_mask_is_announced_one_bit_longer_than_it_is() {
        let policy = RawPolicy { mode: libc::MPOL_BIND, nodes: vec![1, 0] };
        assert_eq!(policy.mask().1, 2 * c_ulong::BITS as c_ulong + 1);
        let nodeless = RawPolicy { mode: libc::MPOL_LOCAL, nodes: Vec::new() };
        assert_eq!(nodeless.mask(), (ptr::null(), 0));
    }
}
