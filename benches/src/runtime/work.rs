//! Work that splits in two again and again, written once for every runtime that can join.

use super::tree::Node;

/// Work that may split itself by [`Join::both`].
pub trait Work: Send {
    /// What the work comes to.
    type Answer: Send;

    /// Does the work; `join` runs its parts.
    fn run<J: Join>(self, join: &mut J) -> Self::Answer;
}

/// What runs two pieces of work, perhaps at once.
pub trait Join {
    /// Runs both and returns both answers.
    fn both<A: Work, B: Work>(&mut self, a: A, b: B) -> (A::Answer, B::Answer);
}

/// One after the other, without a pool: what the splitting itself costs.
#[derive(Clone, Copy, Debug)]
pub struct InTurn;

impl Join for InTurn {
    #[inline]
    fn both<A: Work, B: Work>(&mut self, a: A, b: B) -> (A::Answer, B::Answer) {
        (a.run(self), b.run(self))
    }
}

/// The Fibonacci number of an index, by joining the two before it.
///
/// It does nothing but join, so its time is that of the joins.
#[derive(Clone, Copy, Debug)]
pub struct Fib(pub u32);

impl Fib {
    /// Returns how many joins the work takes: one for each index of 2 and above.
    #[must_use]
    pub fn joins(self) -> u64 {
        // As many as there are leaves, less one; the leaves are those of index 0 and 1.
        fibonacci(self.0 + 1) - 1
    }

    /// Returns the answer, counted up from below.
    #[must_use]
    pub fn answer(self) -> u64 {
        fibonacci(self.0)
    }
}

fn fibonacci(index: u32) -> u64 {
    (0..index).fold((0, 1), |(one, next), _| (next, one + next)).0
}

impl Work for Fib {
    type Answer = u64;

    fn run<J: Join>(self, join: &mut J) -> u64 {
        if self.0 < 2 {
            return u64::from(self.0);
        }
        let (one, other) = join.both(Self(self.0 - 1), Self(self.0 - 2));
        one + other
    }
}

/// Counts the nodes of the tree below a node, and the node itself.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub Node);

impl Work for Count {
    type Answer = u64;

    fn run<J: Join>(self, join: &mut J) -> u64 {
        1 + Children { of: self.0, from: 0, to: self.0.children() as usize }.run(join)
    }
}

/// Counts the trees of a range of a node's children.
///
/// Its numbers are as wide as registers: compilers copy two narrow ones with
/// one load, which waits until both stores have reached the cache.
#[derive(Clone, Copy, Debug)]
struct Children {
    of: Node,
    from: usize,
    to: usize,
}

impl Work for Children {
    type Answer = u64;

    fn run<J: Join>(self, join: &mut J) -> u64 {
        let Self { of, from, to } = self;
        match to - from {
            0 => 0,
            1 => Count(of.child(from as u32)).run(join),
            n => {
                let middle = from + n / 2;
                let (one, other) =
                    join.both(Self { of, from, to: middle }, Self { of, from: middle, to });
                one + other
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fibonacci_numbers_are_those_everybody_knows() {
        let numbers: Vec<_> = (0..10).map(|n| Fib(n).run(&mut InTurn)).collect();
        assert_eq!(numbers, [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]);
        assert!((0..20).all(|n| Fib(n).run(&mut InTurn) == Fib(n).answer()));
        assert_eq!(Fib(32).answer(), 2_178_309);
    }

    #[test]
    fn joins_are_counted_as_they_happen() {
        struct Counting(u64);
        impl Join for Counting {
            fn both<A: Work, B: Work>(&mut self, a: A, b: B) -> (A::Answer, B::Answer) {
                self.0 += 1;
                (a.run(self), b.run(self))
            }
        }
        for n in 0..15 {
            let mut counting = Counting(0);
            Fib(n).run(&mut counting);
            assert_eq!(counting.0, Fib(n).joins(), "{n}");
        }
    }
}
