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
        match (self, sizes.transparent_mode) {
            (Self::Base, _) => self.whole(PageSize::Base, sizes.base, bytes),
            (Self::Thp, None) => Err(self.cannot("this kernel has none")),
            (Self::Thp, Some(TransparentHugePages::Never)) => Err(CannotBeHad {
                remedy: Some("write madvise to /sys/kernel/mm/transparent_hugepage/enabled".into()),
                ..self.cannot("their mode is never")
            }),
            (Self::Thp, Some(_)) => {
                let page_bytes = sizes.transparent.unwrap_or(sizes.base);
                self.whole(PageSize::Transparent, page_bytes, bytes)
            }
            (Self::Huge, _) => {
                let tried = sizes.huge.iter().map(|&page_bytes| huge(topology, page_bytes, bytes));
                // The smallest size is the easiest to get, so its refusal is the one that helps.
                let first_found =
                    |one: Result<_, _>, next: Result<_, _>| one.or_else(|e| next.or(Err(e)));
                tried
                    .reduce(first_found)
                    .unwrap_or_else(|| Err(self.cannot("this kernel has none")))
            }
        }
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

/// Huge pages of one size, where enough of them are free.
fn huge(topology: &Topology, page_bytes: u64, bytes: u64) -> Result<PageSize, CannotBeHad> {
    let cannot = |why: String| Pages::Huge.cannot(why);
    let size = usize::try_from(page_bytes).ok().and_then(|size| HugePageSize::new(size).ok());
    let size =
        size.ok_or_else(|| cannot(format!("pages of {page_bytes} bytes cannot be mapped")))?;
    Pages::Huge.whole(PageSize::Huge(size), page_bytes, bytes)?;
    let (needed, free) = (bytes / page_bytes, free_pages(topology, page_bytes));
    if free >= needed {
        return Ok(PageSize::Huge(size));
    }
    let folder = format!("/sys/kernel/mm/hugepages/hugepages-{}kB", page_bytes >> 10);
    let name = size::exact(page_bytes);
    Err(CannotBeHad {
        remedy: Some(format!("write {needed} to {folder}/nr_hugepages")),
        ..cannot(format!("{needed} of {name} are needed and {free} are free"))
    })
}

/// Free pages of one hugetlb size on the nodes this process may use.
fn free_pages(topology: &Topology, page_bytes: u64) -> u64 {
    let allowed = topology.allowed().nodes();
    let nodes = topology.nodes().iter().filter(|node| allowed.contains(node.id()));
    let pools = nodes.flat_map(|node| node.huge_page_pools());
    pools.filter(|pool| pool.page_bytes == page_bytes).map(|pool| pool.free).sum()
}

impl Pages {
    fn whole(self, size: PageSize, page_bytes: u64, bytes: u64) -> Result<PageSize, CannotBeHad> {
        if bytes != 0 && bytes % page_bytes == 0 {
            return Ok(size);
        }
        let whole = (bytes / page_bytes * page_bytes).max(page_bytes);
        let [bytes, page_bytes, whole] = [bytes, page_bytes, whole].map(size::exact);
        Err(self.cannot(format!("{bytes} is not a whole number of {page_bytes}; {whole} is")))
    }

    fn cannot(self, why: impl Into<String>) -> CannotBeHad {
        CannotBeHad { pages: self, why: why.into(), remedy: None }
    }
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
#[error("{pages} pages cannot be had: {why}{}", advice(remedy.as_deref()))]
#[non_exhaustive]
pub struct CannotBeHad {
    /// The kind of page.
    pub pages: Pages,
    /// What stands in the way.
    pub why: String,
    /// What would change that when done as root, where something would.
    pub remedy: Option<String>,
}

fn advice(remedy: Option<&str>) -> String {
    remedy.map_or_else(String::new, |remedy| format!("; as root, {remedy}"))
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
        let topology = Topology::synthetic("node:2 pu:2").expect("it is in the grammar");
        let base = topology.page_sizes().base;
        assert_eq!(Pages::Base.page_size(&topology, 2 * base), Ok(PageSize::Base));
        for bytes in [0, base + 1] {
            let refusal = Pages::Base.page_size(&topology, bytes).expect_err("a page is cut");
            let right = format!("not a whole number of {0}; {0} is", size::exact(base));
            assert!(refusal.why.ends_with(&right), "{refusal}");
        }
    }

    #[test]
    fn a_machine_without_huge_pages_is_refused_in_words() {
        let topology = Topology::synthetic("node:1 pu:2").expect("it is in the grammar");
        let refusal = Pages::Huge.page_size(&topology, 1 << 30).expect_err("it has no pool");
        assert!(refusal.to_string().starts_with("huge pages cannot be had: "), "{refusal}");
        assert_eq!(Pages::Huge.set_aside(&topology), Some(0));
        assert_eq!(Pages::Base.set_aside(&topology), None);
    }

    #[test]
    fn advice_follows_the_reason_where_there_is_some() {
        let refusal = CannotBeHad { remedy: Some("write 5".into()), ..Pages::Huge.cannot("few") };
        assert_eq!(refusal.to_string(), "huge pages cannot be had: few; as root, write 5");
        assert_eq!(Pages::Thp.cannot("none").to_string(), "thp pages cannot be had: none");
    }
}
