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
