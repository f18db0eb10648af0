//! Every case, in the order they run.

mod kernel;

use crate::case::Case;

/// Every case.
pub(crate) const ALL: &[&[Case]] = &[kernel::CASES];
