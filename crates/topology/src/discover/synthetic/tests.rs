use proptest::prelude::*;

use super::{MAX_CPUS, MAX_NODES};
use crate::{CpuId, CpuSet, NodeId, NodeKind, Topology, TopologyError};

/// Descriptions that hwloc reads as this reader does; the test of the hwloc reader compares them.
#[cfg_attr(not(feature = "hwloc"), expect(dead_code, reason = "compared with hwloc only"))]
pub(crate) const SAME_AS_HWLOC: &[&str] = &[
    "node:4 core:8 pu:2",
    "pack:2 node:1 l2:1 core:2 pu:1",
    "pack:2 numa:3 l2:4 core:5 pu:6",
    "Package:2 NUMANode:2(memory=16GB) L3Cache:1(size=32MiB) L2Cache:4 L1dCache:1 Core:1 PU:2",
    "pack:2(indexes=3,5) numa:2(memory=256GiB indexes=pack) l3u:1(size=20mib) l2:2 l1i:1(size=16kiB) l1dcache:2 core:1 pu:2(indexes=l2)",
    "pack:2 core:2 pu:2(indexes=0,4,2,6,1,5,3,7)",
    "pack:2 numa:2 core:1 pu:2(indexes=0,4,2,6,1,3,5,7)",
    "pack:2 [numa(memory=1GiB)] [numa(memory=1MiB)] core:2 [numa(memory=2GB indexes=8,7,5,6,4,3,1,2)] pu:4",
    "[numa(memory=4GB)] [numa(memory=8GB)] pack:2 pu:2",
    "pack:2 [numa(memory=1GB)] die:2 core:2 pu:2",
    "pu:2 [numa(memory=4kB)]",
    "package:1 group:4 [numa(memory=24GB)] [numa(memory=4GB)] core:16 pu:4",
    "2",
    "2 3",
    "2 3 4",
    "2 2 2 2",
    "2 2 2 2 2",
    "2 2 2 2 2 2",
    "2 2 2 2 2 2 2",
    "2 2 2 2 2 2 2 2 2",
    "2 2 2 pu:2",
    "2 [numa(memory=1GB)] 2 2",
    "core:2 3",
    "node:4 core:2 2(indexes=node:core)",
    "node:4 core:2 2(indexes=core:node)",
    "node:2(indexes=1,0) pu:2",
    "node:2(indexes=5,3) pu:2(indexes=100,7,12,13)",
    "pack:2 node:2(indexes=2*2:1*2) core:4 pu:1(indexes=4*4:1*4)",
    "pack:2 core:4 pu:2(indexes=2*8)",
    "group:2 gr:2 pu:2(indexes=group1)",
    "group:2 Tile:2 Module:2 pu:1(indexes=group)",
    "group:2 group:3 group:2 pu:1(indexes=group1:group3:group2)",
    "core: 2 pu:010",
    "node:0x2 pu:2",
    "  node:2\n core:2  pu:1 ",
    "node:2pu:2",
    "SOCKET:2 NoDe:1 CO:2 PU:1",
    "l5:2 l4:1 l3:2 l2:1 l1u:2 pu:1",
    "l1:2 l3:2 pu:2",
    "l3i:2 l2i:2 l1icache:1 pu:2",
    "node:1(memory=0) pu:2",
    "(memory=8GB) node:2(memory=1TiB) pu:2",
    "core:2(memory=3GB) 2",
    "node:256 core:1 pu:1",
    "node:2 core:1024 pu:2",
    "node:2 l2:2(size=0) pu:2",
    "node:1024 pu:1",
];

/// Descriptions that neither reader takes.
pub(crate) const REFUSED_BY_BOTH: &[&str] = &[
    "",
    " ",
    "node:2",
    "core:0 pu:1",
    "core pu:2",
    "core:x pu:2",
    "foo:2 pu:2",
    "n:2 pu:2",
    "machine:1 pu:2",
    "misc:2 pu:2",
    "gpu:2 pu:2",
    "bridge:2 pu:2",
    "l6:2 pu:2",
    "l4i:2 pu:2",
    "l2x:2 pu:2",
    "l:2 pu:2",
    "pu:2 pu:2",
    "pu:2 core:2",
    "pack:2 pack:2 pu:2",
    "node:2 node:2 pu:2",
    "core:2 core:2 pu:2",
    "die:2 die:2 pu:2",
    "node:2 [numa] pu:2",
    "[core] pu:2",
    "[numa pu:2",
    "[numa(memory=1GB pu:2",
    "2 core:2 2 2",
    "node:2(memory=1GB pu:2",
    "node:2(memory=1.5GB) pu:2",
    "node:2(memory=1XB) pu:2",
    "node:2(size=1GB) pu:2",
    "l2:2(memory=1GB) pu:2",
    "core:-1 pu:2",
    "core:08 pu:2",
    "pu:4000000000000000000000",
    "(memory=1GB",
];

