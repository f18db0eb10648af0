//! What a case is.

use firsttouch_guest::machine::Machine;

use crate::condition::Condition;

/// One claim, checked in a process of its own.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its name, a sentence.
    pub(crate) name: &'static str,
    /// What a machine is to be like when it is checked, decided as root before anything is changed.
    pub(crate) given: fn(&Machine) -> Given,
    /// Finds out whether it is so; an error says what was found and what was expected.
    pub(crate) check: fn(&Machine) -> anyhow::Result<()>,
}

/// What a case is given on one machine.
#[derive(Debug)]
pub(crate) enum Given {
    /// These conditions, which hold while it is checked and no longer.
    Conditions(Vec<Condition>),
    /// Nothing: it has nothing to say about this machine, for this reason.
    Skip(String),
}

/// Gives a case the machine as it has booted.
pub(crate) fn as_booted(_: &Machine) -> Given {
    Given::Conditions(Vec::new())
}

/// Gives a case these conditions, and no automatic NUMA balancing.
///
/// While the kernel watches a page to balance it, kernels around 6.1 name no
/// node for it, so that exact counts need a machine where it watches none.
pub(crate) fn without_balancing(conditions: impl IntoIterator<Item = Condition>) -> Given {
    Given::Conditions(conditions.into_iter().chain([Condition::NumaBalancing(false)]).collect())
}

/// Skips a case for a reason.
pub(crate) fn skip(reason: impl Into<String>) -> Given {
    Given::Skip(reason.into())
}
