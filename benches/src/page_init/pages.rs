//! The kinds of page that are measured.

use std::fmt;
use std::str::FromStr;

use firsttouch::topology::TransparentHugePages;
use firsttouch::{HugePageSize, PageSize, Topology};

use crate::size;

/// A kind of page to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pages {
    /// The machine's base pages.
    Base,
    /// Transparent huge pages.
    Thp,
    /// Pages of a hugetlb pool: the smallest size whose pool has enough free.
    Huge,
}

impl Pages {
    /// Every kind, in the order they are measured.
    pub const ALL: [Self; 3] = [Self::Base, Self::Thp, Self::Huge];

    /// Returns the page size to ask for so that `bytes` of this kind can be had.
    ///
    /// # Errors
    ///
    /// [`CannotBeHad`], where the machine has no such pages or too few free,
    /// with what would change that.
    pub fn page_size(self, topology: &Topology, bytes: u64) -> Result<PageSize, CannotBeHad> {
        let sizes = topology.page_sizes();
        let because = |why: String| CannotBeHad { pages: self, why };
        match (self, sizes.transparent_mode) {
            (Self::Base, _) => whole(PageSize::Base, sizes.base, bytes),
            (Self::Thp, None) => Err("this kernel has none".to_owned()),
            (Self::Thp, Some(TransparentHugePages::Never)) => {
                let file = "/sys/kernel/mm/transparent_hugepage/enabled";
                Err(format!("their mode is never; as root, write madvise to {file}"))
            }
            (Self::Thp, Some(_)) => {
                whole(PageSize::Transparent, sizes.transparent.unwrap_or(sizes.base), bytes)
            }
            (Self::Huge, _) => huge(topology, bytes),
        }
        .map_err(because)
    }

    /// Returns the most bytes that can be had of this kind where its pages are set aside, as those
    /// of hugetlb pools are; `None` for kinds that come out of common memory.
    #[must_use]
    pub fn set_aside(self, topology: &Topology) -> Option<u64> {
        let of_size = |&page_bytes| page_bytes * free_pages(topology, page_bytes);
        (self == Self::Huge)
            .then(|| topology.page_sizes().huge.iter().map(of_size).max().unwrap_or(0))
    }
}

fn whole(page_size: PageSize, page_bytes: u64, bytes: u64) -> Result<PageSize, String> {
    if bytes != 0 && bytes % page_bytes == 0 {
        return Ok(page_size);
    }
    let (bytes, page_bytes) = (size::exact(bytes), size::exact(page_bytes));
    Err(format!("{bytes} is not a whole number of pages of {page_bytes}"))
}

/// The smallest huge page size of which enough pages are free.
fn huge(topology: &Topology, bytes: u64) -> Result<PageSize, String> {
    let sizes = &topology.page_sizes().huge;
    let mut refusals = Vec::new();
    for &page_bytes in sizes {
        let Ok(huge) = usize::try_from(page_bytes)
            .map_err(drop)
            .and_then(|page_bytes| HugePageSize::new(page_bytes).map_err(drop))
        else {
            continue;
        };
        if let Err(refusal) = whole(PageSize::Huge(huge), page_bytes, bytes) {
            refusals.push(refusal);
            continue;
        }
        let (needed, free) = (bytes / page_bytes, free_pages(topology, page_bytes));
        if free >= needed {
            return Ok(PageSize::Huge(huge));
        }
        let file =
            format!("/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages", page_bytes >> 10);
        let name = size::exact(page_bytes);
        refusals.push(format!(
            "{needed} pages of {name} are needed and {free} are free; as root, write {needed} to {file}"
        ));
    }
    // The smallest size is the easiest to get, so its refusal is the one that helps.
    Err(refusals.into_iter().next().unwrap_or_else(|| "this kernel has none".to_owned()))
}

/// Free pages of one hugetlb size on the nodes this process may use.
fn free_pages(topology: &Topology, page_bytes: u64) -> u64 {
    let allowed = topology.allowed().nodes();
    let nodes = topology.nodes().iter().filter(|node| allowed.contains(node.id()));
    let pools = nodes.flat_map(|node| node.huge_page_pools());
    pools.filter(|pool| pool.page_bytes == page_bytes).map(|pool| pool.free).sum()
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Thp => "thp",
            Self::Huge => "huge",
        })
    }
}

impl FromStr for Pages {
    type Err = UnknownPages;

    fn from_str(name: &str) -> Result<Self, UnknownPages> {
        let found = Self::ALL.into_iter().find(|pages| pages.to_string() == name);
        found.ok_or_else(|| UnknownPages { name: name.to_owned() })
    }
}

/// A name that is no kind of page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no kind of page; the kinds are base, thp and huge")]
pub struct UnknownPages {
    name: String,
}

/// A kind of page that this machine cannot give now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pages} pages cannot be had: {why}")]
pub struct CannotBeHad {
    pages: Pages,
    why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for pages in Pages::ALL {
            assert_eq!(pages.to_string().parse(), Ok(pages));
        }
        let error = "tiny".parse::<Pages>().expect_err("there is no such kind");
        assert_eq!(
            error.to_string(),
            "\"tiny\" is no kind of page; the kinds are base, thp and huge"
        );
    }

    #[test]
    fn a_size_must_be_whole_pages() {
        assert_eq!(whole(PageSize::Base, 4096, 8192), Ok(PageSize::Base));
        let refusal = whole(PageSize::Base, 4096, 5000).expect_err("a page is cut");
        assert_eq!(refusal, "5000B is not a whole number of pages of 4KiB");
        assert!(whole(PageSize::Base, 4096, 0).is_err());
    }
}
