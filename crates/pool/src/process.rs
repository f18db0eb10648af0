//! The process that a pool was built in: a child that `fork` makes of it has none of the helpers.
//!
//! A word on a page that the kernel wipes in every such child, so that one
//! relaxed load tells. `docs/protocols/shutdown.md` says who looks, and when.

// A hint that no protocol rests on, so models need not see it.
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(not(loom))]
use crate::sys::WipedOnFork;

/// Tells whether the calling thread is in the process that made this.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct Process {
    /// Begins with an `AtomicU32`; `None` where the kernel cannot wipe pages: every process counts as the one.
    page: Option<WipedOnFork>,
}

/// What the word holds in the process that made it.
#[cfg(not(loom))]
const HERE: u32 = 1;

#[cfg(not(loom))]
impl Process {
    /// Marks the calling process.
    pub(crate) fn new() -> Self {
        match WipedOnFork::new() {
            Ok(page) => {
                word(&page).store(HERE, Ordering::Relaxed);
                Self { page: Some(page) }
            }
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(
                    error,
                    "the kernel marks no page for a fork: a child that uses this pool can hang"
                );
                Self { page: None }
            }
        }
    }

    /// Whether this is the process that made it.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        // Relaxed: the kernel wipes it before the child runs.
        self.page.as_ref().is_none_or(|page| word(page).load(Ordering::Relaxed) == HERE)
    }
}

#[cfg(not(loom))]
#[inline]
fn word(page: &WipedOnFork) -> &AtomicU32 {
    let word: *const AtomicU32 = page.start().cast_const().cast();
    // SAFETY: the page is aligned and lives as long as the reference; only this
    // function uses what is on it, and every pattern of bits is a valid word.
    unsafe { &*word }
}

/// In a model nobody forks.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Process;

#[cfg(loom)]
impl Process {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn is_here(&self) -> bool {
        true
    }
}

impl Process {
    /// Goes on in the process that made it.
    ///
    /// # Panics
    ///
    /// In a child that `fork` has made.
    #[inline]
    pub(crate) fn assert_here(&self) {
        if !self.is_here() {
            forked();
        }
    }
}

#[cold]
#[inline(never)]
fn forked() -> ! {
    panic!(
        "this process is a fork of the one that built this pool, and has none of its helpers: \
         build a pool after the fork, or replace the process by exec"
    )
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// What a child ends with where its body holds.
    pub(crate) const FINE: i32 = 0;

    /// How long a child may take, in seconds.
    const LIMIT: u32 = 30;

    /// Forks; returns what the child ended with: [`FINE`] where `body` returned true in it.
    ///
    /// Other tests may hold any lock at that moment, so the body must neither
    /// lock anything nor panic: where it would hang, an alarm ends the child.
    pub(crate) fn exit_in_child(body: impl FnOnce() -> bool) -> i32 {
        // SAFETY: the child uses what its body may, and ends without a return.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: it sets a timer and nothing else.
                unsafe { libc::alarm(LIMIT) };
                let holds = catch_unwind(AssertUnwindSafe(body)).unwrap_or(false);
                // SAFETY: it ends the process.
                unsafe { libc::_exit(if holds { FINE } else { 1 }) }
            }
            child => {
                let mut status = 0;
                // SAFETY: the status is written to a place of its own.
                let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
                assert_eq!(waited, child, "the child is this process's");
                assert!(libc::WIFEXITED(status), "the child hung or aborted: {status:#x}");
                libc::WEXITSTATUS(status)
            }
        }
    }

    #[test]
    fn a_process_is_the_one_that_marked_itself() {
        let process = Process::new();
        assert!(process.is_here());
        // tests/fork.rs looks from a child.
        assert!(process.page.is_some(), "the kernels of the tests can do this");
    }
}
