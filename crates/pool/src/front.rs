//! A node's front: what its idle helpers watch, and what a fork-join call writes to ask them.
//!
//! All in one cache line, most of it in one word: the tickets of the call that is open
//! there and the count of helpers that look for work. So a caller posts its tickets and
//! learns who will see them, and a helper takes a ticket and ends its search, in one step
//! each. The protocols are in `docs/protocols/team.md` (tickets) and `sleep.md` (searching,
//! sleeping).

mod claim;
mod post;
mod sleep;
mod word;

pub(crate) use claim::Claim;
pub(crate) use post::{Opened, Part, Tickets};
pub(crate) use sleep::{Searching, look};
pub(crate) use word::{MAX_SEARCHING, Round};

use post::Posted;
use sleep::Sleepers;

use crate::sync::AtomicU64;

/// What a node's callers and idle helpers meet at.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Front {
    /// Round, tickets and helpers that search: see [`Word`](word::Word).
    word: AtomicU64,
    posted: Posted,
    sleepers: Sleepers,
}
