use proptest::prelude::*;

use super::*;
use crate::{CpuId, CpuSet};

fn cpus(list: &str) -> CpuSet {
    list.parse().expect("the test's own list is right")
}

#[test]
fn masks_count_words_from_the_right() {
    assert_eq!(mask("0000000f\n"), Some(cpus("0-3")));
    assert_eq!(mask("3,00000000,80000001\n"), Some(cpus("0,31,64-65")));
    assert_eq!(mask("0000,00000011,11111111"), Some(cpus("0,4,8,12,16,20,24,28,32,36")));
    assert_eq!(mask::<CpuId>("0"), Some(CpuSet::new()));
}

#[test]
fn masks_refuse_what_is_no_mask() {
    for text in ["", "\n", "x", "1,", ",1", "123456789", "0x1", "-1", "+1", "1 1"] {
        assert_eq!(mask::<CpuId>(text), None, "{text:?} is no mask");
    }
}

#[test]
fn meminfo_reads_node_lines_and_machine_lines() {
    let node = "Node 0 MemTotal:       129839104 kB\nNode 0 MemFree:        12 kB\n";
    assert_eq!(meminfo(node, "MemTotal"), Some(129_839_104 * 1024));
    assert_eq!(meminfo(node, "MemFree"), Some(12 * 1024));
    assert_eq!(meminfo("MemTotal: 7 kB\n", "MemTotal"), Some(7168));
    assert_eq!(meminfo("MemTotal: x kB\n", "MemTotal"), None);
    assert_eq!(meminfo("MemTotal: 99999999999999999999 kB\n", "MemTotal"), None);
    assert_eq!(meminfo("MemTotal: 18446744073709551615 kB\n", "MemTotal"), None);
    assert_eq!(meminfo("NotMemTotal: 7 kB\n", "MemTotal"), None);
}

#[test]
fn a_nodes_reserves_are_its_zones_watermarks_and_protections_as_far_as_pages_are_free() {
    let zone = |node, name, free, high, protection| {
        format!(
            "Node {node}, zone {name:>8}\n  per-node stats\n      nr_inactive_anon 7\n  \
             pages free     {free}\n        min      1\n        low      2\n        \
             high     {high}\n        spanned  4095\n        protection: ({protection})\n      \
             nr_free_pages {free}\n  pagesets\n    cpu: 0\n              count: 5\n              \
             high:  6\n"
        )
    };
    let text = zone(0, "DMA", 3840, 98, "0, 2915, 2915, 2915")
        + &zone(0, "DMA32", 500, 1000, "0, 0, 0, 0")
        + &zone(1, "Normal", 9000, 700, "0, 0, 0, 0");
    assert_eq!(reserved_pages(&text, 0), Some(98 + 2915 + 500));
    assert_eq!(reserved_pages(&text, 1), Some(700));
    assert_eq!(reserved_pages(&text, 2), None, "it has no zone");
    assert_eq!(reserved_pages(&text.replace("high     98", "high"), 0), None);
    assert_eq!(reserved_pages(&text.replace("2915", "x"), 0), None);
    assert_eq!(reserved_pages("", 0), None);
}

#[test]
fn cache_sizes_have_units() {
    assert_eq!(cache_bytes("32K\n"), Some(32 << 10));
    assert_eq!(cache_bytes("8M"), Some(8 << 20));
    assert_eq!(cache_bytes("1G"), Some(1 << 30));
    assert_eq!(cache_bytes("512"), Some(512));
    for text in ["", "K", "-1K", "99999999999999999999K", "18446744073709551615K", "32 KB"] {
        assert_eq!(cache_bytes(text), None, "{text:?} is no size");
    }
}

#[test]
fn huge_page_folders_name_powers_of_two() {
    assert_eq!(huge_page_bytes("hugepages-2048kB"), Some(2 << 20));
    assert_eq!(huge_page_bytes("hugepages-16777216kB"), Some(16 << 30));
    assert_eq!(huge_page_bytes("hugepages-3kB"), None);
    assert_eq!(huge_page_bytes("hugepages-0kB"), None);
    assert_eq!(huge_page_bytes("hugepages-"), None);
}

