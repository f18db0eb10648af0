//! The limit on locked memory, as a process without privileges has it.
//!
//! The limit is the whole process's, so this is one test and a binary of its own.

mod common;

use common::{base_page, skipped};
use firsttouch_memory::{LockLimit, MemoryError, Region};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Takes the privilege from this thread, and lets the process lock so many bytes.
fn limit_to(bytes: u64) -> rustix::io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets)?;
    setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum: Some(bytes) })
}

#[test]
fn a_limit_is_told_before_any_page_is_touched_and_counts_what_is_locked() -> Result<(), MemoryError>
{
    let page = base_page() as u64;
    let allowed = 8 * page;
    if let Err(error) = limit_to(allowed) {
        skipped("the limit on locked memory", &error);
        return Ok(());
    }
    let mut first = Region::builder(5 * page as usize).build()?;
    first.lock()?;
    let now = LockLimit::current();
    assert_eq!((now.bytes, now.locked, now.left()), (Some(allowed), 5 * page, 3 * page));

    let mut second = Region::builder(4 * page as usize).build()?;
    let error = second.lock().expect_err("the first one counts");
    let expected = (4 * page, 5 * page, allowed);
    assert!(
        matches!(error, MemoryError::LockLimit { needed, locked, limit }
            if (needed, locked, limit) == expected),
        "{error}"
    );
    assert!(error.to_string().contains(&format!("to {} bytes or more", 9 * page)), "{error}");
    assert!(second.is_fresh());
    assert_eq!(LockLimit::current().locked, 5 * page, "nothing of it is locked");

    // What is locked already does not count twice.
    first.lock()?;
    first.unlock()?;
    second.lock()?;
    assert_eq!(LockLimit::current().locked, 4 * page);
    drop(second);
    assert_eq!(LockLimit::current().locked, 0, "a region that is dropped is unlocked");
    Ok(())
}