/// Descriptions that hwloc takes, with a warning at most, or stops at; refused here.
const REFUSED_HERE: &[&str] = &[
    // A list of indexes that hwloc ignores with a warning at most.
    "node:2 pu:2(indexes=0,1,2)",
    "node:2 pu:2(indexes=0,1,2,3,4)",
    "node:2 pu:2(indexes=0,1,2,2)",
    "node:2 pu:2(indexes=0,,2,3)",
    "node:2 pu:2(indexes=)",
    "node:2 pu:2(indexes=0,1,2,99999)",
    "node:2 pu:2(indexes=pu)",
    "node:2 pu:2(indexes=core)",
    "node:2 pu:2(indexes=node:node)",
    "node:2 pu:2(indexes=3*2)",
    "pack:2 core:4 pu:2(indexes=2*4)",
    "node:2 pu:2(indexes=0*2)",
    "node:2 pu:2(indexes=2*2:2*2)",
    "node:2 pu:2(indexes=1*2:1*2)",
    "node:2 pu:2(indexes=18446744073709551615*18446744073709551615:7*7)",
    "[numa(indexes=core)] core:2 pu:2",
    "[numa(indexes=0,1)] [numa(indexes=1,0)] pu:2",
    // Two levels of one cache level.
    "l2:2 l2:2 pu:2",
    "memcache:2 pu:2",
    "core foo:2 pu:2",
    "node:2(memory=GB) pu:2",
    "node:1(memory=99999999999TB) pu:2",
    // Larger than any Linux machine can be.
    "pu:8193",
    "pu:4000000000",
    "core:65536 pu:65536 ",
    "node:1025 pu:1",
    "core:1000 [numa] [numa] pu:1",
];

fn read(description: &str) -> Result<Topology, TopologyError> {
    Topology::synthetic(description)
}

fn cpus(list: &str) -> CpuSet {
    list.parse().expect("the list is in the kernel's syntax")
}

#[test]
fn a_plain_description_gives_nodes_cores_and_threads() -> Result<(), TopologyError> {
    let machine = read("node:4 core:8 pu:2")?;
    let lists: Vec<_> = machine.nodes().iter().map(|node| node.cpus().to_string()).collect();
    assert_eq!(lists, ["0-15", "16-31", "32-47", "48-63"]);
    assert!(machine.nodes().iter().all(|node| node.memory_total() == Some(1 << 30)));
    assert_eq!(machine.cores().len(), 32);
    assert_eq!(machine.cores()[31].cpus, cpus("62-63"));
    assert_eq!(machine.packages().len(), 1);
    assert!(machine.oddities().is_empty());
    Ok(())
}

#[test]
fn numbers_alone_stand_for_the_usual_types() -> Result<(), TopologyError> {
    let numbers = read("2 3 4 5 6")?;
    let named = read("Package:2 NUMANode:3 L2Cache:4 Core:5 PU:6")?;
    assert_eq!(numbers.nodes(), named.nodes());
    assert_eq!(numbers.packages(), named.packages());
    assert_eq!(numbers.caches(), named.caches());
    assert_eq!(numbers.cores(), named.cores());
    assert_eq!(named.nodes().len(), 6);
    assert_eq!(named.caches().len(), 24);
    Ok(())
}

#[test]
fn indexes_number_cpus_as_real_firmware_does() -> Result<(), TopologyError> {
    // Threads of a core far apart in number, as on most Intel machines.
    let machine = read("pack:2 core:2 pu:2(indexes=0,4,2,6,1,5,3,7)")?;
    let cores: Vec<_> = machine.cores().iter().map(|core| core.cpus.to_string()).collect();
    assert_eq!(cores, ["0,4", "1,5", "2,6", "3,7"]);
    let packages: Vec<_> = machine.packages().iter().map(|p| p.cpus.to_string()).collect();
    assert_eq!(packages, ["0,2,4,6", "1,3,5,7"]);
    let interleaved = read("pack:2 core:2 pu:2(indexes=pack:core)")?;
    assert_eq!(interleaved.cores(), machine.cores());
    Ok(())
}

