//! What is compared: suites, their groups of cases, and how long each takes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::size;

/// A suite that compares runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// What it costs to set threads to work and to wait for them.
    ForkJoin,
    /// What tasks cost, and what loops over much memory take.
    Tasks,
    /// How long fresh memory takes to initialise.
    PageInit,
    /// How long it takes to give memory back, pin it, move it, copy it and find it.
    Memory,
}

impl Suite {
    /// Returns its groups, in the order they are measured.
    #[must_use]
    pub fn groups(self) -> &'static [Group] {
        match self {
            Self::ForkJoin => {
                &[Group::Broadcast, Group::ForEach, Group::Enter, Group::Wake, Group::Idle]
            }
            Self::Tasks => &[Group::Join, Group::Tree, Group::Spawn, Group::Stream],
            Self::PageInit => &[Group::Limit, Group::PageInit],
            Self::Memory => &[Group::Memory],
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForkJoin => "fork-join",
            Self::Tasks => "tasks",
            Self::PageInit => "page-init",
            Self::Memory => "memory",
        })
    }
}

/// Cases that one process measures, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Every thread takes part.
    Broadcast,
    /// A loop over one item per thread, two at least; the caller may do all of them.
    ForEach,
    /// Getting to where the runtime's own work runs.
    Enter,
    /// What the kernel takes to wake a thread on another CPU: the floor for whoever sleeps.
    Wake,
    /// CPU time that is used after the last call, when there is nothing to do.
    Idle,
    /// Joins that do nothing but join.
    Join,
    /// A tree whose subtrees differ by orders of magnitude.
    Tree,
    /// Many small tasks in scopes.
    Spawn,
    /// Loops that are bound by memory.
    Stream,
    /// Fresh memory is initialised.
    PageInit,
    /// What the machine itself can do with fresh and with warm memory.
    Limit,
    /// Something else is done with memory.
    Memory,
}

impl Group {
    /// Returns the names of its cases.
    ///
    /// A name says how much work there was, so that records of different sizes never mix.
    /// Those whose sizes are asked for are made by [`page_init::Plan`](crate::page_init::Plan) and
    /// [`operations::Plan`](crate::operations::Plan): none here.
    #[must_use]
    pub fn cases(self, effort: Effort) -> Vec<String> {
        let hot_and_cold = |group: &str, variants: &[&str]| {
            variants.iter().map(|variant| format!("{group}/{variant}")).collect()
        };
        let everywhere = ["hot", "hot/inside", "cold", "cold/inside"];
        match self {
            Self::Broadcast => hot_and_cold("broadcast", &everywhere),
            Self::ForEach => hot_and_cold("for-each", &everywhere),
            Self::Enter => hot_and_cold("enter", &["hot", "cold"]),
            Self::Wake => hot_and_cold("wake", &["round-trip", "call"]),
            Self::Idle => vec![format!("idle/{}s", IDLE_SECONDS)],
            Self::Join => vec![format!("fib/{}", effort.fib())],
            Self::Tree => vec![format!("tree/{}", effort.generations())],
            Self::Spawn => {
                let (outer, inner) = effort.nested_tasks();
                vec![format!("spawn/{}", effort.tasks()), format!("spawn/{outer}x{inner}")]
            }
            Self::Stream => {
                let bytes = size::exact(effort.array_bytes() as u64);
                ["sum", "dot", "triad"].map(|case| format!("{case}/{bytes}")).to_vec()
            }
            Self::PageInit | Self::Limit | Self::Memory => Vec::new(),
        }
    }

    /// Returns the cases that are also measured with fewer threads than all.
    #[must_use]
    pub fn scales(self, case: &str) -> bool {
        match self {
            Self::Broadcast | Self::ForEach => case.ends_with("/hot"),
            Self::Join | Self::Tree | Self::Stream => true,
            Self::Enter | Self::Wake | Self::Idle | Self::Spawn => false,
            Self::PageInit | Self::Limit | Self::Memory => false,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broadcast => "broadcast",
            Self::ForEach => "for-each",
            Self::Enter => "enter",
            Self::Wake => "wake",
            Self::Idle => "idle",
            Self::Join => "join",
            Self::Tree => "tree",
            Self::Spawn => "spawn",
            Self::Stream => "stream",
            Self::PageInit => "page-init",
            Self::Limit => "limit",
            Self::Memory => "memory",
        })
    }
}

/// How long a process without work is watched.
pub(crate) const IDLE_SECONDS: u64 = 2;

/// How much is done for each measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// Enough for figures that can be trusted.
    Full,
    /// As little as shows that everything works; its figures say nothing.
    Brief,
}

impl Effort {
    /// Returns the index of the Fibonacci number.
    #[must_use]
    pub fn fib(self) -> u32 {
        self.choose(32, 16)
    }

    /// Returns how many generations the tree has below its root.
    #[must_use]
    pub fn generations(self) -> u32 {
        self.choose(10, 5)
    }

    /// Returns how many tasks the flat scope has.
    #[must_use]
    pub fn tasks(self) -> usize {
        self.choose(100_000, 100)
    }

    /// Returns how many tasks the outer scope has, and how many each of its tasks spawns.
    #[must_use]
    pub fn nested_tasks(self) -> (usize, usize) {
        self.choose((300, 300), (10, 10))
    }

    /// Returns the bytes of each array of the loops that are bound by memory.
    ///
    /// STREAM's rule: four times the last-level cache at least; few machines have more than 32 MiB
    /// in one piece, and the three arrays of the triad add to that.
    #[must_use]
    pub fn array_bytes(self) -> usize {
        self.choose(128 << 20, 1 << 20)
    }

    pub(crate) fn choose<T>(self, full: T, brief: T) -> T {
        match self {
            Self::Full => full,
            Self::Brief => brief,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_cases_of_a_suite_share_a_name() {
        for suite in [Suite::ForkJoin, Suite::Tasks] {
            for effort in [Effort::Full, Effort::Brief] {
                let cases = || suite.groups().iter().flat_map(|group| group.cases(effort));
                assert_eq!(cases().collect::<BTreeSet<_>>().len(), cases().count());
            }
        }
    }

    #[test]
    fn what_scales_is_outside_and_hot() {
        assert!(Group::Broadcast.scales("broadcast/hot"));
        assert!(!Group::Broadcast.scales("broadcast/hot/inside"));
        assert!(!Group::Broadcast.scales("broadcast/cold"));
        assert!(!Group::Idle.scales("idle/2s"));
        assert!(Group::Join.scales("fib/32"));
    }
}
