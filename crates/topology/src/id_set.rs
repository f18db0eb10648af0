//! Sets of CPUs and of nodes, of any size.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use crate::cpu_list::{self, ListError};
use crate::{CpuId, NodeId};

/// A set of CPUs; grows as needed, so 1,024 is no limit.
pub type CpuSet = IdSet<CpuId>;

/// A set of NUMA nodes; grows as needed.
pub type NodeSet = IdSet<NodeId>;

/// A set of operating-system numbers, kept as a bit mask that grows.
///
/// It takes one bit for each number up to its largest member.
///
/// Its text form, both ways, is the kernel's list syntax: `0-3,8,10-11`.
///
/// # Examples
///
/// ```
/// use firsttouch_topology::{CpuId, CpuSet};
///
/// let mut cpus: CpuSet = "0-3,2000".parse()?;
/// assert_eq!(cpus.len(), 5);
/// cpus.remove(CpuId::new(1));
/// assert_eq!(cpus.to_string(), "0,2-3,2000");
/// # Ok::<(), firsttouch_topology::ListError>(())
/// ```
pub struct IdSet<I> {
    /// Invariant: the last word, if any, is not zero, so equal sets have equal words.
    words: Vec<u64>,
    ids: PhantomData<fn() -> I>,
}

const BITS: u32 = u64::BITS;

fn place(os_index: u32) -> (usize, u64) {
    ((os_index / BITS) as usize, 1 << (os_index % BITS))
}

impl<I: Copy + From<u32> + Into<u32>> IdSet<I> {
    /// Returns the empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Vec::new(), ids: PhantomData }
    }

    /// Adds one member; returns whether it was absent.
    pub fn insert(&mut self, id: I) -> bool {
        let (word, bit) = place(id.into());
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let absent = self.words[word] & bit == 0;
        self.words[word] |= bit;
        absent
    }

    /// Adds every number from `first` to `last`; a whole word at a time, as lists can be long.
    pub(crate) fn insert_range(&mut self, first: u32, last: u32) {
        let ((low, _), (high, _)) = (place(first), place(last));
        if high >= self.words.len() {
            self.words.resize(high + 1, 0);
        }
        for word in low..=high {
            let from = if word == low { u64::MAX << (first % BITS) } else { u64::MAX };
            let upto = if word == high { u64::MAX >> (BITS - 1 - last % BITS) } else { u64::MAX };
            self.words[word] |= from & upto;
        }
    }

    /// Takes one member out; returns whether it was present.
    pub fn remove(&mut self, id: I) -> bool {
        let (word, bit) = place(id.into());
        let Some(w) = self.words.get_mut(word) else { return false };
        let present = *w & bit != 0;
        *w &= !bit;
        self.trim();
        present
    }

    /// Returns whether the set has this member.
    #[must_use]
    pub fn contains(&self, id: I) -> bool {
        let (word, bit) = place(id.into());
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// Returns the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Returns whether the set has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Returns the smallest member.
    #[must_use]
    pub fn first(&self) -> Option<I> {
        self.iter().next()
    }

    /// Returns the largest member.
    #[must_use]
    pub fn last(&self) -> Option<I> {
        let word = self.words.len().checked_sub(1)?;
        let bit = BITS - 1 - self.words[word].leading_zeros();
        Some(I::from(word as u32 * BITS + bit))
    }

    /// Visits the members in ascending order.
    #[must_use]
    pub fn iter(&self) -> IdSetIter<'_, I> {
        IdSetIter {
            words: &self.words,
            index: 0,
            rest: self.words.first().copied().unwrap_or(0),
            ids: PhantomData,
        }
    }

    /// Returns the members of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    /// Returns the members of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    /// Returns the members of this set that the other lacks.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & !b)
    }

    /// Returns whether the sets share a member.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// Returns whether every member is in the other set too.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).is_empty()
    }

    /// Returns the bit mask: bit `i` of word `w` stands for number `64 * w + i`.
    ///
    /// Trailing zero words are left out, so the empty set has no words.
    #[must_use]
    pub fn as_words(&self) -> &[u64] {
        &self.words
    }

    /// Builds a set from a bit mask in the form that [`IdSet::as_words`] returns.
    #[must_use]
    pub fn from_words(words: &[u64]) -> Self {
        let mut set = Self { words: words.to_vec(), ids: PhantomData };
        set.trim();
        set
    }

    fn combine(&self, other: &Self, op: impl Fn(u64, u64) -> u64) -> Self {
        let word = |set: &Self, i: usize| set.words.get(i).copied().unwrap_or(0);
        let longest = self.words.len().max(other.words.len());
        let words = (0..longest).map(|i| op(word(self, i), word(other, i))).collect();
        let mut set = Self { words, ids: PhantomData };
        set.trim();
        set
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }
}

/// Visits a set's members in ascending order; see [`IdSet::iter`].
#[derive(Clone, Debug)]
pub struct IdSetIter<'a, I> {
    words: &'a [u64],
    index: usize,
    /// The members of the word at `index` that are still to come.
    rest: u64,
    ids: PhantomData<fn() -> I>,
}