#[test]
fn the_second_attached_node_has_memory_only() -> Result<(), TopologyError> {
    let machine = read("package:2 [numa(memory=96GB)] [numa(memory=16GB)] core:4 pu:1")?;
    let kinds: Vec<_> = machine.nodes().iter().map(crate::Node::kind).collect();
    assert_eq!(
        kinds,
        [NodeKind::General, NodeKind::MemoryOnly, NodeKind::General, NodeKind::MemoryOnly]
    );
    assert_eq!(machine.nodes()[3].local_cpus(), &cpus("4-7"));
    assert_eq!(machine.nodes()[3].memory_total(), Some(16_000_000_000));
    assert_eq!(machine.node_of_cpu(CpuId::new(5)), Some(NodeId::new(2)));
    Ok(())
}

#[test]
fn memory_without_a_node_is_an_oddity() -> Result<(), TopologyError> {
    let machine = read("(memory=8GB) core:2 pu:1")?;
    assert_eq!(machine.nodes()[0].memory_total(), Some(1 << 30));
    let oddity = machine.oddities()[0].to_string();
    assert!(oddity.contains("memory=8GB") && oddity.contains("machine"), "{oddity}");
    Ok(())
}

#[test]
fn caches_have_sizes_and_instruction_caches_are_left_out() -> Result<(), TopologyError> {
    let machine = read("pack:1 l3:2(size=32MB) l2:2 l1d:1 l1i:2(size=64kB) core:1 pu:1")?;
    let sizes: Vec<_> = machine.caches().iter().map(|c| (c.level, c.bytes)).collect();
    let expected = [
        (1, Some(32 << 10)),
        (1, Some(32 << 10)),
        (1, Some(32 << 10)),
        (1, Some(32 << 10)),
        (2, Some(4 << 20)),
        (2, Some(4 << 20)),
        (2, Some(4 << 20)),
        (2, Some(4 << 20)),
        (3, Some(32_000_000)),
        (3, Some(32_000_000)),
    ];
    assert_eq!(sizes, expected);
    assert_eq!(machine.last_level_cache_cpus(CpuId::new(5)), cpus("4-7"));
    Ok(())
}

#[test]
fn the_largest_descriptions_are_read() -> Result<(), TopologyError> {
    let machine = read(&format!("node:{MAX_NODES} l2:4 core:2 pu:1"))?;
    assert_eq!(machine.nodes().len(), MAX_NODES);
    assert_eq!(machine.cpus().len(), MAX_CPUS);
    assert_eq!(machine.online_cpus().last(), Some(CpuId::new(8191)));
    Ok(())
}

#[test]
fn what_cannot_be_read_is_refused_with_the_place_and_the_remedy() {
    for description in REFUSED_BY_BOTH.iter().chain(REFUSED_HERE) {
        match read(description) {
            Err(TopologyError::Synthetic { token, reason }) => {
                assert!(!reason.is_empty(), "{description:?} is refused without a reason");
                assert!(
                    description.contains(token.trim_end_matches("...")),
                    "{token:?} is no part of {description:?}"
                );
            }
            other => panic!("{description:?} should be refused, and gives {other:?}"),
        }
    }
}

#[test]
fn an_error_says_what_would_be_right() {
    let text = |description| read(description).expect_err("it is not in the grammar").to_string();
    assert_eq!(
        text("node:2 pu:2(indexes=0,1,2)"),
        "synthetic description: 3 indexes are given for 4 objects, at \"indexes=0,1,2\""
    );
    assert_eq!(
        text("node:2 core:4"),
        "synthetic description: the last level must be of PUs, such as pu:1, at \"core:4\""
    );
    assert!(text("pu:4000000000").contains("more than 8192 CPUs"));
}

