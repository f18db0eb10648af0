//! The global pool, and the functions that use the pool that the calling thread works for.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

use crate::builder::PoolBuilder;
use crate::current::{enter, innermost_has_enough, with_innermost};
use crate::error::PoolError;
use crate::helper::Helper;
use crate::pool::{Pool, broadcast_on};
use crate::task::{self, Scope};
use crate::team::Member;
use crate::worker::Worker;

/// The global pool, once it is built; null before.
///
/// No lock guards it but the turn to build it: a child of `fork` could find one
/// locked for ever.
///
/// Invariant: written only by who has the turn, and only once, with a pool that is never dropped.
static GLOBAL: AtomicPtr<Pool> = AtomicPtr::new(ptr::null_mut());

/// The process of which a thread builds the global pool; 0 where none does.
///
/// A lock that a child of `fork` does not find locked for ever: it sees that
/// another process's thread has it.
static BUILDER: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// Whether this thread builds the global pool.
    static BUILDS: Cell<bool> = const { Cell::new(false) };
}

/// How often a thread looks whether another has built the global pool, which takes about this long.
const LOOK: Duration = Duration::from_micros(100);

/// The calling thread's turn to build the global pool; ends when it is dropped.
struct Turn;

impl Turn {
    /// Waits for it.
    fn take() -> Self {
        assert!(
            !BUILDS.replace(true),
            "the global pool is used while this thread builds it: the builder's functions and \
             a tracing subscriber cannot use it"
        );
        let here = std::process::id();
        loop {
            // Acquire, Release: the next turn sees what the last one built.
            match BUILDER.compare_exchange(0, here, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Self,
                Err(other) if other != here => {
                    // A copy of what another process did at its fork.
                    let _ =
                        BUILDER.compare_exchange(other, 0, Ordering::Relaxed, Ordering::Relaxed);
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// Has all threads use this pool, where there is no other yet.
    fn set(&self, pool: Pool) -> &'static Pool {
        let pool: &'static Pool = Box::leak(Box::new(pool));
        // Release: whoever finds it finds it as it was built.
        GLOBAL.store(ptr::from_ref(pool).cast_mut(), Ordering::Release);
        pool
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BUILDER.store(0, Ordering::Release);
        BUILDS.set(false);
    }
}

/// Returns the global pool where there is one.
#[inline]
fn get() -> Option<&'static Pool> {
    // Acquire: it is as its builder left it.
    let pool = GLOBAL.load(Ordering::Acquire);
    // SAFETY: by the invariant of `GLOBAL` it is null, or a pool that stays. All
    // threads may share it, as `Pool` is `Sync`.
    unsafe { pool.as_ref() }
}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Pool>();
};

/// Builds the global pool, where there is none.
pub(crate) fn build(builder: PoolBuilder) -> Result<&'static Pool, PoolError> {
    let exists = |pool: &Pool| Err(PoolError::GlobalExists { helpers: pool.helpers().len() });
    if let Some(pool) = get() {
        return exists(pool);
    }
    let turn = Turn::take();
    match get() {
        Some(pool) => exists(pool),
        None => Ok(turn.set(builder.build()?)),
    }
}

/// Returns the global pool; builds it where there is none.
pub(crate) fn global() -> Result<&'static Pool, PoolError> {
    let pool = match get() {
        Some(pool) => pool,
        None => {
            let turn = Turn::take();
            match get() {
                Some(pool) => pool,
                None => turn.set(Pool::new()?),
            }
        }
    };
    if pool.is_here() { Ok(pool) } else { Err(PoolError::Forked) }
}

