//! `userfaultfd`: missing pages of a range are the process's to provide.
//!
//! The numbers and layouts are those of `linux/userfaultfd.h`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use rustix::ioctl;
use rustix::mm::UserfaultfdFlags;

/// The letter of the ioctls.
const LETTER: u8 = 0xAA;
/// The number of the ioctl that copies; of the bits that say which ioctls a range has, too.
const COPY: u8 = 3;

#[repr(C)]
struct Api {
    version: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Addresses {
    start: u64,
    len: u64,
}

#[repr(C)]
struct Register {
    range: Addresses,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct Copy {
    to: u64,
    from: u64,
    len: u64,
    mode: u64,
    /// Bytes copied, or the errno if that is none.
    copied: i64,
}

/// Returns a descriptor by which missing pages of this process are provided; a touch of one is SIGBUS meanwhile.
pub(crate) fn userfault() -> io::Result<OwnedFd> {
    const VERSION: u64 = 0xAA;
    const SIGBUS: u64 = 1 << 7;
    /// Faults of the kernel itself are errors of its calls; so no privilege is asked for (since Linux 5.11).
    const USER_MODE_ONLY: u32 = 1;
    let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
    // SAFETY: the descriptor changes nothing until ranges are registered with it.
    let userfault = unsafe { rustix::mm::userfaultfd(flags) }?;
    let mut api = Api { version: VERSION, features: SIGBUS, ioctls: 0 };
    const API: ioctl::Opcode = ioctl::opcode::read_write::<Api>(LETTER, 0x3F);
    // SAFETY: [layout] it is this; the call touches no other memory.
    unsafe { control::<API, Api>(&userfault, &mut api) }?;
    Ok(userfault)
}

/// Has the pages of a range that are missing be provided from now on, until the descriptor is closed.
///
/// # Safety
///
/// - `[owned]` The range is whole pages of a mapping that the caller owns.
/// - `[missing]` Nobody touches a page of it that was not provided, which is SIGBUS.
pub(crate) unsafe fn register(
    userfault: impl AsFd,
    start: NonNull<u8>,
    len: usize,
) -> io::Result<()> {
    const MISSING: u64 = 1;
    let range = Addresses { start: address(start), len: len as u64 };
    let mut register = Register { range, mode: MISSING, ioctls: 0 };
    const REGISTER: ioctl::Opcode = ioctl::opcode::read_write::<Register>(LETTER, 0);
    // SAFETY: [layout] it is this; [owned] and [missing] are the caller's.
    unsafe { control::<REGISTER, Register>(&userfault, &mut register) }?;
    if register.ioctls & 1 << COPY == 0 {
        // SAFETY: [registered] it was just now.
        let _ = unsafe { unregister(userfault, start, len) };
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

/// Has the pages of a range that are missing be the kernel's again.
///
/// # Safety
///
/// - `[registered]` The range is whole pages of what was registered.
pub(crate) unsafe fn unregister(
    userfault: impl AsFd,
    start: NonNull<u8>,
    len: usize,
) -> io::Result<()> {
    let mut range = Addresses { start: address(start), len: len as u64 };
    const UNREGISTER: ioctl::Opcode = ioctl::opcode::read::<Addresses>(LETTER, 1);
    // SAFETY: [layout] it is this; [registered] is the caller's.
    unsafe { control::<UNREGISTER, Addresses>(userfault, &mut range) }
}

/// Provides missing pages with contents; returns how many bytes, which can be fewer, and is none only with an error.
///
/// # Safety
///
/// - `[registered]` `to` and the bytes after it, as many as `from` has, are
///   whole pages of what was registered, and nothing refers to them.
pub(crate) unsafe fn copy(
    userfault: impl AsFd,
    to: NonNull<u8>,
    from: NonNull<[u8]>,
) -> io::Result<usize> {
    /// Nobody waits for the pages.
    const NOBODY_WAITS: u64 = 1;
    let mut copy = Copy {
        to: address(to),
        from: address(from.cast()),
        len: from.len() as u64,
        mode: NOBODY_WAITS,
        copied: 0,
    };
    const OPCODE: ioctl::Opcode = ioctl::opcode::read_write::<Copy>(LETTER, COPY);
    // SAFETY: [layout] it is this; the kernel reads `from` as a call that
    // writes a file does; [registered] is the caller's.
    let answer = unsafe { control::<OPCODE, Copy>(userfault, &mut copy) };
    match (answer, usize::try_from(copy.copied)) {
        (Ok(()), _) => Ok(from.len()),
        (Err(_), Ok(copied)) if copied > 0 => Ok(copied),
        (Err(error), _) => Err(error),
    }
}

/// Makes the call that an opcode stands for, with arguments that it reads and writes.
///
/// # Safety
///
/// - `[layout]` The opcode takes arguments of this layout.
/// - What else the call does to memory is the caller's to allow.
unsafe fn control<const OPCODE: ioctl::Opcode, T>(
    userfault: impl AsFd,
    arguments: &mut T,
) -> io::Result<()> {
    // SAFETY: [layout] is the caller's.
    let call = unsafe { ioctl::Updater::<OPCODE, T>::new(arguments) };
    // SAFETY: the caller allows what it does.
    unsafe { ioctl::ioctl(userfault, call) }.map_err(io::Error::from)
}

fn address(start: NonNull<u8>) -> u64 {
    start.addr().get() as u64
}
