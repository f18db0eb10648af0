//! Every system call, and with them all of this crate's unsafe code.
#![allow(unsafe_code)]

use std::io;

/// A word of the kernel's CPU masks, in the byte order and width it uses.
pub(crate) type MaskWord = libc::c_ulong;

/// Reads the calling thread's affinity mask into `mask`; returns the bytes the kernel wrote.
///
/// # Errors
///
/// `EINVAL` where the mask is too short for the kernel's number of CPUs.
pub(crate) fn sched_getaffinity(mask: &mut [MaskWord]) -> io::Result<usize> {
    // The library's wrapper hides how much was written; the call itself returns it.
    // SAFETY: [writable] `mask` is exclusively borrowed, and the kernel writes
    // at most the given number of bytes there; every bit pattern is a valid word.
    let written = unsafe {
        libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(mask), mask.as_mut_ptr())
    };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// Sets the calling thread's affinity mask.
///
/// # Errors
///
/// `EINVAL` where none of the CPUs is online and allowed; `EPERM` where a filter refuses the call.
pub(crate) fn sched_setaffinity(mask: &[MaskWord]) -> io::Result<()> {
    // SAFETY: [readable] `mask` is borrowed for the call, and the kernel reads
    // at most the given number of bytes there.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The kernel's `struct sched_attr` in its first version, which every kernel since 3.14 takes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SchedAttr {
    pub(crate) size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
}

/// Reads how a thread is scheduled; 0 is the calling thread.
///
/// # Errors
///
/// `ESRCH` where there is no such thread; `EPERM` or `ENOSYS` where a filter refuses the call.
pub(crate) fn sched_getattr(thread: u32) -> io::Result<SchedAttr> {
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>() as u32;
    // SAFETY: [writable] `attr` is exclusively borrowed, and the kernel writes
    // at most the given number of bytes there; every bit pattern is a valid value.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getattr, thread, &raw mut attr, size, 0_u32) };
    if result == 0 { Ok(attr) } else { Err(io::Error::last_os_error()) }
}

/// Sets how a thread is scheduled; 0 is the calling thread.
///
/// # Errors
///
/// `EPERM` where the process may not raise the thread so far, or a filter refuses the call; `ESRCH` as above.
pub(crate) fn sched_setattr(thread: u32, attr: &SchedAttr) -> io::Result<()> {
    let attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..*attr };
    // SAFETY: [readable] `attr` lives for the call, and the kernel reads as many bytes as it says itself.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const attr, 0_u32) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
