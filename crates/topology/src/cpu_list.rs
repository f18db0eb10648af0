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