/// Descriptions in the grammar, most of them of machines that nobody builds.
pub(crate) fn in_grammar() -> impl Strategy<Value = String> {
    let kinds = ["group", "pack", "group", "die", "l3", "node", "l2", "l1i", "l1d", "core"];
    let arity = 1..4_usize;
    let level = (any::<bool>(), arity.clone(), 0..4_usize);
    let order = Just((0..kinds.len()).collect::<Vec<_>>()).prop_shuffle();
    let levels = prop::collection::vec(level, kinds.len());
    let pus = (arity, 0..6_usize);
    (order, levels, pus, 0..4_usize).prop_map(move |(order, levels, (threads, indexes), nodes)| {
        let mut text = String::new();
        let mut width = 1;
        // One machine in four has its nodes attached to levels rather than as a level.
        let attach = nodes == 0;
        for (index, (used, arity, extra)) in order.into_iter().zip(levels) {
            let kind = kinds[index];
            // Without a bound the widest machines have hundreds of thousands of CPUs.
            if !used || width * arity > 300 || (attach && kind == "node") {
                continue;
            }
            width *= arity;
            text += &format!("{kind}:{arity}");
            text += match (kind, extra) {
                ("node", 1) => "(memory=16GB)",
                ("l3" | "l2" | "l1d", 1) => "(size=48KiB)",
                ("pack" | "node", 2) if width == 2 => "(indexes=1,0)",
                ("pack", 3) if width == 3 => "(indexes=4,7,2)",
                _ => "",
            };
            text += if attach && extra == 0 { "[numa] " } else { " " };
        }
        text += &format!("pu:{threads}");
        let outer = text.split(':').next().unwrap_or_default().to_owned();
        text += &match indexes {
            0 => format!("(indexes={width}*{threads})"),
            1 => format!("(indexes={threads}*{width})"),
            2 if outer != "pu" => format!("(indexes={outer})"),
            3 => format!("(indexes={width}*{threads}:1*{width})"),
            _ => String::new(),
        };
        text
    })
}

/// Texts near the grammar: its own words, in any order.
pub(crate) fn near_grammar() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "node",
        "numa",
        "pack",
        "die",
        "group2",
        "gr",
        "core",
        "pu",
        "l1",
        "l2d",
        "l3u",
        "l1i",
        "machine",
        "memcache",
        ":",
        ":",
        "1",
        "2",
        "3",
        "0",
        "0x4",
        "017",
        "8192",
        "4294967296",
        "99999999999999999999",
        "(",
        ")",
        "[",
        "]",
        "[numa]",
        "(memory=1GB)",
        "(size=4kB)",
        "indexes=",
        "memory=",
        "*",
        ",",
        " ",
        " ",
        "\n",
        "é",
        "-",
        "node:2 ",
        "core:2 ",
        "pu:2",
        "(indexes=node)",
        "(indexes=2*2)",
        "(indexes=1,0)",
    ]);
    prop::collection::vec(word, 0..16).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = read(&text);
    }

    #[test]
    fn no_text_near_the_grammar_makes_the_reader_panic(text in near_grammar()) {
        if let Ok(machine) = read(&text) {
            prop_assert!(machine.cpus().len() <= MAX_CPUS);
            prop_assert!((1..=MAX_NODES).contains(&machine.nodes().len()));
        }
    }

    #[test]
    fn descriptions_in_the_grammar_are_read_or_refused_for_their_indexes(text in in_grammar()) {
        match read(&text) {
            Ok(machine) => prop_assert!(machine.cpus().len() <= 900),
            Err(TopologyError::Synthetic { token, .. }) => {
                prop_assert!(token.starts_with("indexes="), "{text:?} is refused at {token:?}");
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }

    #[test]
    fn every_regular_machine_has_the_counts_it_describes(
        packages in 1..4_usize,
        nodes in 1..4_usize,
        cores in 1..6_usize,
        threads in 1..5_usize,
    ) {
        let text = format!("pack:{packages} node:{nodes} core:{cores} pu:{threads}");
        let machine = read(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(machine.packages().len(), packages);
        prop_assert_eq!(machine.nodes().len(), packages * nodes);
        prop_assert_eq!(machine.cores().len(), packages * nodes * cores);
        prop_assert_eq!(machine.cpus().len(), packages * nodes * cores * threads);
        for node in machine.nodes() {
            prop_assert_eq!(node.cpus().len(), cores * threads);
            prop_assert_eq!(node.cpus(), node.local_cpus());
        }
    }
}
