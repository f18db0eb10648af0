//! Calls that a seccomp filter answers, as container engines' filters do.

use std::io;

use anyhow::Context as _;
use libc::{sock_filter, sock_fprog};

/// A call that can be filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `mbind`: the policy of a range.
    Mbind,
    /// `set_mempolicy`: the policy of a thread.
    SetMempolicy,
    /// `move_pages`: where pages lie, among other things.
    MovePages,
    /// `sched_setaffinity`: where threads may run.
    SchedSetaffinity,
    /// `madvise(MADV_POPULATE_WRITE)`, and no other advice.
    PopulateWrite,
}

/// What a filter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// `EPERM`: not allowed.
    NotAllowed,
    /// `ENOSYS`: no such call.
    NoSuchCall,
    /// `EINVAL`: as a kernel answers that does not know the advice.
    Invalid,
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Where `struct seccomp_data` has the call's number, and the low half of its third argument.
const NUMBER: u32 = 0;
const THIRD_ARGUMENT: u32 = 16 + 2 * 8;

const MADV_POPULATE_WRITE: u32 = 23;

impl Call {
    fn number(self) -> u32 {
        let number = match self {
            Self::Mbind => libc::SYS_mbind,
            Self::SetMempolicy => libc::SYS_set_mempolicy,
            Self::MovePages => libc::SYS_move_pages,
            Self::SchedSetaffinity => libc::SYS_sched_setaffinity,
            Self::PopulateWrite => libc::SYS_madvise,
        };
        number as u32
    }
}

impl Answer {
    fn errno(self) -> u32 {
        let errno = match self {
            Self::NotAllowed => libc::EPERM,
            Self::NoSuchCall => libc::ENOSYS,
            Self::Invalid => libc::EINVAL,
        };
        errno as u32
    }
}

/// Puts the filter on this process and its children.
pub(super) fn enter(call: Call, answer: Answer) -> anyhow::Result<()> {
    let refuse = step(RETURN, libc::SECCOMP_RET_ERRNO | answer.errno());
    let allow = step(RETURN, libc::SECCOMP_RET_ALLOW);
    // A jump's second number is how many steps are left out where the comparison fails.
    let mut program = vec![step(LOAD, NUMBER)];
    if call == Call::PopulateWrite {
        program.push(sock_filter { jf: 3, ..step(JUMP_EQUAL, call.number()) });
        program.push(step(LOAD, THIRD_ARGUMENT));
        program.push(sock_filter { jf: 1, ..step(JUMP_EQUAL, MADV_POPULATE_WRITE) });
    } else {
        program.push(sock_filter { jf: 1, ..step(JUMP_EQUAL, call.number()) });
    }
    program.extend([refuse, allow]);
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the call takes numbers alone.
    let answer = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    granted(i64::from(answer)).context("prctl(PR_SET_NO_NEW_PRIVS) is refused")?;
    // SAFETY: the program and its steps outlive the call, which copies them.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    granted(answer).context("seccomp is refused")
}

fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn granted(answer: i64) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
