//! Running a closure on every helper.

use std::panic::resume_unwind;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::Pool;
use crate::call::{Arrival, Share};
use crate::current::{calling, enter, under};
use crate::front::Tickets;
use crate::panic::{catch, discard};
use crate::shared::Shared;
use crate::steal::Steal;
use crate::sync::UnsafeCell;
use crate::team::{Ask, Member, fork};
use crate::worker::NO_SCOPE;

impl Pool {
    /// Runs `f` on every helper once, and returns the results by helper index.
    ///
    /// A caller from outside takes no part, unless the pool [starts no
    /// helper](crate::PoolBuilder::current_thread): then it alone runs `f`, as member
    /// 0. A caller that is a helper runs its own share. Waits until every helper has come, which may be long where
    /// they run other work.
    ///
    /// # Panics
    ///
    /// With the first panic of `f`, when every helper has returned from it.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = firsttouch_pool::Pool::new()?;
    /// let indices = pool.broadcast(|member| member.index());
    /// assert!(indices.into_iter().eq(0..pool.helpers().len()));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn broadcast<R: Send>(&self, f: impl Fn(&Member<'_>) -> R + Sync) -> Vec<R> {
        broadcast_on(&self.shared, f)
    }
}

/// Runs `f` on every helper once, and returns the results by helper index; without helpers, on the caller.
pub(crate) fn broadcast_on<R: Send>(
    shared: &Arc<Shared>,
    f: impl Fn(&Member<'_>) -> R + Sync,
) -> Vec<R> {
    if shared.helpers.is_empty() {
        return enter(shared, |worker| {
            let _frame = worker.enter(NO_SCOPE);
            vec![f(&Member::new(shared, 0, None, true))]
        });
    }
    let results = Results::new(shared.helpers.len());
    let ended = catch(|| broadcast_into(shared, &results, f));
    match ended {
        Ok(()) => results.into_vec(),
        Err(payload) => {
            // Not while the payload unwinds: a second panic would abort.
            results.discard();
            resume_unwind(payload)
        }
    }
}

/// Runs `f` on every helper once, and puts each result in its place.
fn broadcast_into<R: Send>(
    shared: &Arc<Shared>,
    results: &Results<R>,
    f: impl Fn(&Member<'_>) -> R + Sync,
) {
    calling(shared, |caller| {
        let asks = (0..shared.nodes.len()).map(|node| {
            let required = shared.others_on_node(node, caller.helper());
            Ask { node, tickets: Tickets { required, optional: 0 } }
        });
        let share = CachePadded::new(Broadcast { results, f, steal: caller.steal() });
        let own = caller.helper().map(|helper| {
            let share = &share;
            move || share.run_as(shared, helper, true)
        });
        fork(caller, asks, false, &*share, own);
        caller.drop_called(share);
    });
}

/// A closure that each helper calls, and the places for the results.
struct Broadcast<'a, F, R> {
    results: &'a Results<R>,
    f: F,
    /// What the caller queues jobs under, and so each helper.
    steal: Steal,
}

impl<F: Fn(&Member<'_>) -> R + Sync, R: Send> Broadcast<'_, F, R> {
    fn run_as(&self, shared: &Shared, helper: usize, is_caller: bool) {
        let member = Member::new(shared, helper, Some(helper), is_caller);
        let result = under(shared, self.steal, || (self.f)(&member));
        // SAFETY: [own] every helper runs its share once, and has its own place.
        unsafe { self.results.set(helper, result) }
    }
}

impl<F: Fn(&Member<'_>) -> R + Sync, R: Send> Share for Broadcast<'_, F, R> {
    fn run(&self, shared: &Shared, arrival: Arrival) {
        if let Some(helper) = arrival.helper {
            self.run_as(shared, helper, false);
        }
    }
}

/// A place for each helper's result.
struct Results<R>(Box<[UnsafeCell<Option<R>>]>);

// SAFETY: each place is written by one thread and read when all have ended.
unsafe impl<R: Send> Sync for Results<R> {}

impl<R> Results<R> {
    fn new(helpers: usize) -> Self {
        Self((0..helpers).map(|_| UnsafeCell::new(None)).collect())
    }

    /// Writes one helper's result.
    ///
    /// # Safety
    ///
    /// - `[own]` No other thread uses this place.
    unsafe fn set(&self, helper: usize, result: R) {
        self.0[helper].with_mut(|place| {
            // SAFETY: [own].
            unsafe { *place = Some(result) }
        });
    }

    /// Drops every result; no panic of their destructors comes out.
    fn discard(self) {
        self.0.into_iter().for_each(discard);
    }

    fn into_vec(self) -> Vec<R> {
        // Every helper has run its share, but where the pool has shut down.
        self.0.into_iter().filter_map(UnsafeCell::into_inner).collect()
    }
}
