//! Memory regions: their page size, their NUMA policy, and where their pages lie.
//!
//! Skeleton: signatures only.
#![allow(missing_docs, clippy::todo, unused, missing_debug_implementations)]

use std::marker::PhantomData;
use std::ops::Range;

pub use bytemuck::Pod;
use firsttouch_topology::{NodeId, NodeSet};

/// The page size asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PageSize {
    Base,
    Transparent,
    Huge(HugePageSize),
}

/// A hugetlb page size: a power of two in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HugePageSize(usize);
impl HugePageSize {
    pub const MIB_2: Self = Self(2 << 20);
    pub const GIB_1: Self = Self(1 << 30);
    pub fn new(bytes: usize) -> Result<Self, MemoryError> {
        todo!()
    }
    pub fn bytes(self) -> usize {
        self.0
    }
}

#[derive(Debug, thiserror::Error)]
#[error("skeleton")]
#[non_exhaustive]
pub struct MemoryError;

/// NUMA policy of a range or a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Falls back to the thread's policy (MPOL_DEFAULT).
    Default,
    Local,
    Bind(NodeSet),
    Preferred(NodeId),
    PreferredMany(NodeSet),
    Interleave(NodeSet),
    WeightedInterleave(NodeSet),
}

#[must_use]
#[derive(Clone, Debug)]
pub struct RegionBuilder;
impl RegionBuilder {
    /// Default: Transparent? No: Base. The page size asked for.
    pub fn page_size(self, size: PageSize) -> Self {
        todo!()
    }
    /// What to fall back to, tried in order, where `page_size` cannot be had; none by default, so that it is an error.
    pub fn or_page_size(self, fallback: PageSize) -> Self {
        todo!()
    }
    pub fn policy(self, policy: Policy) -> Self {
        todo!()
    }
    pub fn build(self) -> Result<Region, MemoryError> {
        todo!()
    }
}

/// An owned, zeroed, anonymous private mapping. Send + Sync; unmapped on drop.
pub struct Region;
impl Region {
    /// `len` in bytes; rounded up to whole pages is the mapping, `len()` stays as asked.
    pub fn builder(len: usize) -> RegionBuilder {
        todo!()
    }
    /// Bytes asked for.
    pub fn len(&self) -> usize {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// What was granted.
    pub fn page_size(&self) -> PageSize {
        todo!()
    }
    pub fn requested_page_size(&self) -> PageSize {
        todo!()
    }
    /// Bytes per page of the granted kind: base page, THP size (PMD) for Transparent, or hugetlb size. The region starts at a multiple of it.
    pub fn page_bytes(&self) -> usize {
        todo!()
    }
    pub fn as_ptr(&self) -> *const u8 {
        todo!()
    }
    pub fn as_slice(&self) -> &[u8] {
        todo!()
    }
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        todo!()
    }
    pub fn as_slice_of<T: Pod>(&self) -> &[T] {
        todo!()
    }
    pub fn as_mut_slice_of<T: Pod>(&mut self) -> &mut [T] {
        todo!()
    }
    /// Whether no page of it can have been touched through this value: no `&mut` view, populate or part was ever given out, so every byte is still the kernel's zero and unplaced.
    pub fn is_fresh(&self) -> bool {
        todo!()
    }
    /// Byte range must start and end on page_bytes() (or the region's end).
    pub fn set_policy(&mut self, range: Range<usize>, policy: &Policy) -> Result<(), MemoryError> {
        todo!()
    }
    pub fn policy_at(&self, offset: usize) -> Result<Policy, MemoryError> {
        todo!()
    }
    pub fn residency(&self, range: Range<usize>) -> Result<Residency, MemoryError> {
        todo!()
    }
    pub fn populate(&mut self, range: Range<usize>) -> Result<(), MemoryError> {
        todo!()
    }
    /// Gives the pages back; the bytes read as zero afterwards and have no place until next touched.
    pub fn discard(&mut self, range: Range<usize>) -> Result<(), MemoryError> {
        todo!()
    }
    /// A handle from which several threads take disjoint parts.
    pub fn parts(&mut self) -> Parts<'_> {
        todo!()
    }
}

/// Copy + Send + Sync handle, borrowed exclusively from the region, from which disjoint parts are taken.
#[derive(Clone, Copy)]
pub struct Parts<'a>(PhantomData<&'a mut [u8]>);
impl<'a> Parts<'a> {
    pub fn len(&self) -> usize {
        todo!()
    }
    pub fn page_bytes(&self) -> usize {
        todo!()
    }
    /// # Safety
    /// [disjoint] no other live Part overlaps `range`.
    /// # Panics
    /// Where the range is outside of the region.
    pub unsafe fn part(&self, range: Range<usize>) -> Part<'a> {
        todo!()
    }
    /// Safe: reads no contents. Where pages of the range lie, callable from any thread.
    pub fn residency(&self, range: Range<usize>) -> Result<Residency, MemoryError> {
        todo!()
    }
}

/// An exclusively borrowed byte range of a region. Send.
pub struct Part<'a>(PhantomData<&'a mut [u8]>);
impl Part<'_> {
    pub fn range(&self) -> Range<usize> {
        todo!()
    }
    pub fn populate(&mut self) -> Result<(), MemoryError> {
        todo!()
    }
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        todo!()
    }
    pub fn as_mut_slice_of<T: Pod>(&mut self) -> &mut [T] {
        todo!()
    }
}

/// Where the pages of a range lie. Counts are in base pages throughout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residency;
impl Residency {
    /// Bytes per counted page (the base page).
    pub fn page_bytes(&self) -> usize {
        todo!()
    }
    /// (node, pages) ascending by node.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        std::iter::empty()
    }
    pub fn pages_on(&self, node: NodeId) -> u64 {
        todo!()
    }
    pub fn present(&self) -> u64 {
        todo!()
    }
    pub fn not_present(&self) -> u64 {
        todo!()
    }
    /// Bytes of the present memory mapped by pages of each size: (page bytes, bytes), ascending.
    pub fn page_sizes(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        std::iter::empty()
    }
    /// Adds the counts of another range.
    pub fn merge(&mut self, other: &Residency) {
        todo!()
    }
}

/// The current thread's policy, replaced until the guard drops. Not Send.
#[must_use]
pub struct ThreadPolicy(PhantomData<*const ()>);
impl ThreadPolicy {
    /// set_mempolicy, remembering the old policy.
    pub fn set(policy: &Policy) -> Result<Self, MemoryError> {
        todo!()
    }
    /// Changes to another policy, the first one still being what drop restores.
    pub fn change(&mut self, policy: &Policy) -> Result<(), MemoryError> {
        todo!()
    }
    pub fn current() -> Result<Policy, MemoryError> {
        todo!()
    }
}
