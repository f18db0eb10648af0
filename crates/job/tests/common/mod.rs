//! Threads whose system calls are refused, as container engines do.

use std::error::Error;
use std::thread;

use firsttouch_pool::Pool;
use firsttouch_testing::{Call, refuse, skipped};

pub(crate) type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// Runs a check on a thread, and a pool of its own, whose calls are refused.
pub(crate) fn where_refused(calls: &[Call], check: impl Fn(&Pool) -> Result + Send + Copy) {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let checked = thread::scope(|scope| {
            // A filter is its thread's, and goes with it.
            let thread = scope.spawn(move || match refuse(calls, errno) {
                Ok(()) => check(&Pool::new()?),
                Err(error) => {
                    skipped("refused calls", &error);
                    Ok(())
                }
            });
            thread.join()
        });
        checked.expect("the thread's assertions hold").expect("it is as it should be");
    }
}
