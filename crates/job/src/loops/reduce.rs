//! Reductions: one value made from a range, by all threads together.

use std::ops::Range;

use crossbeam_utils::CachePadded;
use firsttouch_pool::Pool;
use firsttouch_topology::NodeId;

use crate::job::sites::Sites;
use crate::location::parts::Share;
use crate::loops::chunks::{self, ThreadChunks};
use crate::options::Options;
use crate::plan::Grain;
use crate::schedule::Cut;
use crate::sync::{Mutex, lock};
use crate::{JobError, Location, Loop, Plan, Schedule};

/// Reduces a range to one value, on the caller and the pool's helpers.
///
/// A [`Loop`] with its defaults; [`Loop::reduce`] says what the closures must hold.
///
/// # Panics
///
/// With the panic of any of the closures.
///
/// # Examples
///
/// A dot product. Additions of one float after the other must not be reordered
/// and so do not vectorise; eight sums side by side do:
///
/// ```
/// use firsttouch_job::reduce;
/// use firsttouch_pool::Pool;
///
/// fn dot(pool: &Pool, x: &[f64], y: &[f64]) -> f64 {
///     let fold = |sum: f64, part: std::ops::Range<usize>| {
///         let (x, y) = (&x[part.clone()], &y[part]);
///         let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
///         let rest = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y);
///         let rest: f64 = rest.sum();
///         let mut sums = [0.0; 8];
///         for (x, y) in xs.zip(ys) {
///             for lane in 0..8 {
///                 sums[lane] += x[lane] * y[lane];
///             }
///         }
///         sum + sums.iter().sum::<f64>() + rest
///     };
///     reduce(pool, 0..x.len().min(y.len()), || 0.0, fold, |left, right| left + right)
/// }
///
/// let (x, y) = (vec![2.0; 10_001], vec![0.5; 10_001]);
/// assert_eq!(dot(&Pool::new()?, &x, &y), 10_001.0);
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
pub fn reduce<A: Send>(
    pool: &Pool,
    range: Range<usize>,
    identity: impl Fn() -> A + Sync,
    fold: impl Fn(A, Range<usize>) -> A + Sync,
    combine: impl Fn(A, A) -> A + Sync,
) -> A {
    Loop::new().reduce(pool, range, identity, fold, combine).expect(super::DEFAULTS_HOLD)
}

/// Reduces a range to one value that depends on no thread: the same bits on any number of threads, in any run.
///
/// A [`Loop`] with its defaults; [`Loop::reduce_deterministic`] says what is
/// guaranteed, and what it costs.
///
/// # Panics
///
/// With the panic of any of the closures.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use firsttouch_job::reduce_deterministic;
/// use firsttouch_pool::Pool;
///
/// let terms: Vec<f64> = (1..100_000).map(|n| 1.0 / f64::from(n)).collect();
/// let sum = |pool: &Pool| {
///     let fold = |sum: f64, part: std::ops::Range<usize>| sum + terms[part].iter().sum::<f64>();
///     reduce_deterministic(pool, 0..terms.len(), || 0.0, fold, |left, right| left + right)
/// };
/// let pool_of = |n| Pool::builder().helpers_per_node(NonZeroUsize::new(n).unwrap()).build();
/// let (one, three) = (pool_of(1)?, pool_of(3)?);
/// assert_eq!(sum(&one).to_bits(), sum(&three).to_bits());
/// # Ok::<(), firsttouch_pool::PoolError>(())
/// ```
pub fn reduce_deterministic<A: Send>(
    pool: &Pool,
    range: Range<usize>,
    identity: impl Fn() -> A + Sync,
    fold: impl Fn(A, Range<usize>) -> A + Sync,
    combine: impl Fn(A, A) -> A,
) -> A {
    let defaults = Loop::new();
    let reduced = defaults.reduce_deterministic(pool, range, identity, fold, combine);
    reduced.expect(super::DEFAULTS_HOLD)
}

/// The threads that a deterministic reduction is cut for, whatever the number that runs: up to 1,024 leaves and more.
const THREADS_CUT_FOR: usize = 256;