#[test]
fn transparent_mode_is_the_word_in_brackets() {
    let read = transparent_mode("always [madvise] never\n");
    assert_eq!(read, Some(TransparentHugePages::Madvise));
    assert_eq!(transparent_mode("[always] madvise never"), Some(TransparentHugePages::Always));
    assert_eq!(transparent_mode("always madvise [never]"), Some(TransparentHugePages::Never));
    assert_eq!(transparent_mode("always madvise never"), None);
}

#[test]
fn cpu_max_has_a_quota_and_a_period() {
    assert_eq!(cpu_max("50000 100000\n"), Some(quota_of(50_000, 100_000)));
    assert_eq!(cpu_max("max 100000\n"), Some(None));
    assert_eq!(cpu_max("max"), Some(None));
    assert_eq!(cpu_max("70000"), Some(quota_of(70_000, 100_000)));
    for text in ["", "x", "0 100000", "50000 0", "50000 x", "-1 100000"] {
        assert_eq!(cpu_max(text), None, "{text:?} is no limit");
    }
}

#[test]
fn cfs_quota_below_zero_is_no_limit() {
    assert_eq!(cfs_quota("-1\n"), Some(None));
    assert_eq!(cfs_quota("25000\n"), Some(Some(25_000)));
    assert_eq!(cfs_quota("x"), None);
    assert_eq!(cfs_quota(""), None);
}

#[test]
fn status_fields_are_found_by_their_whole_name() {
    let text = "Mems_allowed:\t00000000,00000001\nMems_allowed_list:\t0\n";
    assert_eq!(status(text, "Mems_allowed_list"), Some("0"));
    assert_eq!(status(text, "Mems"), None);
}

#[test]
fn stat_counts_cpus_but_not_their_sum() {
    assert_eq!(stat_cpus::<CpuId>("cpu  1 2\ncpu0 1\ncpu5 1\nintr 7\n"), cpus("0,5"));
}

#[test]
fn cpuinfo_tells_package_and_core_where_the_kernel_does() {
    let text = "processor\t: 0\nphysical id\t: 1\ncore id\t: 2\n\nprocessor\t: 3\n";
    let first = CpuInfo { processor: 0, package: Some(1), core: Some(2) };
    let second = CpuInfo { processor: 3, package: None, core: None };
    assert_eq!(cpuinfo(text), [first, second]);
    assert!(cpuinfo("physical id : 1\nno colon\n").is_empty());
}

fn mask_text(set: &CpuSet) -> String {
    let last = set.last().map_or(0, CpuId::os_index);
    let word = |index: u32| {
        let bits = (0..32).filter(|bit| set.contains(CpuId::new(index * 32 + bit)));
        format!("{:08x}", bits.fold(0u32, |word, bit| word | 1 << bit))
    };
    let words: Vec<String> = (0..=last / 32).rev().map(word).collect();
    words.join(",")
}

proptest! {
    #[test]
    fn masks_read_back(ids in proptest::collection::vec(0u32..2000, 0..40)) {
        let set: CpuSet = ids.into_iter().map(CpuId::new).collect();
        prop_assert_eq!(mask(&mask_text(&set)), Some(set));
    }

    #[test]
    fn any_text_is_read_without_panic(text in "(?s).{0,120}") {
        number(&text);
        unsigned(&text);
        list::<CpuId>(&text);
        mask::<CpuId>(&text);
        meminfo(&text, "MemTotal");
        distances(&text);
        cache_bytes(&text);
        huge_page_bytes(&text);
        transparent_mode(&text);
        reserved_pages(&text, 0);
        vmstat(&text, "nr_free_pages");
        status(&text, "Node");
        cpu_max(&text);
        cfs_quota(&text);
        cpuinfo(&text);
        stat_cpus::<CpuId>(&text);
    }

    #[test]
    fn texts_close_to_the_real_ones_are_read_without_panic(
        text in "(Node 0 )?(MemTotal:|cpu|cpu[0-9]{1,12}|max|hugepages-|-|processor\t:|\\[)? ?[0-9a-f,]{0,24}(kB|K|M|\\])?( [0-9]{0,22})?\n?",
    ) {
        mask::<CpuId>(&text);
        meminfo(&text, "MemTotal");
        cache_bytes(&text);
        huge_page_bytes(&text);
        transparent_mode(&text);
        cpu_max(&text);
        cfs_quota(&text);
        cpuinfo(&text);
        stat_cpus::<CpuId>(&text);
    }
}
