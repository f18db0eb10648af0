//! An unbalanced tree in the manner of UTS, the Unbalanced Tree Search benchmark.
//!
//! A node's children are known from its state alone, so any thread can go on
//! from any node. How many there are is drawn from a geometric distribution
//! (UTS's geometric tree of fixed shape): subtrees of one parent differ by
//! orders of magnitude, and nobody knows beforehand which is large. The draws
//! are whole numbers from splitmix64 where UTS uses SHA-1, so that the tree is
//! the same in every language and the splitting is what takes the time.
//! `benches/rivals/tree.h` is the same in C.

/// The golden ratio of 64 bits: the step of splitmix64.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A further child comes with this probability, in units of 2^-32: 0.8, so 4 children on average.
const ANOTHER: u64 = 3_435_973_836;

/// No node has more children.
const MOST_CHILDREN: u32 = 100;

/// A node of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// What its children are drawn from.
    pub state: u64,
    /// How many generations may still follow; a node at 0 has no children.
    pub generations: u32,
}

impl Node {
    /// Returns the root of a tree.
    #[must_use]
    pub fn root(seed: u64, generations: u32) -> Self {
        Self { state: mix(seed.wrapping_add(STEP)), generations }
    }

    /// Returns how many children the node has.
    #[must_use]
    pub fn children(self) -> u32 {
        if self.generations == 0 {
            return 0;
        }
        let draws = (1..=MOST_CHILDREN).map(|n| mix(self.state ^ STEP.wrapping_mul(n.into())));
        // The first draw that says no ends the family.
        draws.take_while(|draw| draw >> 32 < ANOTHER).count() as u32
    }

    /// Returns a child by its place among its siblings.
    #[must_use]
    pub fn child(self, place: u32) -> Self {
        let step = STEP.wrapping_mul(u64::from(place) + 1);
        Self { state: mix(self.state.wrapping_add(step)), generations: self.generations - 1 }
    }
}

/// The finaliser of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::work::{Count, InTurn, Work};
    use super::*;

    fn nodes(seed: u64, generations: u32) -> u64 {
        Count(Node::root(seed, generations)).run(&mut InTurn)
    }

    #[test]
    fn splitmix64_is_the_published_one() {
        // The first outputs for seed 1234567, as its author's program prints them.
        let outputs = [1, 2, 3].map(|n| mix(1_234_567_u64.wrapping_add(STEP.wrapping_mul(n))));
        let published =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(outputs, published);
    }

    #[test]
    fn a_tree_is_the_same_every_time_and_another_for_another_seed() {
        assert_eq!(nodes(1, 6), nodes(1, 6));
        assert_ne!(nodes(1, 6), nodes(2, 6));
        assert_eq!(nodes(1, 0), 1);
    }

    #[test]
    fn nodes_have_four_children_on_average_and_some_have_many_more() {
        let family = |seed| Node::root(seed, 1).children();
        let families: Vec<_> = (0..10_000).map(family).collect();
        let mean = f64::from(families.iter().sum::<u32>()) / families.len() as f64;
        assert!((mean - 4.0).abs() < 0.2, "{mean}");
        assert!(families.iter().any(|&children| children > 20));
        assert!(families.contains(&0));
    }
}