impl Loop {
    /// Reduces a range to one value.
    ///
    /// Each thread makes an accumulator by `identity` and folds its chunks into
    /// it, one call of `fold` each; so the accumulator is on the thread's own
    /// stack, and shares no cache line. A thread that has no chunk left
    /// combines its value with those of its node, and the caller those of the
    /// nodes. An empty range gives `identity()`.
    ///
    /// Which values are combined in which order differs from run to run.
    /// So `combine` must be associative and commutative, and `identity()`
    /// neutral to it, for the result to be the same; sums of floats are so only
    /// up to rounding, see [`reduce_deterministic`](Self::reduce_deterministic).
    ///
    /// # Errors
    ///
    /// As for [`for_each_index`](Self::for_each_index).
    ///
    /// # Panics
    ///
    /// With the panic of any of the closures.
    pub fn reduce<A: Send>(
        &self,
        pool: &Pool,
        range: Range<usize>,
        identity: impl Fn() -> A + Sync,
        fold: impl Fn(A, Range<usize>) -> A + Sync,
        combine: impl Fn(A, A) -> A + Sync,
    ) -> Result<A, JobError> {
        let sums = NodeSums::new(pool);
        chunks::run(pool, &self.options, self.help, range, |chunks: &mut ThreadChunks<'_, '_>| {
            // A helper that comes late has nothing to add.
            let Some(first) = chunks.next() else { return };
            let sum = chunks.fold(fold(identity(), first), &fold);
            sums.add(sum, || chunks.node(pool), &combine);
        })?;
        Ok(sums.total(&combine).unwrap_or_else(identity))
    }

    /// Reduces a range to one value that depends on no thread: the same bits on any number of threads, in any run.
    ///
    /// The range is cut into *leaves* whose boundaries follow from the range,
    /// [`align`](Self::align) and [`min_chunk`](Self::min_chunk) alone; each is
    /// folded by one call of `fold` from `identity()`, and the results are
    /// combined in a binary tree of fixed shape, neighbours in order of the
    /// range. So the result is a function of these three and of the closures,
    /// whatever the number of threads, their location and the schedule; `combine`
    /// need not even be associative. Another build may compute another
    /// value where the compiler folds differently, as with any float code.
    ///
    /// The cost over [`reduce`](Self::reduce): one allocation for the leaves'
    /// results, a call of `identity` and `fold` for each leaf, and the tree,
    /// which the caller combines alone. A leaf has at least `min_chunk` units
    /// and a 1,024th of the range, so there are 2,047 at the most. Where an
    /// iteration takes a nanosecond, a `min_chunk` of a few thousand makes
    /// leaves of a small range worth their call. A schedule's lengths count for
    /// nothing here: dynamic and guided threads take leaf by leaf.
    ///
    /// # Errors
    ///
    /// As for [`for_each_index`](Self::for_each_index).
    ///
    /// # Panics
    ///
    /// With the panic of any of the closures.
    pub fn reduce_deterministic<A: Send>(
        &self,
        pool: &Pool,
        range: Range<usize>,
        identity: impl Fn() -> A + Sync,
        fold: impl Fn(A, Range<usize>) -> A + Sync,
        combine: impl Fn(A, A) -> A,
    ) -> Result<A, JobError> {
        // Checks the schedule's numbers too, which the leaves do not need.
        let range = self.options.plan(range, 1)?.range();
        let fixed = self.options.builder(range.start, range.len(), usize::MAX);
        let leaves = fixed.grain(Grain::BalancedFor(THREADS_CUT_FOR)).build()?;
        let results: Vec<Mutex<Option<A>>> = leaves.iter().map(|_| Mutex::new(None)).collect();
        let body = |chunks: &mut ThreadChunks<'_, '_>| {
            for index in chunks.flatten() {
                if let Some(leaf) = leaves.chunk(index) {
                    let result = fold(identity(), leaf);
                    *lock(&results[index]) = Some(result);
                }
            }
        };
        self.run_leaves(pool, &leaves, body)?;
        let results = results.into_iter();
        let results = results.filter_map(|result| lock(&result).take()).collect();
        Ok(combine_tree(results, combine).unwrap_or_else(identity))
    }