/// Calls `f` with the worker that the calling thread is for the innermost pool it works for, else for the global one.
#[inline]
fn with_worker<R>(f: impl FnOnce(&Worker<'_>) -> R) -> R {
    with_innermost(|worker| match worker {
        Some(worker) => {
            worker.process().assert_here();
            f(worker)
        }
        None => match global() {
            Ok(pool) => enter(pool.shared(), f),
            Err(error) => panic!("{error}; Pool::global returns this as an error"),
        },
    })
}

/// As [`with_worker`], where the caller's code is to stay small.
#[inline(never)]
fn with_worker_out_of_line<R>(f: impl FnOnce(&Worker<'_>) -> R) -> R {
    with_worker(f)
}

/// Runs two closures, perhaps at once, and returns both results: [`Pool::join`] on the pool of the calling thread.
///
/// That is the innermost pool that the thread works for, as a helper or inside
/// of a call of the pool's such as [`Pool::install`]; on any other thread it is
/// the [global pool](Pool::global).
///
/// # Panics
///
/// As [`Pool::join`] does, and where there is no global pool and none can be built.
///
/// # Examples
///
/// ```
/// fn sum(numbers: &[u64]) -> u64 {
///     match numbers {
///         [] => 0,
///         [number] => *number,
///         _ => {
///             let (left, right) = numbers.split_at(numbers.len() / 2);
///             let (left, right) = firsttouch_pool::join(|| sum(left), || sum(right));
///             left + right
///         }
///     }
/// }
///
/// // On the global pool, and on another.
/// assert_eq!(sum(&[1, 2, 3, 4]), 10);
/// let pool = firsttouch_pool::Pool::new()?;
/// assert_eq!(pool.install(|| sum(&[1, 2, 3, 4])), 10);
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
///
/// Closures that must stay on their thread are rejected:
///
/// ```compile_fail,E0277
/// let one = std::rc::Rc::new(1);
/// firsttouch_pool::join(|| *one, || 2);
/// ```
///
/// ```
/// let one = std::sync::Arc::new(1);
/// firsttouch_pool::join(|| *one, || 2);
/// ```
#[inline(always)]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    // As in `Pool::join`; and always in the caller, which then has one function
    // to call for each half and passes it what it needs in registers.
    if innermost_has_enough() {
        return task::join_in_turn(a, b);
    }
    with_worker_out_of_line(move |worker| task::join(worker, a, b))
}

/// Runs `f`, which may spawn tasks that borrow, and returns when all of them have ended: [`Pool::scope`] on the pool of the calling thread.
///
/// [`join`] says which pool that is.
///
/// # Panics
///
/// As [`Pool::scope`] does, and where there is no global pool and none can be built.
///
/// # Examples
///
/// ```
/// let mut halves = [0; 2];
/// let [left, right] = &mut halves;
/// firsttouch_pool::scope(|scope| {
///     scope.spawn(|_| *left = 1);
///     scope.spawn(|_| *right = 2);
/// });
/// assert_eq!(halves, [1, 2]);
/// ```
///
/// A task cannot borrow what ends before the scope:
///
/// ```compile_fail,E0597
/// firsttouch_pool::scope(|scope| {
///     let inside = 1;
///     scope.spawn(|_| assert_eq!(inside, 1));
/// });
/// ```
///
/// ```
/// let outside = 1;
/// firsttouch_pool::scope(|scope| {
///     scope.spawn(|_| assert_eq!(outside, 1));
/// });
/// ```
pub fn scope<'scope, R>(f: impl FnOnce(&Scope<'scope>) -> R) -> R {
    with_worker(|worker| task::scope(worker, None, worker.steal(), f))
}

/// Queues a closure and returns at once: [`Pool::spawn`] on the pool of the calling thread.
///
/// [`join`] says which pool that is.
///
/// # Panics
///
/// Where there is no global pool and none can be built.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = std::sync::mpsc::channel();
/// firsttouch_pool::spawn(move || sender.send(1).unwrap());
/// assert_eq!(receiver.recv(), Ok(1));
/// ```
///
/// It cannot borrow what may end before it:
///
/// ```compile_fail,E0597
/// let one = 1;
/// let one = &one;
/// firsttouch_pool::spawn(move || assert_eq!(*one, 1));
/// ```
///
/// ```
/// let one = 1;
/// firsttouch_pool::spawn(move || assert_eq!(one, 1));
/// ```
pub fn spawn(f: impl FnOnce() + Send + 'static) {
    with_worker(|worker| task::spawn(worker.shared(), None, f));
}

/// Runs `f` on every helper once, and returns the results by helper index: [`Pool::broadcast`] on the pool of the calling thread.
///
/// [`join`] says which pool that is.
///
/// # Panics
///
/// As [`Pool::broadcast`] does, and where there is no global pool and none can be built.
///
/// # Examples
///
/// ```
/// let nodes = firsttouch_pool::broadcast(|member| member.node());
/// assert_eq!(nodes.len(), firsttouch_pool::Pool::global()?.helpers().len());
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
pub fn broadcast<R: Send>(f: impl Fn(&Member<'_>) -> R + Sync) -> Vec<R> {
    with_worker(|worker| broadcast_on(worker.shared(), f))
}

/// Returns the helper that the current thread is, of whichever pool.
///
/// [`Pool::current_helper`] asks one pool. A thread is a helper of one pool at
/// most, also while it works for another.
///
/// # Examples
///
/// ```
/// assert_eq!(firsttouch_pool::current_helper(), None);
/// let indices = firsttouch_pool::broadcast(|_| firsttouch_pool::current_helper().unwrap().index);
/// assert!(indices.into_iter().eq(0..firsttouch_pool::Pool::global()?.helpers().len()));
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
#[must_use]
pub fn current_helper() -> Option<Helper> {
    crate::current::with_home(|worker| {
        let worker = worker?;
        worker.shared().helpers.get(worker.helper?).cloned()
    })
}
