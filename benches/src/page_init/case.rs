//! The cases that rivals are compared in: which pages, how much, and what is written.

use std::fmt;
use std::str::FromStr;

use anyhow::Context;
use bytesize::ByteSize;

use super::Pages;
use crate::size;

/// What the memory holds once it is initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fill {
    /// Zeros: the kernel's own clearing is enough.
    Zero,
    /// Another byte all over: each page is cleared by the kernel, then written.
    NonZero,
}

impl Fill {
    /// Both, in the order they are measured.
    pub const ALL: [Self; 2] = [Self::Zero, Self::NonZero];

    /// Returns the byte that is everywhere in the end.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::NonZero => 0x5A,
        }
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "zero",
            Self::NonZero => "nonzero",
        })
    }
}

/// A name that is no fill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no fill; the fills are zero and nonzero")]
pub struct UnknownFill {
    name: String,
}

impl FromStr for Fill {
    type Err = UnknownFill;

    fn from_str(name: &str) -> Result<Self, UnknownFill> {
        let found = Self::ALL.into_iter().find(|fill| fill.to_string() == name);
        found.ok_or_else(|| UnknownFill { name: name.to_owned() })
    }
}

/// The size of the small job, which threads must not make slower.
pub const SMALL: u64 = 1 << 20;

/// One case; its name is such as `base/1GiB/zero`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    /// The kind of page.
    pub pages: Pages,
    /// Bytes to initialise.
    pub bytes: u64,
    /// What is written.
    pub fill: Fill,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.pages, size::exact(self.bytes), self.fill)
    }
}

impl FromStr for Case {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let no_case = || format!("{name:?} is no case of page-init, such as base/1GiB/zero");
        let mut words = name.split('/');
        let (Some(pages), Some(bytes), Some(fill), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            anyhow::bail!(no_case())
        };
        let bytes = bytes.parse::<ByteSize>().map_err(anyhow::Error::msg);
        Ok(Self {
            pages: pages.parse().with_context(no_case)?,
            bytes: bytes.with_context(no_case)?.as_u64(),
            fill: fill.parse().with_context(no_case)?,
        })
    }
}

/// Returns the bytes that a part of a case's name says; `None` where none does.
#[must_use]
pub fn bytes_of(case: &str) -> Option<u64> {
    // A number without a unit is a count of something else.
    let bytes = |word: &str| word.ends_with('B').then(|| word.parse::<ByteSize>().ok()).flatten();
    case.split('/').find_map(bytes).map(|bytes| bytes.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_read_back_from_its_name() {
        for pages in Pages::ALL {
            for fill in Fill::ALL {
                for bytes in [SMALL, 64 << 20, 1536 << 20, 4 << 30] {
                    let case = Case { pages, bytes, fill };
                    let name = case.to_string();
                    assert_eq!(name.parse::<Case>().expect("it is a case"), case);
                    assert_eq!(bytes_of(&name), Some(bytes));
                }
            }
        }
    }

    #[test]
    fn what_is_no_case_is_refused_by_name() {
        for name in ["", "base", "base/1GiB", "tiny/1GiB/zero", "base/lots/zero", "base/1GiB/one"] {
            let error = name.parse::<Case>().expect_err("it is no case");
            assert!(format!("{error:#}").contains("such as base/1GiB/zero"), "{error:#}");
        }
        assert!("base/1GiB/zero/node0".parse::<Case>().is_err());
        let error = "blue".parse::<Fill>().expect_err("it is no fill");
        assert_eq!(error.to_string(), "\"blue\" is no fill; the fills are zero and nonzero");
    }
}
