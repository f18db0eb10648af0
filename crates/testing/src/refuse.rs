//! System calls that the kernel refuses to one thread, as a container engine's seccomp filter has it.

use std::ffi::c_long;
use std::io;

use libc::{sock_filter, sock_fprog};

/// A system call to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    number: c_long,
    /// Which argument must have which value in its low half; else all calls are meant.
    argument: Option<(u32, u32)>,
}

impl Call {
    /// Returns the call of a number, whatever its arguments.
    #[must_use]
    pub const fn any(number: c_long) -> Self {
        Self { number, argument: None }
    }

    /// Returns the call of a number where the argument at this index, from 0, has this value in its low 32 bits.
    #[must_use]
    pub const fn with(number: c_long, argument: u32, value: u32) -> Self {
        Self { number, argument: Some((argument, value)) }
    }
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Where `struct seccomp_data` has the call's number.
const NUMBER: u32 = 0;

/// Where it has the low half of an argument.
const fn low_half_of(argument: u32) -> u32 {
    let half = if cfg!(target_endian = "big") { 4 } else { 0 };
    16 + 8 * argument + half
}

/// Has the kernel answer some calls of the calling thread, and of threads that it starts, with an errno from now on.
///
/// A filter cannot be taken off again: it goes with its thread.
///
/// # Errors
///
/// Where the kernel takes no filter.
///
/// # Examples
///
/// ```
/// use firsttouch_testing::{Call, refuse};
///
/// std::thread::spawn(|| {
///     if refuse(&[Call::any(libc::SYS_getppid)], libc::EPERM).is_ok() {
///         // SAFETY: the call has no arguments.
///         assert_eq!(unsafe { libc::syscall(libc::SYS_getppid) }, -1);
///     }
/// })
/// .join()
/// .unwrap();
/// ```
pub fn refuse(calls: &[Call], errno: i32) -> io::Result<()> {
    let mut program = program(calls, errno);
    let filter = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the command sets a flag of the thread.
    granted(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    let mode = libc::SECCOMP_MODE_FILTER as libc::c_ulong;
    // SAFETY: the kernel copies the filter, which lives until the call returns.
    granted(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) })
}

/// The filter: for each call, the comparisons that lead to the refusal, and past it.
fn program(calls: &[Call], errno: i32) -> Vec<sock_filter> {
    let step = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let refuse = step(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32);
    // A jump's second number is how many steps are left out where the comparison fails.
    let unless = |value, jf| sock_filter { jf, ..step(JUMP_EQUAL, value) };
    let mut program = Vec::new();
    for &Call { number, argument } in calls {
        program.push(step(LOAD, NUMBER));
        if let Some((index, value)) = argument {
            program.push(unless(number as u32, 3));
            program.push(step(LOAD, low_half_of(index)));
            program.push(unless(value, 1));
        } else {
            program.push(unless(number as u32, 1));
        }
        program.push(refuse);
    }
    program.push(step(RETURN, libc::SECCOMP_RET_ALLOW));
    program
}

fn granted(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// The error of a signal to this process that is none, or that there is not; `None` for success.
    fn kill(signal: libc::c_int) -> Option<i32> {
        let process = std::process::id() as libc::pid_t;
        // SAFETY: neither signal is sent.
        let answer = unsafe { libc::kill(process, signal) };
        (answer != 0).then(|| io::Error::last_os_error().raw_os_error()).flatten()
    }

    #[test]
    fn a_call_is_refused_where_its_argument_has_the_value_and_others_are_not() {
        let checked = thread::spawn(|| {
            let calls = [Call::any(libc::SYS_getppid), Call::with(libc::SYS_kill, 1, 1000)];
            if let Err(error) = refuse(&calls, libc::EXDEV) {
                return crate::skipped("refused calls", &error);
            }
            assert_eq!((kill(0), kill(1000)), (None, Some(libc::EXDEV)));
            assert_eq!(kill(1001), Some(libc::EINVAL));
            // SAFETY: the call has no arguments.
            assert_eq!(unsafe { libc::syscall(libc::SYS_getppid) }, -1);
            assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EXDEV));
        });
        checked.join().expect("the thread's assertions hold");
    }
}
