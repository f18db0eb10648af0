//! The kernel's text formats. Every function takes any text and never panics.

use crate::cpu_list::{MAX_OS_INDEX, decimal};
use crate::{CpuQuota, IdSet, TransparentHugePages};

/// Reads a CPU's or node's number: decimal digits, up to the largest that is believed.
pub(crate) fn number(text: &str) -> Option<u32> {
    decimal(text).filter(|&number| number <= MAX_OS_INDEX)
}

/// Reads an unsigned decimal number and nothing else.
pub(crate) fn unsigned(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Reads a set in list syntax: `0-3,8`.
pub(crate) fn list<I: Copy + From<u32> + Into<u32>>(text: &str) -> Option<IdSet<I>> {
    text.parse().ok()
}

/// Reads a set in mask syntax: hexadecimal words of 32 bits, the highest first, such as `1,0000000f`.
pub(crate) fn mask<I: Copy + From<u32> + Into<u32>>(text: &str) -> Option<IdSet<I>> {
    let mut set = IdSet::new();
    for (index, word) in text.trim().rsplit(',').enumerate() {
        let digits = (1..=8).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit());
        let mut bits = if digits { u32::from_str_radix(word, 16).ok()? } else { return None };
        let base = u32::try_from(index).ok()?.checked_mul(u32::BITS)?;
        while bits != 0 {
            let id = base.checked_add(bits.trailing_zeros()).filter(|&id| id <= MAX_OS_INDEX)?;
            set.insert(I::from(id));
            bits &= bits - 1;
        }
    }
    Some(set)
}

/// Reads one field of a `meminfo` file, in bytes; a node's lines start with `Node 0`.
pub(crate) fn meminfo(text: &str, field: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.find(|word| word.strip_suffix(':') == Some(field))?;
        unsigned(words.next()?)?.checked_mul(1024)
    })
}

/// Reads how many of a node's free pages the kernel keeps for itself, from `/proc/zoneinfo`.
///
/// In each zone these are the high watermark and the most that the zone
/// protects from requests that other zones could serve. `None` where the node
/// has no zone, or a zone does not tell all three figures.
pub(crate) fn reserved_pages(text: &str, node: u32) -> Option<u64> {
    #[derive(Default)]
    struct Zone {
        free: Option<u64>,
        high: Option<u64>,
        protection: Option<u64>,
    }
    let mut zones: Vec<Zone> = Vec::new();
    let mut own = false;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), own.then(|| zones.last_mut()).flatten()) {
            (Some("Node"), _) => {
                own = words.next().and_then(|id| number(id.strip_suffix(',')?)) == Some(node);
                if own {
                    zones.push(Zone::default());
                }
            }
            (Some("pages"), Some(zone)) if words.next() == Some("free") => {
                zone.free = words.next().and_then(unsigned);
            }
            // A CPU's own lists have a `high:` further down.
            (Some("high"), Some(zone)) => zone.high = words.next().and_then(unsigned),
            (Some("protection:"), Some(zone)) => {
                let numbers = words.map(|word| unsigned(word.trim_matches(['(', ',', ')'])));
                zone.protection = numbers.collect::<Option<Vec<_>>>()?.into_iter().max();
            }
            _ => {}
        }
    }
    if zones.is_empty() {
        return None;
    }
    zones.into_iter().try_fold(0_u64, |all, Zone { free, high, protection }| {
        all.checked_add(free?.min(high?.saturating_add(protection?)))
    })
}

/// Reads a row of distances; white space separates them.
pub(crate) fn distances(text: &str) -> Option<Vec<u32>> {
    text.split_ascii_whitespace().map(decimal).collect()
}

/// Reads a cache's size in bytes: `32K`, `8M`, or plain bytes.
pub(crate) fn cache_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    unsigned(digits)?.checked_mul(unit)
}

/// Reads the size in bytes from the name of a hugetlb folder: `hugepages-2048kB`.
pub(crate) fn huge_page_bytes(name: &str) -> Option<u64> {
    let size = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
    unsigned(size)?.checked_mul(1024).filter(|bytes| bytes.is_power_of_two())
}

/// Reads the word in brackets: `always [madvise] never`.
pub(crate) fn transparent_mode(text: &str) -> Option<TransparentHugePages> {
    let word = text.split_once('[')?.1.split_once(']')?.0;
    match word {
        "always" => Some(TransparentHugePages::Always),
        "madvise" => Some(TransparentHugePages::Madvise),
        "never" => Some(TransparentHugePages::Never),
        _ => None,
    }
}

/// Reads a counter of a `vmstat` file.
pub(crate) fn vmstat(text: &str, field: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        if name == field { unsigned(value) } else { None }
    })
}

/// Reads one field of a `status` file: the text behind `Mems_allowed_list:`.
pub(crate) fn status<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == field).then(|| value.trim())
    })
}

/// Reads `cpu.max` of a version 2 group: `50000 100000`; `Some(None)` stands for no limit.
pub(crate) fn cpu_max(text: &str) -> Option<Option<CpuQuota>> {
    let mut words = text.split_ascii_whitespace();
    let quota = words.next()?;
    // The kernel always writes the period; 100 ms is its default.
    let period = words.next().map_or(Some(100_000), unsigned)?;
    if quota == "max" { Some(None) } else { quota_of(unsigned(quota)?, period).map(Some) }
}

/// Reads `cpu.cfs_quota_us` of a version 1 group; `Some(None)` stands for no limit.
pub(crate) fn cfs_quota(text: &str) -> Option<Option<u64>> {
    match text.trim().strip_prefix('-') {
        Some(rest) => unsigned(rest).map(|_| None),
        None => unsigned(text).map(Some),
    }
}

/// Returns a quota unless it makes no sense: no time at all, or none to share it out over.
pub(crate) fn quota_of(quota_us: u64, period_us: u64) -> Option<CpuQuota> {
    (quota_us > 0 && period_us > 0).then_some(CpuQuota { quota_us, period_us })
}

/// One `processor` of `/proc/cpuinfo`, with what x86 kernels say of its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuInfo {
    pub(crate) processor: u32,
    pub(crate) package: Option<u32>,
    pub(crate) core: Option<u32>,
}

/// Reads the processors of `/proc/cpuinfo`.
pub(crate) fn cpuinfo(text: &str) -> Vec<CpuInfo> {
    let mut processors: Vec<CpuInfo> = Vec::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        match (name.trim_end(), processors.last_mut()) {
            ("processor", _) => {
                let processor = number(value.trim());
                processors
                    .extend(processor.map(|p| CpuInfo { processor: p, ..CpuInfo::default() }));
            }
            ("physical id", Some(last)) => last.package = decimal(value.trim()),
            ("core id", Some(last)) => last.core = decimal(value.trim()),
            _ => {}
        }
    }
    processors
}

/// Reads the CPUs that `/proc/stat` counts time for, which are the online ones.
pub(crate) fn stat_cpus<I: Copy + From<u32> + Into<u32>>(text: &str) -> IdSet<I> {
    let cpu = |line: &str| number(line.split_once(' ')?.0.strip_prefix("cpu")?);
    text.lines().filter_map(cpu).map(I::from).collect()
}

#[cfg(test)]
mod tests;
