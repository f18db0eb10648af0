//! The page sizes a machine offers.

/// The page sizes a machine offers, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageSizes {
    /// The size of a base page.
    pub base: u64,
    /// The sizes of hugetlb pages, smallest first; empty where there are none.
    pub huge: Vec<u64>,
    /// The size of a transparent huge page; `None` where the kernel has none.
    pub transparent: Option<u64>,
    /// When the kernel uses transparent huge pages; `None` where it has none.
    pub transparent_mode: Option<TransparentHugePages>,
}

/// When the kernel backs anonymous memory with transparent huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransparentHugePages {
    /// Wherever it can.
    Always,
    /// Where a program asked with `madvise`.
    Madvise,
    /// Nowhere.
    Never,
}