impl<I: From<u32>> Iterator for IdSetIter<'_, I> {
    type Item = I;

    fn next(&mut self) -> Option<I> {
        while self.rest == 0 {
            self.index += 1;
            self.rest = *self.words.get(self.index)?;
        }
        let bit = self.rest.trailing_zeros();
        self.rest &= self.rest - 1;
        Some(I::from(self.index as u32 * BITS + bit))
    }
}

impl<I: From<u32>> std::iter::FusedIterator for IdSetIter<'_, I> {}

impl<'a, I: Copy + From<u32> + Into<u32>> IntoIterator for &'a IdSet<I> {
    type Item = I;
    type IntoIter = IdSetIter<'a, I>;

    fn into_iter(self) -> IdSetIter<'a, I> {
        self.iter()
    }
}

impl<I: Copy + From<u32> + Into<u32>> FromIterator<I> for IdSet<I> {
    fn from_iter<T: IntoIterator<Item = I>>(ids: T) -> Self {
        let mut set = Self::new();
        set.extend(ids);
        set
    }
}

impl<I: Copy + From<u32> + Into<u32>> Extend<I> for IdSet<I> {
    fn extend<T: IntoIterator<Item = I>>(&mut self, ids: T) {
        for id in ids {
            self.insert(id);
        }
    }
}

impl<I: Copy + From<u32> + Into<u32>> FromStr for IdSet<I> {
    type Err = ListError;

    /// Reads the kernel's list syntax: `0-3,8`, and `0-31:2/4` for two of every four.
    ///
    /// White space and empty parts are ignored, so an empty text is the empty
    /// set. Numbers end at 1,048,575: no kernel has more CPUs or nodes, and a
    /// garbled text cannot ask for more memory than that takes.
    ///
    /// # Errors
    ///
    /// [`ListError`] with the part that is neither a number nor a range.
    fn from_str(list: &str) -> Result<Self, ListError> {
        cpu_list::parse(list)
    }
}

impl<I: Copy + From<u32> + Into<u32>> fmt::Display for IdSet<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        cpu_list::write(f, self.iter().map(Into::into))
    }
}

impl<I: Copy + From<u32> + Into<u32>> fmt::Debug for IdSet<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

// Derives would ask the same of `I`, which is only a marker here.
impl<I> Clone for IdSet<I> {
    fn clone(&self) -> Self {
        Self { words: self.words.clone(), ids: PhantomData }
    }
}

impl<I> Default for IdSet<I> {
    fn default() -> Self {
        Self { words: Vec::new(), ids: PhantomData }
    }
}

impl<I> PartialEq for IdSet<I> {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words
    }
}

impl<I> Eq for IdSet<I> {}

impl<I> std::hash::Hash for IdSet<I> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.words.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    fn set(members: &BTreeSet<u32>) -> CpuSet {
        members.iter().copied().map(CpuId::new).collect()
    }

    fn members(set: &CpuSet) -> BTreeSet<u32> {
        set.iter().map(CpuId::os_index).collect()
    }

    proptest! {
        #[test]
        fn sets_behave_as_ordered_sets_of_numbers(
            a in btree_set(0u32..3000, 0..60),
            b in btree_set(0u32..3000, 0..60),
        ) {
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(members(&x), a.clone());
            prop_assert_eq!(x.len(), a.len());
            prop_assert_eq!(x.is_empty(), a.is_empty());
            prop_assert_eq!(x.first().map(CpuId::os_index), a.first().copied());
            prop_assert_eq!(x.last().map(CpuId::os_index), a.last().copied());
            prop_assert_eq!(members(&x.union(&y)), &a | &b);
            prop_assert_eq!(members(&x.intersection(&y)), &a & &b);
            prop_assert_eq!(members(&x.difference(&y)), &a - &b);
            prop_assert_eq!(x.intersects(&y), !a.is_disjoint(&b));
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            prop_assert!(x.intersection(&y).is_subset(&x));
            prop_assert_eq!(x == y, a == b);
        }

        #[test]
        fn a_member_taken_out_leaves_no_trace(a in btree_set(0u32..3000, 0..60), extra in 0u32..9000) {
            let mut changed = set(&a);
            let absent = changed.insert(CpuId::new(extra));
            prop_assert_eq!(absent, !a.contains(&extra));
            prop_assert!(changed.contains(CpuId::new(extra)));
            if absent {
                prop_assert!(changed.remove(CpuId::new(extra)));
            }
            prop_assert_eq!(changed, set(&a));
        }

        #[test]
        fn a_range_is_its_numbers(first in 0u32..300, more in 0u32..300) {
            let mut ranged = CpuSet::new();
            ranged.insert_range(first, first + more);
            let single: CpuSet = (first..=first + more).map(CpuId::new).collect();
            prop_assert_eq!(ranged, single);
        }
    }

    #[test]
    fn removing_what_is_absent_changes_nothing() {
        let mut cpus = CpuSet::from_iter([CpuId::new(5)]);
        assert!(!cpus.remove(CpuId::new(4)));
        assert!(!cpus.remove(CpuId::new(400)));
        assert_eq!(cpus.to_string(), "5");
    }
}
