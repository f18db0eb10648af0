//! Discovery against hwloc's own program, which reads the same kernel by other code.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, ensure};
use firsttouch::Topology;
use firsttouch_guest::machine::Machine;
use firsttouch_guest::protocol::{HWLOC_PATH, LOADER, LSTOPO};
use roxmltree::{Document, Node as Element, ParsingOptions};

use crate::case::{Case, as_booted};

pub(super) const CASES: &[Case] =
    &[Case { name: "discovery_agrees_with_hwloc", given: as_booted, check: agrees }];

/// What is compared, in one form for both sides.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    cpus: Vec<u32>,
    /// By node: local CPUs and bytes of memory.
    nodes: BTreeMap<u32, (Vec<u32>, u64)>,
    /// Row by row, over the nodes in order; none on a machine of one node.
    distances: Vec<u64>,
    /// The CPUs of each core.
    cores: Vec<Vec<u32>>,
    /// The CPUs of each package.
    packages: Vec<Vec<u32>>,
}

fn agrees(_: &Machine) -> anyhow::Result<()> {
    let discovered = discovered()?;
    let text = lstopo()?;
    let told = told(&text).with_context(|| text.clone())?;
    ensure!(discovered == told, "discovery says {discovered:?}; hwloc says {told:?}");
    Ok(())
}

fn discovered() -> anyhow::Result<Summary> {
    let topology = Topology::discover()?;
    let numbers = |cpus: &firsttouch::CpuSet| cpus.iter().map(u32::from).collect::<Vec<_>>();
    // hwloc leaves out nodes without memory.
    let with_memory = || topology.nodes().iter().filter(|node| node.has_memory());
    let nodes = with_memory().map(|node| {
        let memory = node.memory_total().unwrap_or(0);
        (node.id().os_index(), (numbers(node.local_cpus()), memory))
    });
    let ids: Vec<_> = with_memory().map(firsttouch::topology::Node::id).collect();
    let pairs = ids.iter().flat_map(|&from| ids.iter().map(move |&to| (from, to)));
    let distances = pairs.map(|(from, to)| u64::from(topology.distance(from, to)));
    Ok(Summary {
        cpus: numbers(topology.online_cpus()),
        nodes: nodes.collect(),
        distances: if topology.distances().is_some() { distances.collect() } else { Vec::new() },
        cores: topology.cores().iter().map(|core| numbers(&core.cpus)).collect(),
        packages: topology.packages().iter().map(|package| numbers(&package.cpus)).collect(),
    })
}

/// Runs hwloc's lstopo and returns the machine in hwloc's XML.
fn lstopo() -> anyhow::Result<String> {
    let output = Command::new(format!("{HWLOC_PATH}/{LOADER}"))
        .args(["--library-path", HWLOC_PATH, &format!("{HWLOC_PATH}/{LSTOPO}")])
        .args(["--of", "xml", "--no-io"])
        .output()
        .context("cannot run lstopo")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "lstopo failed ({}): {errors}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn told(text: &str) -> anyhow::Result<Summary> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options)?;
    let objects = |kind: &'static str| {
        let elements = document.descendants().filter(|element| element.has_tag_name("object"));
        elements.filter(move |element| element.attribute("type") == Some(kind))
    };
    let machine = objects("Machine").next().context("there is no machine")?;
    let nodes = objects("NUMANode").map(|node| {
        let memory = node.attribute("local_memory").unwrap_or("0");
        Ok((attribute(&node, "os_index")?.parse()?, (cpus(&node)?, memory.parse()?)))
    });
    Ok(Summary {
        cpus: cpus(&machine)?,
        nodes: nodes.collect::<anyhow::Result<_>>()?,
        distances: distances(&document)?,
        cores: groups(objects("Core"))?,
        packages: groups(objects("Package"))?,
    })
}

/// The CPUs of objects of one kind, by first CPU.
fn groups<'a>(objects: impl Iterator<Item = Element<'a, 'a>>) -> anyhow::Result<Vec<Vec<u32>>> {
    let mut groups = objects.map(|object| cpus(&object)).collect::<anyhow::Result<Vec<_>>>()?;
    groups.sort_unstable();
    Ok(groups)
}

fn attribute<'a>(element: &Element<'a, '_>, name: &str) -> anyhow::Result<&'a str> {
    element.attribute(name).with_context(|| format!("an object has no {name}"))
}

/// The CPUs of an object: words of 32 bits in hexadecimal, the highest first, such as `0x1,0x0000000f`.
fn cpus(element: &Element<'_, '_>) -> anyhow::Result<Vec<u32>> {
    let mut cpus = Vec::new();
    for (index, word) in attribute(element, "cpuset")?.rsplit(',').enumerate() {
        // A word of zeros may be left empty.
        let digits = word.trim_start_matches("0x");
        let bits = if digits.is_empty() { 0 } else { u32::from_str_radix(digits, 16)? };
        cpus.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| 32 * index as u32 + bit));
    }
    Ok(cpus)
}

/// The distances between nodes as the firmware gives them, row by row; none where hwloc has no such table.
fn distances(document: &Document<'_>) -> anyhow::Result<Vec<u64>> {
    let table = document.descendants().find(|element| {
        element.has_tag_name("distances2") && element.attribute("type") == Some("NUMANode")
    });
    let values = table.into_iter().flat_map(|table| table.children());
    let values = values.filter(|element| element.has_tag_name("u64values"));
    let words = values.flat_map(|element| element.text().unwrap_or_default().split_whitespace());
    Ok(words.map(str::parse).collect::<Result<_, _>>()?)
}
