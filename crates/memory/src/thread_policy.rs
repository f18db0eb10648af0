//! The calling thread's policy, replaced for a while.

use std::marker::PhantomData;

use crate::sys::{self, RawPolicy};
use crate::{MemoryError, Policy};

/// The current thread's NUMA policy, replaced until this value drops.
///
/// It is the policy of ranges that have none of their own. It stays with its
/// thread: the value is neither `Send` nor `Sync`. Guards must drop in the
/// reverse order of their making, as scopes do by themselves.
///
/// # Examples
///
/// ```
/// use firsttouch_memory::{Policy, ThreadPolicy};
///
/// match ThreadPolicy::set(&Policy::Local) {
///     Ok(guard) => {
///         assert_eq!(ThreadPolicy::current()?, Policy::Local);
///         drop(guard);
///     }
///     // Some containers refuse the call.
///     Err(error) if error.is_refused() => {}
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), firsttouch_memory::MemoryError>(())
/// ```
///
/// No other thread can drop it:
///
/// ```compile_fail,E0277
/// # use firsttouch_memory::{Policy, ThreadPolicy};
/// let guard = ThreadPolicy::set(&Policy::Local);
/// std::thread::spawn(move || drop(guard));
/// ```
///
/// The thread itself can:
///
/// ```
/// # use firsttouch_memory::{Policy, ThreadPolicy};
/// let guard = ThreadPolicy::set(&Policy::Local);
/// drop(guard);
/// ```
#[must_use = "dropping the value restores the former policy"]
#[derive(Debug)]
pub struct ThreadPolicy {
    /// What drop restores, as the kernel gave it, its flags included.
    former: RawPolicy,
    /// Keeps the value on the thread whose policy it changed.
    thread: PhantomData<*const ()>,
}

impl ThreadPolicy {
    /// Sets the calling thread's policy, and remembers the one it had.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::EmptyNodeSet`], [`MemoryError::NoSuchNode`],
    ///   [`MemoryError::NodeWithoutMemory`] or [`MemoryError::NodeNotAllowed`]
    ///   for the policy's nodes.
    /// - [`MemoryError::UnsupportedPolicy`] where the kernel is too old for it.
    /// - [`MemoryError::Refused`] where the calls are not to be had.
    pub fn set(policy: &Policy) -> Result<Self, MemoryError> {
        let former = read()?;
        write(policy)?;
        Ok(Self { former, thread: PhantomData })
    }

    /// Changes to another policy; drop still restores what was there before the first.
    ///
    /// # Errors
    ///
    /// As [`ThreadPolicy::set`]; the policy then stays as it is.
    pub fn change(&mut self, policy: &Policy) -> Result<(), MemoryError> {
        write(policy)
    }

    /// Returns the calling thread's policy.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Refused`] where the call is not to be had.
    /// - [`MemoryError::UnknownPolicy`] where the kernel has a policy that is
    ///   newer than this library.
    pub fn current() -> Result<Policy, MemoryError> {
        Policy::decode(&read()?)
    }
}

impl Drop for ThreadPolicy {
    fn drop(&mut self) {
        if let Err(error) = sys::set_mempolicy(&self.former) {
            tracing::warn!(%error, former = ?self.former, "a thread's policy is not restored");
        }
    }
}

fn read() -> Result<RawPolicy, MemoryError> {
    sys::thread_policy().map_err(|source| MemoryError::from_call("get_mempolicy", None, source))
}

fn write(policy: &Policy) -> Result<(), MemoryError> {
    let raw = policy.encode(None)?;
    sys::set_mempolicy(&raw).map_err(|source| policy.call_error("set_mempolicy", None, source))?;
    tracing::trace!(?policy, "set the thread's policy");
    Ok(())
}
