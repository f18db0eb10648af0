//! Machines whose files are deleted, garbled and mixed up at random are read
//! without panic, and what is read still holds together.
//!
//! The mutations are the same in every run. `FIRSTTOUCH_MUTATIONS` sets how
//! many are tried on each machine, and lets all recorded machines take part.

mod invariants;
mod mutations;
mod recordings;
mod trees;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use firsttouch_topology::{Topology, TopologyError};
use mutations::Mutator;
use recordings::Recordings;
use trees::Tree;

/// Recorded machines with few files and much variety, for the default run.
const SMALL: [&str; 6] = [
    "2i386-2t-hugepagesizecount",
    "2ps3-2t",
    "4fake-4gr1nu1pu",
    "8ia64-2n2s2c",
    "fakeheterocpunuma",
    "nvidiagpunumanodes",
];

/// How many mutations each machine gets by default.
const DEFAULT_ROUNDS: u64 = 60;

fn rounds_asked() -> Option<u64> {
    let asked = std::env::var("FIRSTTOUCH_MUTATIONS").ok()?;
    Some(asked.parse().expect("FIRSTTOUCH_MUTATIONS is a number of mutations"))
}

/// Mutates a machine, reads it and puts it back, over and over.
fn survives(name: &str, root: &Path, rounds: u64) {
    let mutator = Mutator::new(root);
    let intact = Topology::from_root(root).expect("the machine is intact");
    let mut errors = 0;
    for seed in 0..rounds {
        let mutation = mutator.mutate(seed);
        let read = catch_unwind(AssertUnwindSafe(|| match Topology::from_root(root) {
            Ok(topology) => invariants::check(&topology),
            Err(TopologyError::NoCpus { .. }) => errors += 1,
            Err(other) => panic!("a recorded machine gives no other error: {other}"),
        }));
        assert!(read.is_ok(), "{name} does not survive mutation {seed}: {:#?}", mutation.changes());
        drop(mutation);
    }
    assert!(errors < rounds, "{name}: most mutations leave a machine to read");
    let again = Topology::from_root(root).expect("the machine is intact again");
    assert_eq!(again, intact, "{name} is put back after each mutation");
}

#[test]
fn a_made_up_machine_survives_every_mutation() {
    let tree = Tree::three_nodes();
    survives("the made-up machine", tree.root(), rounds_asked().unwrap_or(40 * DEFAULT_ROUNDS));
}

#[test]
fn recorded_machines_survive_every_mutation() {
    let Some(recordings) = Recordings::find() else { return };
    let asked = rounds_asked();
    for name in recordings.expected().keys() {
        if asked.is_some() || SMALL.contains(&name.as_str()) {
            let unpacked = recordings.unpack(name);
            survives(name, &unpacked.root(), asked.unwrap_or(DEFAULT_ROUNDS));
        }
    }
}
