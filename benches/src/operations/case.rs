//! What is done with how much memory of which pages.

use std::fmt;
use std::str::FromStr;

use anyhow::Context;
use bytesize::ByteSize;

use crate::page_init::Pages;
use crate::size;

/// Something that is done with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Populated memory is given back to the kernel, and unmapped.
    Release,
    /// Fresh memory is populated and locked.
    Pin,
    /// Populated memory is moved to another node.
    Migrate,
    /// Memory is copied to every node, into fresh memory.
    Replicate,
    /// The kernel is asked where every page of populated memory lies.
    Locality,
}

impl Operation {
    /// Every operation, in the order they are measured.
    pub const ALL: [Self; 5] =
        [Self::Release, Self::Pin, Self::Migrate, Self::Replicate, Self::Locality];

    /// Returns what is timed, in a few words.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Release => "from populated memory until it is unmapped",
            Self::Pin => "from fresh memory until all of it is locked",
            Self::Migrate => "from memory on one node until all of it is on another",
            Self::Replicate => "from populated memory until every node has a copy",
            Self::Locality => "until the node of every page is known",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Release => "release",
            Self::Pin => "pin",
            Self::Migrate => "migrate",
            Self::Replicate => "replicate",
            Self::Locality => "locality",
        })
    }
}

/// A name that is no operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no operation; the operations are release, pin, migrate, replicate and locality"
)]
pub struct UnknownOperation {
    name: String,
}

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(name: &str) -> Result<Self, UnknownOperation> {
        let found = Self::ALL.into_iter().find(|operation| operation.to_string() == name);
        found.ok_or_else(|| UnknownOperation { name: name.to_owned() })
    }
}

/// One case; its name is such as `release/base/1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    /// What is done.
    pub operation: Operation,
    /// With which kind of page.
    pub pages: Pages,
    /// With how many bytes.
    pub bytes: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.operation, self.pages, size::exact(self.bytes))
    }
}

impl FromStr for Case {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let no_case = || format!("{name:?} is no case of memory, such as release/base/1GiB");
        let words: Vec<_> = name.split('/').collect();
        let [operation, pages, bytes] = *words else { anyhow::bail!(no_case()) };
        let bytes = bytes.parse::<ByteSize>().map_err(anyhow::Error::msg);
        Ok(Self {
            operation: operation.parse().with_context(no_case)?,
            pages: pages.parse().with_context(no_case)?,
            bytes: bytes.with_context(no_case)?.as_u64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_read_back_from_its_name() {
        for operation in Operation::ALL {
            for pages in Pages::ALL {
                let case = Case { operation, pages, bytes: 96 << 20 };
                assert_eq!(case.to_string().parse::<Case>().expect("it is a case"), case);
            }
        }
        for name in ["", "release/base", "release/base/lots", "burn/base/1GiB", "pin/tiny/1GiB"] {
            let error = name.parse::<Case>().expect_err("it is no case");
            assert!(format!("{error:#}").contains("such as release/base/1GiB"), "{error:#}");
        }
        let error = "burn".parse::<Operation>().expect_err("there is no such operation");
        assert!(error.to_string().contains("release, pin, migrate"), "{error}");
    }
}
