//! Page sizes and pools of huge pages.

use super::{Reader, parse};
use crate::{HugePagePool, PageSizes};

const HUGE: &str = "sys/kernel/mm/hugepages";
const TRANSPARENT: &str = "sys/kernel/mm/transparent_hugepage";

/// The base page where nothing tells: that of most machines.
const USUAL_BASE: u64 = 4096;

/// Reads the page sizes.
pub(crate) fn page_sizes(reader: &mut Reader) -> PageSizes {
    let huge = reader.names(HUGE).iter().filter_map(|name| parse::huge_page_bytes(name)).collect();
    let transparent_mode = reader.value(&format!("{TRANSPARENT}/enabled"), parse::transparent_mode);
    let transparent = reader.value(&format!("{TRANSPARENT}/hpage_pmd_size"), |text| {
        parse::unsigned(text).filter(|bytes| bytes.is_power_of_two())
    });
    PageSizes { base: base(reader), huge, transparent, transparent_mode }
}

fn base(reader: &mut Reader) -> u64 {
    if reader.is_live() {
        return rustix::param::page_size() as u64;
    }
    recorded_base(reader).unwrap_or_else(|| {
        reader.note("the recording does not tell the base page's size", "it is 4096 bytes");
        USUAL_BASE
    })
}

/// Infers the base page of a recorded machine: its free memory is told both in bytes and in pages.
///
/// The two were not read at the same moment, so the quotient is rounded to the nearest power of two.
fn recorded_base(reader: &mut Reader) -> Option<u64> {
    let folders = reader.numbered("sys/devices/system/node", "node");
    let folders = folders.into_iter().map(|node| format!("sys/devices/system/node/node{node}"));
    for folder in folders.chain(["proc".to_owned()]) {
        let pages = reader.text(&format!("{folder}/vmstat"));
        let pages = pages.and_then(|text| parse::vmstat(&text, "nr_free_pages"));
        let bytes = reader.text(&format!("{folder}/meminfo"));
        let bytes = bytes.and_then(|text| parse::meminfo(&text, "MemFree"));
        if let Some(size) = pages.zip(bytes).and_then(|(pages, bytes)| page_bytes(pages, bytes)) {
            return Some(size);
        }
    }
    None
}

fn page_bytes(pages: u64, bytes: u64) -> Option<u64> {
    let quotient = bytes.checked_div(pages)?;
    let above = quotient.checked_next_power_of_two()?;
    let nearest = if above - quotient <= quotient - above / 2 { above } else { above / 2 };
    // No Linux has smaller pages, nor larger ones than ia64's and SuperH's experiments.
    (4096..=(1 << 20)).contains(&nearest).then_some(nearest)
}

/// Reads the pools of huge pages in a node's or the machine's folder.
pub(super) fn pools(reader: &mut Reader, folder: &str) -> Vec<HugePagePool> {
    let mut pools = Vec::new();
    for name in reader.names(folder) {
        let Some(page_bytes) = parse::huge_page_bytes(&name) else { continue };
        let mut count = |file: &str| {
            reader.value(&format!("{folder}/{name}/{file}"), parse::unsigned).unwrap_or(0)
        };
        pools.push(HugePagePool {
            page_bytes,
            total: count("nr_hugepages"),
            free: count("free_hugepages"),
            surplus: count("surplus_hugepages"),
        });
    }
    pools
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_page_is_the_power_of_two_nearest_to_bytes_by_pages() {
        assert_eq!(page_bytes(1_899_094, 121_541_952 << 10), Some(65536));
        assert_eq!(page_bytes(698_604, 2_814_956 << 10), Some(4096));
        assert_eq!(page_bytes(1000, 4095 * 1000), Some(4096));
        assert_eq!(page_bytes(1000, 4200 * 1000), Some(4096));
    }

    #[test]
    fn base_page_is_unknown_where_the_figures_make_no_sense() {
        assert_eq!(page_bytes(0, 4096), None);
        assert_eq!(page_bytes(4096, 0), None);
        assert_eq!(page_bytes(1, u64::MAX), None);
        assert_eq!(page_bytes(1000, 1000), None);
    }
}