    /// Runs a loop over the leaves of a plan, each on the node where it begins.
    fn run_leaves(
        &self,
        pool: &Pool,
        leaves: &Plan<usize>,
        body: impl Fn(&mut ThreadChunks<'_, '_>) + Sync,
    ) -> Result<(), JobError> {
        let by_leaf = Options {
            align: 1,
            min_chunk: 0,
            cut: by_leaf(self.options.cut),
            location: Location::Anywhere,
            ..self.options.clone()
        };
        if chunks::is_anywhere(pool, &self.options.location) {
            return chunks::run(pool, &by_leaf, self.help, 0..leaves.chunks(), body);
        }
        let sites = Sites::of(pool);
        let mut shares = chunks::shares(&self.options, leaves.range(), &sites)?;
        for Share { ranges, .. } in &mut shares {
            for range in &mut *ranges {
                *range = leaves.first_from(range.start)..leaves.first_from(range.end);
            }
            ranges.retain(|range| !range.is_empty());
        }
        shares.retain(|share| !share.ranges.is_empty());
        chunks::run_shares(pool, &by_leaf, self.help, &sites, &shares, body)
    }
}

/// The schedule of a loop over leaves instead of units.
fn by_leaf(cut: Cut) -> Cut {
    match cut.grain {
        Grain::AtMost(_) => Schedule::Dynamic { chunk: 1 }.into(),
        Grain::AtLeast(_) => Schedule::Guided { min_chunk: 1 }.into(),
        _ => cut,
    }
}

/// Combines neighbours until one value is left; `None` where there is none.
fn combine_tree<A>(mut values: Vec<A>, combine: impl Fn(A, A) -> A) -> Option<A> {
    while values.len() > 1 {
        let mut pairs = values.into_iter();
        values = std::iter::from_fn(|| {
            let left = pairs.next()?;
            Some(match pairs.next() {
                Some(right) => combine(left, right),
                None => left,
            })
        })
        .collect();
    }
    values.pop()
}

/// What the threads of each node have come to.
pub(crate) enum NodeSums<A> {
    OneNode(CachePadded<Mutex<Option<A>>>),
    Nodes(Vec<(NodeId, CachePadded<Mutex<Option<A>>>)>),
}

impl<A> NodeSums<A> {
    pub(crate) fn new(pool: &Pool) -> Self {
        let sum = || CachePadded::new(Mutex::new(None));
        if pool.nodes().count() <= 1 {
            Self::OneNode(sum())
        } else {
            Self::Nodes(pool.nodes().map(|(node, _)| (node, sum())).collect())
        }
    }

    /// Adds one thread's value to its node's: `[sum]` in `docs/protocols/jobs.md`.
    ///
    /// No lock is held while the closure runs, which may run loops of its own.
    pub(crate) fn add(
        &self,
        mut value: A,
        node: impl FnOnce() -> Option<NodeId>,
        combine: impl Fn(A, A) -> A,
    ) {
        let sum = match self {
            Self::OneNode(sum) => sum,
            Self::Nodes(sums) => {
                let node = node();
                let own = sums.iter().find(|(of, _)| Some(*of) == node).or(sums.first());
                let Some((_, sum)) = own else { return };
                sum
            }
        };
        loop {
            let mut there = lock(sum);
            match there.take() {
                None => {
                    *there = Some(value);
                    return;
                }
                Some(other) => {
                    drop(there);
                    value = combine(other, value);
                }
            }
        }
    }

    /// Combines the nodes' values, in order of their numbers.
    pub(crate) fn total(self, combine: impl Fn(A, A) -> A) -> Option<A> {
        let of = |sum: CachePadded<Mutex<Option<A>>>| lock(&sum).take();
        match self {
            Self::OneNode(sum) => of(sum),
            Self::Nodes(sums) => sums.into_iter().filter_map(|(_, sum)| of(sum)).reduce(combine),
        }
    }
}
