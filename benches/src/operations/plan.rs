//! What one round measures, what this machine cannot do, and what firsttouch is to reach.

use std::num::NonZeroUsize;

use firsttouch::{NodeId, Topology};

use super::{Case, ONE_THREAD, Operation};
use crate::measure::Request;
use crate::page_init::Pages;
use crate::size;
use crate::suite::{Effort, Group};
use crate::target::{Against, Bound, Target};

/// What to compare.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is done, with what.
    pub cases: Vec<Case>,
    /// Who does it, by the names in the catalogue.
    pub runtimes: Vec<String>,
    /// The threads that take part, the caller included.
    pub threads: NonZeroUsize,
    /// How much is done for each measurement.
    pub effort: Effort,
}

impl Plan {
    /// Returns the requests of one round; those that follow each other differ in their runtime.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let request = |case: &Case, runtime: &str| Request {
            group: Group::Memory,
            cases: vec![case.to_string()],
            runtime: runtime.to_owned(),
            // All have as many, so that they take turns; whoever has no use for them says so.
            threads: self.threads,
            effort: self.effort,
        };
        let of_case = |case| self.runtimes.iter().map(move |name| request(case, name));
        self.cases.iter().flat_map(of_case).collect()
    }

    /// Returns what firsttouch is to reach in these cases.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let wanted = |case: &Case| match (case.operation, case.pages) {
            (Operation::Release, Pages::Base) => Some(1.8),
            (Operation::Pin, Pages::Base) => Some(1.6),
            _ => None,
        };
        let target = |case: &Case| {
            let name = case.to_string();
            let against = Against::Rival { runtime: ONE_THREAD, case: name.clone() };
            wanted(case).map(|times| Target { case: name, against, bound: Bound::Times(times) })
        };
        self.cases.iter().filter_map(target).collect()
    }
}

/// Returns the two nodes that memory is moved between; `None` where there are not as many.
#[must_use]
pub fn two_nodes(topology: &Topology) -> Option<(NodeId, NodeId)> {
    let mut nodes = nodes_with_memory(topology);
    nodes.next().zip(nodes.next())
}

/// The nodes that have memory, and that this process may use.
pub(super) fn nodes_with_memory(topology: &Topology) -> impl Iterator<Item = NodeId> + '_ {
    let allowed = topology.allowed().nodes();
    let usable = move |id: &NodeId| allowed.contains(*id);
    let nodes = topology.nodes().iter().filter(|node| node.memory_total() != Some(0));
    nodes.map(|node| node.id()).filter(usable)
}

/// Says why this process cannot do something with so many bytes; `None` where nothing stands in the way.
#[must_use]
pub fn obstacle(operation: Operation, bytes: u64, topology: &Topology) -> Option<String> {
    match operation {
        Operation::Migrate if two_nodes(topology).is_none() => {
            Some("this process may use one node only".to_owned())
        }
        Operation::Pin => {
            let most = most_locked()?;
            (most < bytes).then(|| {
                format!(
                    "this process may lock {} only: raise the limit (ulimit -l), or run as root",
                    size::rounded(most)
                )
            })
        }
        Operation::Locality if !places_are_told() => {
            Some("the kernel does not say here where pages are: move_pages is refused".to_owned())
        }
        _ => None,
    }
}

/// Bytes that this process may lock; `None` for any number.
fn most_locked() -> Option<u64> {
    /// The capability to lock more than the limit, by its number.
    const CAP_IPC_LOCK: u32 = 14;
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    let capable = status.is_ok_and(|status| status.capeff & (1 << CAP_IPC_LOCK) != 0);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    limit.filter(|_| !capable)
}

fn places_are_told() -> bool {
    let region = firsttouch::Region::builder(1 << 20).build();
    region.is_ok_and(|region| region.residency(0..1 << 20).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::catalogue;

    fn plan() -> Plan {
        let case = |operation| Case { operation, pages: Pages::Base, bytes: 1 << 20 };
        Plan {
            cases: Operation::ALL.map(case).to_vec(),
            runtimes: catalogue().into_iter().map(|known| known.name).collect(),
            threads: NonZeroUsize::MIN,
            effort: Effort::Brief,
        }
    }

    #[test]
    fn those_who_do_the_same_follow_each_other() {
        let requests = plan().requests();
        let alike: Vec<_> = requests.chunk_by(Request::is_alike).map(<[_]>::len).collect();
        assert_eq!(alike, [plan().runtimes.len(); 5]);
    }

    #[test]
    fn releasing_and_pinning_base_pages_have_targets() {
        let targets = plan().targets();
        let cases: Vec<_> = targets.iter().map(|target| target.case.as_str()).collect();
        assert_eq!(cases, ["release/base/1MiB", "pin/base/1MiB"]);
    }

    #[test]
    fn one_node_is_too_few_to_move_memory_and_two_are_enough() {
        let one = Topology::synthetic("node:1 pu:2").expect("it is in the grammar");
        let obstacle = obstacle(Operation::Migrate, 1 << 20, &one).expect("there is one node");
        assert_eq!(obstacle, "this process may use one node only");
        let two = Topology::synthetic("node:2 pu:2").expect("it is in the grammar");
        assert_eq!(two_nodes(&two), Some((NodeId::new(0), NodeId::new(1))));
        assert_eq!(super::obstacle(Operation::Release, u64::MAX, &one), None);
    }
}
