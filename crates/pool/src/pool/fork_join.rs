//! Running a closure on a team: the caller and helpers that come.

use crossbeam_utils::CachePadded;

use super::Pool;
use crate::call::{Arrival, Share};
use crate::current::{calling, under};
use crate::shared::Shared;
use crate::steal::Steal;
use crate::team::{Late, Member, Team, fork};

impl Pool {
    /// Runs `f` on the caller (member 0) and on a team of helpers; returns how many took part.
    ///
    /// When the caller's own call of `f` returns, invitations that no helper
    /// has accepted are withdrawn; required helpers are waited for. So `f`
    /// takes pieces of work from a place that all members share until there
    /// are none. Helpers that sleep cost the caller a wake-up for two of each
    /// node, or none at all with [`Team::wake_late`].
    ///
    /// # Panics
    ///
    /// With the first panic of any member, when every member has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use firsttouch_pool::{Pool, Team};
    ///
    /// let pool = Pool::new()?;
    /// let node = pool.helpers()[0].node;
    /// let calls = AtomicUsize::new(0);
    /// let members = pool.run(&Team::new().require(node, 1), |_| {
    ///     calls.fetch_add(1, Ordering::Relaxed);
    /// });
    /// assert_eq!((members, calls.into_inner()), (2, 2));
    /// # Ok::<(), firsttouch_pool::PoolError>(())
    /// ```
    pub fn run(&self, team: &Team, f: impl Fn(&Member<'_>) + Sync) -> usize {
        calling(&self.shared, |caller| {
            let _kept = team.keep(caller);
            // In lines of its own, as the caller's stack is written to while helpers read this.
            let share = CachePadded::new(MemberShare { f, steal: caller.steal() });
            let late = Late::of(team, caller);
            let helper = caller.helper();
            let own = || (share.f)(&Member::new(&self.shared, 0, helper, true).waking(late));
            let members = match team.asks_one(&self.shared, helper) {
                Some(ask) => fork(caller, ask.into_iter(), team.wakes_late(), &*share, Some(own)),
                None => {
                    let asks = team.asks(&self.shared, helper);
                    fork(caller, asks, team.wakes_late(), &*share, Some(own))
                }
            };
            caller.drop_called(share);
            members
        })
    }
}

/// A closure that each member of a team calls.
struct MemberShare<F> {
    f: F,
    /// What the caller queues jobs under, and so each member.
    steal: Steal,
}

impl<F: Fn(&Member<'_>) + Sync> Share for MemberShare<F> {
    fn run(&self, shared: &Shared, Arrival { order, helper }: Arrival) {
        let member = Member::new(shared, order, helper, false);
        under(shared, self.steal, || (self.f)(&member));
    }
}
