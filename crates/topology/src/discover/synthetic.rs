//! Machines from hwloc's synthetic grammar.

use super::Parts;
use crate::TopologyError;

pub(crate) fn read(description: &str) -> Result<Parts, TopologyError> {
    Err(TopologyError::Synthetic {
        token: description.to_owned(),
        reason: "the grammar is not built in".to_owned(),
    })
}
