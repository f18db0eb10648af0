//! Parallel loops and reductions over ranges and slices.

mod chunks;
mod for_each;
pub(crate) mod reduce;
mod slice;
#[cfg(all(test, not(loom)))]
mod tests;

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::job::help::Help;
use crate::options::Options;
use crate::schedule::Cut;
use crate::{Location, Schedule, Steal};

pub use self::for_each::{for_each_chunk, for_each_index};
pub use self::reduce::{reduce, reduce_deterministic};
pub use self::slice::{for_each_chunk_mut, for_each_mut};

/// Why loops with the defaults have no error.
const DEFAULTS_HOLD: &str = "an align of 1 and no parts are right for every range";

/// How a parallel loop is run: its schedule, how it is cut, by how many threads, and where.
///
/// The same options serve loops over ranges ([`for_each_index`](Self::for_each_index),
/// [`for_each_chunk`](Self::for_each_chunk)), loops over slices
/// ([`for_each_mut`](Self::for_each_mut), [`for_each_chunk_mut`](Self::for_each_chunk_mut))
/// and reductions ([`reduce`](Self::reduce),
/// [`reduce_deterministic`](Self::reduce_deterministic)), any number of times.
/// The functions of the same names are loops with the defaults.
///
/// The caller takes part and begins at once, so a loop that is over before
/// help arrives waits for nobody. A loop worth one thread wakes nobody. Unlike a
/// [`Job`](crate::Job), a loop makes no report; it costs little more than the
/// pool's call, and allocates nothing of its own where the range lives
/// [anywhere](Location::Anywhere), the pool has one node, and at most 256
/// threads take part or the schedule is dynamic or guided. A deterministic
/// reduction always allocates for its leaves.
///
/// Loops nest, in loops and in the pool's `join` and `scope`. What a loop's
/// closure writes is visible to the caller afterwards.
///
/// # Panics
///
/// Every loop panics with its closure's panic, on whichever thread that was,
/// when no thread runs the closure any more; none begins another chunk after it.
///
/// # Examples
///
/// Iterations of unequal length, a few at a time:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use firsttouch_job::{Loop, Schedule};
/// use firsttouch_pool::Pool;
///
/// let pool = Pool::new()?;
/// let steps = AtomicU64::new(0);
/// Loop::new().schedule(Schedule::Dynamic { chunk: 16 }).for_each_index(&pool, 1..1000, |start| {
///     // How long Collatz's sequence is, nobody knows beforehand.
///     let mut number = start;
///     while number != 1 {
///         number = if number % 2 == 0 { number / 2 } else { 3 * number + 1 };
///         steps.fetch_add(1, Ordering::Relaxed);
///     }
/// })?;
/// assert_eq!(steps.into_inner(), 59_431);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Clone, Debug)]
pub struct Loop {
    options: Options,
    help: Help,
}

impl Loop {
    /// Returns a loop's options, each with its default.
    pub fn new() -> Self {
        Self { options: Options::new(Cut::from(Schedule::default())), help: Help::default() }
    }

    /// Sets how the range is cut and who takes which chunk. Default: [`Schedule::Auto`].
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.options.cut = schedule.into();
        self
    }

    /// Sets what chunk boundaries are multiples of, counted from 0; the range's own start and end excepted. Default: 1.
    ///
    /// In elements for a slice: a cache line holds 8 elements of 8 bytes, and
    /// two threads that write to one line wait for each other.
    pub fn align(mut self, align: usize) -> Self {
        self.options.align = align;
        self
    }

    /// Sets the least work worth one thread. Default: 0, which is no minimum.
    ///
    /// A helper that has to be woken needs some ten microseconds to come;
    /// iterations that take a nanosecond are worth a thread by ten thousands.
    pub fn min_chunk(mut self, min_chunk: usize) -> Self {
        self.options.min_chunk = min_chunk;
        self
    }

    /// Sets the most threads, the caller included, as [`Job::max_threads`](crate::Job::max_threads) does. Default: as many as the pool has helpers.
    pub fn max_threads(mut self, n: NonZeroUsize) -> Self {
        self.options.max_threads = Some(n);
        self
    }

    /// Sets where the range lives. Default: [`Location::Anywhere`].
    ///
    /// A range that lives on nodes has a part per node, and each node's
    /// threads begin with their own: [`Location::Spread`] gives the same cut
    /// in every loop over the same range from the same node, so that threads
    /// find data where they touched it first. On a machine with several nodes
    /// it costs some microseconds more.
    pub fn location(mut self, location: Location) -> Self {
        self.options.location = location;
        self
    }

    /// Sets whose threads may run the chunks of a node's part, as [`Job::steal`](crate::Job::steal) does. Default: [`Steal::Anywhere`].
    pub fn steal(mut self, steal: Steal) -> Self {
        self.options.steal = steal;
        self
    }

    /// Sets how long the caller works alone before it asks for help; zero is at once.
    ///
    /// Default: helpers that are awake are asked at once, and those that sleep are
    /// woken. Either costs the caller more than some loops are worth: asking and
    /// learning that helpers are done takes near a microsecond, and waking some
    /// ten, and them longer to come. So it goes by what the loop took the last
    /// time, with this closure and about as many iterations. One that took less
    /// than a microsecond on its caller alone is begun without asking anybody, and
    /// one that took less than ten without waking anybody; they are asked and
    /// woken after the first chunk that ends later than that, and the rest is cut
    /// anew for them. Loops over ranges that live on nodes are always asked for,
    /// and so are those under [`Schedule::Guided`].
    ///
    /// With a time, the caller looks at the clock between its chunks, and asks
    /// for help only where the time is over and chunks are left. So chunks
    /// should be shorter than the time; under [`Schedule::Static`] the first is
    /// a thread's whole part. A part that only other nodes' threads may run
    /// ([`Loop::steal`]) waits as long.
    pub fn invite_after(mut self, time: Duration) -> Self {
        self.help.after = Some(time);
        self
    }
}

impl Default for Loop {
    fn default() -> Self {
        Self::new()
    }
}
