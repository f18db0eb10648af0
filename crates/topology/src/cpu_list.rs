//! The kernel's list syntax: `0-3,8,10-11`, and `0-31:2/4` for strided groups.

use std::fmt;

use crate::IdSet;

/// The largest number a list may name.
///
/// The kernel's own limits are 8,192 CPUs and 1,024 nodes; this leaves room
/// and keeps a garbled file from asking for gigabytes of mask.
pub(crate) const MAX_OS_INDEX: u32 = (1 << 20) - 1;

/// A text that is not in the kernel's list syntax.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{part:?} is not a number or a range of numbers up to {MAX_OS_INDEX}, such as 0-3 (in the list {list:?})"
)]
#[non_exhaustive]
pub struct ListError {
    /// The part between two commas that could not be read.
    pub part: String,
    /// The list it stands in.
    pub list: String,
}

/// Reads a list; an empty one is the empty set.
pub(crate) fn parse<I: Copy + From<u32> + Into<u32>>(list: &str) -> Result<IdSet<I>, ListError> {
    let mut set = IdSet::new();
    for part in list.trim().split(',').filter(|part| !part.trim().is_empty()) {
        let error = || ListError { part: part.to_owned(), list: list.to_owned() };
        let (first, last, used, group) = range(part.trim()).ok_or_else(error)?;
        if used == group {
            set.insert_range(first, last);
        } else {
            set.extend((first..=last).filter(|i| (i - first) % group < used).map(I::from));
        }
    }
    Ok(set)
}

/// Reads `first`, `first-last` or `first-last:used/group`.
fn range(part: &str) -> Option<(u32, u32, u32, u32)> {
    let number = |text: &str| decimal(text.trim()).filter(|&n| n <= MAX_OS_INDEX);
    let (span, stride) = part.split_once(':').map_or((part, None), |(s, g)| (s, Some(g)));
    let (first, last) = match span.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(span)?, number(span)?),
    };
    let (used, group) = match stride.map(|s| s.split_once('/')) {
        None => (1, 1),
        Some(None) => return None,
        Some(Some((used, group))) => (number(used)?, number(group)?),
    };
    (first <= last && 0 < used && used <= group).then_some((first, last, used, group))
}

/// Reads decimal digits; a sign is none.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Writes ascending numbers as a list.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, ids: impl Iterator<Item = u32>) -> fmt::Result {
    let mut ids = ids.peekable();
    let mut separator = "";
    while let Some(first) = ids.next() {
        let mut last = first;
        while let Some(next) = ids.next_if(|&next| last.checked_add(1) == Some(next)) {
            last = next;
        }
        match last - first {
            0 => write!(f, "{separator}{first}")?,
            _ => write!(f, "{separator}{first}-{last}")?,
        }
        separator = ",";
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;
    use crate::{CpuId, CpuSet};

    fn read(list: &str) -> Vec<u32> {
        let set: CpuSet = list.parse().expect("the list is in the kernel's syntax");
        set.iter().map(CpuId::os_index).collect()
    }

    #[test]
    fn cpulist_accepts_gaps_and_empty() {
        assert_eq!(read("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert!(read("").is_empty());
        assert!(read(" \n").is_empty());
        assert_eq!(read("7"), [7]);
        assert_eq!(read("3,1-2,2"), [1, 2, 3]);
    }

    #[test]
    fn cpulist_accepts_strided_groups() {
        assert_eq!(read("0-9:2/4"), [0, 1, 4, 5, 8, 9]);
        assert_eq!(read("1-3:1/1"), [1, 2, 3]);
    }

    #[test]
    fn cpulist_refuses_what_is_no_list() {
        for list in ["a", "3-1", "-1", "1-", "+1", "0x3", "1-2-3", "0-3:0/2", "0-3:3/2", "0-3:2"] {
            assert!(list.parse::<CpuSet>().is_err(), "{list:?} is no list");
        }
    }

    #[test]
    fn cpulist_ends_at_the_largest_number_that_is_believed() {
        assert_eq!(read("1048575"), [MAX_OS_INDEX]);
        assert!("1048576".parse::<CpuSet>().is_err());
        assert!("0-4294967295".parse::<CpuSet>().is_err());
        assert!("99999999999999999999".parse::<CpuSet>().is_err());
    }

    #[test]
    fn a_refused_list_says_which_part_is_wrong() {
        let error = "0-3,x,5".parse::<CpuSet>().expect_err("x is no number");
        assert_eq!(error.part, "x");
        assert!(error.to_string().contains("0-3,x,5"));
    }

    #[test]
    fn the_largest_number_of_all_is_written_without_overflow() {
        struct Written(Vec<u32>);
        impl fmt::Display for Written {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(f, self.0.iter().copied())
            }
        }
        assert_eq!(Written(vec![0, u32::MAX - 1, u32::MAX]).to_string(), "0,4294967294-4294967295");
        assert_eq!(Written(vec![u32::MAX]).to_string(), "4294967295");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ids in btree_set(0u32..=MAX_OS_INDEX, 0..40)) {
            let set: CpuSet = ids.into_iter().map(CpuId::new).collect();
            prop_assert_eq!(set.to_string().parse::<CpuSet>(), Ok(set));
        }

        #[test]
        fn dense_sets_read_back_too(ids in btree_set(0u32..200, 0..150)) {
            let set: CpuSet = ids.into_iter().map(CpuId::new).collect();
            prop_assert_eq!(set.to_string().parse::<CpuSet>(), Ok(set));
        }

        #[test]
        fn any_text_is_read_without_panic(list in "(?s).{0,100}") {
            let _: Result<CpuSet, _> = list.parse();
        }

        #[test]
        fn any_text_of_list_characters_is_read_without_panic(list in "[-0-9,:/ \n]{0,40}") {
            if let Ok(set) = list.parse::<CpuSet>() {
                prop_assert_eq!(set.to_string().parse::<CpuSet>(), Ok(set));
            }
        }
    }
}
